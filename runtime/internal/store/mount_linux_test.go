package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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

// TestPassedOver: a user's cache directory that is full, read-only or mounted noexec is
// passed over for one in the temporary directory, and nothing stays in it.
func TestPassedOver(t *testing.T) {
	bundle := bt.Gzip(t, bt.Files{"large": large(9 << 20)})
	for name, home := range map[string]string{
		"full":      mount(t, 0, "size=4m,mode=755"),
		"read-only": mount(t, syscall.MS_RDONLY, "mode=755"),
		"noexec":    mount(t, syscall.MS_NOEXEC, "mode=755"),
	} {
		tmp := t.TempDir()
		t.Setenv("HOME", home)
		t.Setenv("XDG_CACHE_HOME", "")
		t.Setenv("TMPDIR", tmp)
		t.Setenv(basedir.Env, "")
		tr := open(t, bundle, "", tree.Options{})
		if !strings.HasPrefix(tr.Path(), tmp) {
			t.Errorf("%s: it is in %s", name, tr.Path())
		}
		if open(t, bundle, "", tree.Options{}).Fresh() {
			t.Errorf("%s: it is extracted again", name)
		}
		if left, err := filepath.Glob(filepath.Join(home, ".cache", "pyembed", "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: there is %v", name, left)
		}
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
