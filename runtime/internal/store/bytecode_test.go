package store_test

import (
	"os"
	"path/filepath"
	"testing"

	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/tree"
)

// TestBytecode: bytecode that a bundle brings may be replaced by Python's own, which is
// then left alone, below level hash.
func TestBytecode(t *testing.T) {
	const name = "lib/__pycache__/a.cpython-314.pyc"
	bundle, base := bt.Gzip(t, bt.Files{"lib/a.py": "x", "lib/b/c.py": "stale"}), newBase(t)
	bt.Edit(t, bundle, func(m *manifest.Manifest) { // CopyForEmbed would have left it out
		for i := range m.Files {
			switch e := &m.Files[i]; e.Name {
			case "lib/b/c.py":
				e.Name, e.Path = name, "lib/b/c.py"
			case "lib/b":
				e.Name = "lib/" + manifest.BytecodeDir
			}
		}
	})
	dir := open(t, bundle, base, tree.Options{}).Path()
	path := filepath.Join(dir, name)
	written := func(level tree.Level) (found bool) {
		open(t, bundle, base, tree.Options{Level: level, Progress: func(int64, int64) { found = true }})
		return found
	}
	for _, change := range []func() error{
		func() error { return os.WriteFile(path+".1", []byte("fresh, and longer"), 0o644) },
		func() error { return os.Rename(path+".1", path) },
		func() error { return os.Remove(filepath.Join(dir, "lib/a.py")) },
		func() error { return os.Remove(path) },
	} {
		must(t, change())
		wrong := false
		if _, err := os.Lstat(filepath.Join(dir, "lib/a.py")); err != nil {
			wrong = true
		}
		for _, want := range []bool{wrong, false} {
			if got := written(tree.Stat); got != want {
				t.Errorf("written %v, want %v", got, want)
			}
		}
	}
	if !written(tree.Hash) {
		t.Error("at level hash it is not put back")
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "stale" {
		t.Errorf("%q %v", data, err)
	}
}
