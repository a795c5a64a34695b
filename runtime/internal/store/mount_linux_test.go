package store_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"pyembed.invalid/runtime/internal/basedir"
	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/internal/tree"
)

// mount mounts a tmpfs on a new directory.
func mount(t *testing.T, flags uintptr, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a file system")
	}
	dir := newBase(t)
	if err := syscall.Mount("pyembed-test", dir, "tmpfs", flags, options); err != nil {
		t.Skipf("needs to mount a file system: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// TestDiskFull: an extraction that does not fit leaves nothing.
func TestDiskFull(t *testing.T) {
	base := mount(t, 0, "size=4m,mode=755")
	bundle := bt.Gzip(t, bt.Files{"large": large(9 << 20), "small": "s"})
	if _, err := tryOpen(context.Background(), bundle, base, tree.Options{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error is %v", err)
	}
	if left := entries(t, base); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}

// TestNoexec: a file system that runs no programs is refused.
func TestNoexec(t *testing.T) {
	base := mount(t, syscall.MS_NOEXEC, "mode=755")
	bundle := bt.Gzip(t, bt.Small())
	_, err := tryOpen(context.Background(), bundle, base, tree.Options{})
	if !errors.Is(err, basedir.ErrNone) || !strings.Contains(err.Error(), "noexec") {
		t.Errorf("error is %v", err)
	}
}

// TestReadOnlyMount: a complete tree on a read-only file system is used, and without
// one the error names the base.
func TestReadOnlyMount(t *testing.T) {
	base := mount(t, 0, "mode=755")
	bundle, other := bt.Gzip(t, bt.Small()), bt.Gzip(t, bt.Files{"a": "a"})
	open(t, bundle, base, tree.Options{}).Release()
	must(t, syscall.Mount("pyembed-test", base, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	for _, level := range []tree.Level{tree.Stat, tree.Stamp, tree.Hash} {
		bt.Same(t, open(t, bundle, base, tree.Options{Level: level}).Path(), bt.Small())
	}
	_, err := tryOpen(context.Background(), other, base, tree.Options{})
	if !errors.Is(err, basedir.ErrNone) || !strings.Contains(err.Error(), base) {
		t.Errorf("error is %v", err)
	}
}
