package store_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/internal/tree"
)

// TestExecuting: a tree whose interpreter runs, though nobody has its lease any more, as
// when a child outlives its parent, is neither pruned nor cleaned up.
func TestExecuting(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	program, err := os.ReadFile(sleep)
	must(t, err)
	bundle, base := bt.Gzip(t, bt.Files{"bin/python3.14": bt.Program(program), "bin/python3": bt.Link("python3.14")}), newBase(t)
	tr := open(t, bundle, base, tree.Options{})
	child := exec.Command(filepath.Join(tr.Path(), "bin/python3"), "1000")
	must(t, child.Start())
	defer child.Process.Kill()
	tr.Release()
	age(t, tr.Path()+"/.pyembed-lease", 100*day)
	if removed := prune(t, base, time.Hour); len(removed) != 0 {
		t.Errorf("pruned %v", removed)
	}
	if remove(t, tr) {
		t.Error("it is removed")
	}
	if _, err := os.Lstat(tr.Path()); err != nil {
		t.Error(err)
	}
	must(t, child.Process.Kill())
	child.Wait()
	for range 2 {
		if !remove(t, tr) {
			t.Error("it is still there")
		}
	}
	if left := entries(t, base); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}
