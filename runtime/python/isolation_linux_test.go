package python_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"pyembed.invalid/runtime/python"
)

// TestIsolationElsewhere: when nothing can be made beside the tree, as in an image, the
// overlay is made where trees are looked for, and goes with the tree all the same.
func TestIsolationElsewhere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	other := filepath.Join(t.TempDir(), "other")
	t.Setenv("PYEMBED_CACHE_DIR", other)
	ep := open(t, python.WithIsolation())
	exe, err := ep.GetExePath()
	must(t, err)
	beside := filepath.Dir(filepath.Dir(exe))
	must(t, os.RemoveAll(beside))
	base := filepath.Dir(beside)
	if err := syscall.Mount(base, base, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("needs to mount: %v", err)
	}
	unmount := sync.OnceFunc(func() { must(t, syscall.Unmount(base, 0)) })
	t.Cleanup(unmount)
	must(t, syscall.Mount("", base, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	exe, err = ep.GetExePath()
	must(t, err)
	root := filepath.Dir(filepath.Dir(exe))
	if want := filepath.Join(other, filepath.Base(beside)); root != want {
		t.Errorf("it is %s, want %s", root, want)
	}
	unmount()
	must(t, ep.Cleanup())
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it stays: %v", err)
	}
}
