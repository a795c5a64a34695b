package store_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/internal/store"
	"pyembed.invalid/runtime/internal/tree"
)

// sleeper is a bundle whose interpreter sleeps for as many seconds as it is told.
func sleeper(t *testing.T) string {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	program, err := os.ReadFile(sleep)
	must(t, err)
	return bt.Gzip(t, bt.Files{"bin/python3.14": bt.Program(program), "bin/python3": bt.Link("python3.14")})
}

// run starts a tree's interpreter; what is returned ends it.
func run(t *testing.T, path string) (end func()) {
	t.Helper()
	child := exec.Command(filepath.Join(path, "bin/python3"), "1000")
	must(t, child.Start())
	end = func() {
		child.Process.Kill()
		child.Wait()
	}
	t.Cleanup(end)
	return end
}

// TestExecuting: a tree whose interpreter runs, though nobody has its lease any more, as
// when a child outlives its parent, is neither pruned nor cleaned up.
func TestExecuting(t *testing.T) {
	bundle, base := sleeper(t), newBase(t)
	tr := open(t, bundle, base, tree.Options{})
	end := run(t, tr.Path())
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
	end()
	for range 2 {
		if !remove(t, tr) {
			t.Error("it is still there")
		}
	}
	if left := entries(t, base); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}

// TestPackagesOfRunning: trees without an interpreter stay while one in the same base
// runs: it may be using them.
func TestPackagesOfRunning(t *testing.T) {
	base := newBase(t)
	tr := open(t, sleeper(t), base, tree.Options{})
	packages := open(t, bt.Gzip(t, bt.Files{"a.py": "x"}), base, tree.Options{})
	end := run(t, tr.Path())
	for _, held := range []*tree.Tree{tr, packages} {
		held.Release()
		age(t, held.Path()+"/.pyembed-lease", 100*day)
	}
	if removed := prune(t, base, time.Hour); len(removed) != 0 {
		t.Errorf("pruned %v", removed)
	}
	end()
	if removed := prune(t, base, time.Hour); len(removed) != 2 {
		t.Errorf("pruned %v", removed)
	}
}

// onPruned is a logger that calls f when a tree is pruned.
type onPruned struct {
	slog.Handler
	f func()
}

func (h onPruned) Enabled(context.Context, slog.Level) bool { return true }

func (h onPruned) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "pyembed: pruned" {
		h.f()
	}
	return nil
}

// TestPruneFresh: a tree that another process extracts while trees are pruned, where an
// old lock was all that was there, stays.
func TestPruneFresh(t *testing.T) {
	base := newBase(t)
	b, err := tree.NewBundle(os.DirFS(sleeper(t)))
	must(t, err)
	openAs := func(name string) string {
		tr, err := store.OpenNamed(context.Background(), b, base, name, tree.Options{NoSweep: true})
		must(t, err)
		tr.Release()
		return tr.Path()
	}
	first := openAs("a")
	age(t, first+"/.pyembed-lease", 100*day)
	lock := strings.Replace(first, "a-", "b-", 1) + ".lock"
	must(t, os.WriteFile(lock, nil, 0o600))
	age(t, lock, 100*day)
	var fresh string
	log := slog.New(onPruned{slog.NewTextHandler(io.Discard, nil), func() { fresh = openAs("b") }})
	if removed, err := store.Prune(context.Background(), base, day, log); err != nil || len(removed) != 1 {
		t.Errorf("removed %v, %v", removed, err)
	}
	if _, err := os.Lstat(fresh); err != nil {
		t.Error(err)
	}
}

// TestPruneFull: what is removed to make room needs none.
func TestPruneFull(t *testing.T) {
	base := mount(t, 0, "nr_inodes=64,mode=755")
	bundle := bt.Gzip(t, bt.Small())
	tr, old := open(t, bundle, base, tree.Options{}), abandoned(t, base, "old", 100*day)
	for i := 0; ; i++ {
		if os.WriteFile(filepath.Join(base, "fill"+strings.Repeat("l", i)), nil, 0o644) != nil {
			break
		}
	}
	if removed := prune(t, base, day); len(removed) != 1 || removed[0] != old {
		t.Errorf("pruned %v", removed)
	}
	if !remove(t, tr) {
		t.Error("it is still there")
	}
}

// TestPruneLater: what can't be deleted at once, as a file in use on Windows, for which a
// mount stands here, is deleted another time.
func TestPruneLater(t *testing.T) {
	base := mount(t, 0, "mode=755")
	tr := open(t, bt.Gzip(t, bt.Small()), base, tree.Options{})
	const name = "lib/python3.14/os.py"
	file := filepath.Join(tr.Path(), name)
	must(t, syscall.Mount(file, file, "", syscall.MS_BIND, ""))
	if gone, err := tr.Remove(); !gone || err == nil {
		t.Errorf("gone %v, %v", gone, err)
	}
	moved, err := filepath.Glob(tr.Path() + ".tmp-*/" + name)
	must(t, err)
	if len(moved) != 1 {
		t.Fatalf("it is in %v", moved)
	}
	must(t, syscall.Unmount(moved[0], syscall.MNT_DETACH))
	prune(t, base, day)
	if left := entries(t, base); len(left) != 1 {
		t.Errorf("there is %v", left)
	}
}
