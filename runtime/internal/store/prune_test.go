package store_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pyembed.invalid/runtime/internal/basedir"
	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/internal/lock"
	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/store"
	"pyembed.invalid/runtime/internal/tree"
)

// abandoned is a tree of its own that nobody uses, last used some time ago.
func abandoned(t *testing.T, base, content string, ago time.Duration) string {
	t.Helper()
	tr := open(t, bt.Gzip(t, bt.Files{"bin/python3": bt.Program("#!/bin/sh\n"), "lib/a.py": content}), base, tree.Options{NoSweep: true})
	tr.Release()
	age(t, tr.Path()+"/.pyembed-lease", ago)
	return tr.Path()
}

// age makes a file as old as that.
func age(t *testing.T, path string, ago time.Duration) {
	t.Helper()
	then := time.Now().Add(-ago)
	must(t, os.Chtimes(path, then, then))
}

// remove is t.Remove without an error.
func remove(t *testing.T, tr *tree.Tree) (gone bool) {
	t.Helper()
	gone, err := tr.Remove()
	must(t, err)
	return gone
}

// prune is store.Prune without errors.
func prune(t *testing.T, base string, olderThan time.Duration) []string {
	t.Helper()
	removed, err := store.Prune(context.Background(), base, olderThan, nil)
	must(t, err)
	return removed
}

const day = 24 * time.Hour

// TestPrune: trees go when they were not used for so long, with all that belongs to them.
func TestPrune(t *testing.T) {
	base := newBase(t)
	old, young := abandoned(t, base, "old", 10*day), abandoned(t, base, "young", day)
	makeOverlay(t, old+".env-0123456789abcdef")
	must(t, os.MkdirAll(old+".tmp-0123456789abcdef/lib", 0o755))
	if removed := prune(t, base, 5*day); !slices.Equal(removed, []string{old}) {
		t.Errorf("removed %v", removed)
	}
	if left := entries(t, base); len(left) != 2 || left[0] != filepath.Base(young) {
		t.Errorf("there is %v", left)
	}
	if removed := prune(t, base, 0); !slices.Equal(removed, []string{young}) || len(entries(t, base)) != 0 {
		t.Errorf("removed %v, there is %v", removed, entries(t, base))
	}
}

// TestPruneUsed: a tree stays while somebody uses it, and what a use is resets its age.
func TestPruneUsed(t *testing.T) {
	base := newBase(t)
	bundle := bt.Gzip(t, bt.Small())
	tr := open(t, bundle, base, tree.Options{})
	age(t, tr.Path()+"/.pyembed-lease", 100*day)
	if removed := prune(t, base, day); len(removed) != 0 {
		t.Errorf("removed %v while it is leased", removed)
	}
	tr.Release()
	open(t, bundle, base, tree.Options{}).Release()
	if removed := prune(t, base, day); len(removed) != 0 {
		t.Errorf("removed %v, which was used just now", removed)
	}
	l, err := lock.Try(tr.Path()+".lock", lock.Exclusive)
	must(t, err)
	age(t, tr.Path()+"/.pyembed-lease", 100*day)
	if removed := prune(t, base, day); len(removed) != 0 {
		t.Errorf("removed %v while it is locked", removed)
	}
	l.Unlock()
	if removed := prune(t, base, day); len(removed) != 1 {
		t.Errorf("removed %v", removed)
	}
}

// TestPruneForeign: what we did not make stays: trees with files of somebody's, files and
// directories with names like ours, trees whose stamp is not theirs.
func TestPruneForeign(t *testing.T) {
	base := newBase(t)
	mine := abandoned(t, base, "mine", 100*day)
	must(t, os.WriteFile(filepath.Join(mine, "lib", "notes.txt"), nil, 0o644))
	cached := abandoned(t, base, "cached", 100*day)
	must(t, os.Mkdir(filepath.Join(cached, "lib", "__pycache__"), 0o755))
	must(t, os.WriteFile(filepath.Join(cached, "lib", "__pycache__", "a.cpython-314.pyc"), nil, 0o644))

	copied := filepath.Join(base, "python-0000000000000000")
	must(t, os.CopyFS(copied, os.DirFS(cached)))
	unstamped := filepath.Join(base, "python-1111111111111111")
	must(t, os.Mkdir(unstamped, 0o755))
	bare := filepath.Join(base, "python-2222222222222222.tmp-0123456789abcdef")
	must(t, os.Mkdir(bare, 0o755))
	other := filepath.Join(base, "other")
	must(t, os.Mkdir(other, 0o755))
	file := filepath.Join(base, "python-3333333333333333")
	must(t, os.WriteFile(file, nil, 0o644))
	link := filepath.Join(base, "python-4444444444444444")
	must(t, os.Symlink(mine, link))
	locked := filepath.Join(base, "python-5555555555555555.lock")
	must(t, os.WriteFile(locked, []byte("somebody's"), 0o644))
	envs := filepath.Join(base, "python-6666666666666666.env-0123456789abcdef")
	must(t, os.Mkdir(envs, 0o755))
	for _, path := range []string{copied, unstamped, bare, other, file, locked, envs, filepath.Join(copied, ".pyembed-stamp")} {
		age(t, path, 100*day)
	}
	if removed := prune(t, base, day); !slices.Equal(removed, []string{cached}) {
		t.Errorf("removed %v", removed)
	}
	for _, path := range []string{mine, copied, unstamped, bare, other, file, link, locked, envs} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestPruneRests: what a killed extraction left goes, when it is nobody's, and overlays
// without their tree when they are old.
func TestPruneRests(t *testing.T) {
	base := newBase(t)
	killed := filepath.Join(base, "python-0123456789abcdef")
	must(t, os.MkdirAll(killed+".tmp-0123456789abcdef/lib", 0o755))
	must(t, os.WriteFile(killed+".lock", nil, 0o600))
	l, err := lock.Try(killed+".lock", lock.Exclusive)
	must(t, err)
	prune(t, base, day)
	if len(entries(t, base)) != 2 {
		t.Errorf("it is being extracted: %v", entries(t, base))
	}
	l.Unlock()
	prune(t, base, day)
	if left := entries(t, base); len(left) != 1 {
		t.Errorf("there is %v", left)
	}
	overlay := filepath.Join(base, "python-1111111111111111.env-0123456789abcdef")
	makeOverlay(t, overlay)
	age(t, killed+".lock", 2*day)
	prune(t, base, day)
	if left := entries(t, base); !slices.Equal(left, []string{filepath.Base(overlay)}) {
		t.Errorf("there is %v", left)
	}
	used, err := lock.TakeLease(filepath.Join(overlay, manifest.LeaseName))
	must(t, err)
	age(t, overlay, 2*day)
	prune(t, base, day)
	if _, err := os.Lstat(overlay); err != nil {
		t.Errorf("in use: %v", err)
	}
	used.Release()
	age(t, overlay, 2*day)
	age(t, filepath.Join(base, "python-1111111111111111.lock"), 2*day)
	prune(t, base, day)
	if left := entries(t, base); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}

// makeOverlay makes what looks like an overlay.
func makeOverlay(t *testing.T, path string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(path, "bin"), 0o755))
	must(t, os.WriteFile(filepath.Join(path, "pyvenv.cfg"), nil, 0o644))
}

// TestPruneOverlays: old overlays of a tree that is used now and then go while it is not.
func TestPruneOverlays(t *testing.T) {
	base := newBase(t)
	tr := open(t, bt.Gzip(t, bt.Small()), base, tree.Options{})
	old, young := tr.Path()+".env-0123456789abcdef", tr.Path()+".env-fedcba9876543210"
	for path, ago := range map[string]time.Duration{old: 10 * day, young: time.Hour} {
		makeOverlay(t, path)
		age(t, path, ago)
	}
	prune(t, base, 5*day)
	if _, err := os.Lstat(old); err != nil {
		t.Errorf("in use: %v", err)
	}
	tr.Release()
	prune(t, base, 5*day)
	if _, err := os.Lstat(old); err == nil {
		t.Error("it is still there")
	}
	for _, path := range []string{young, tr.Path()} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestPruneClock: a tree that was used in the future is not old, and ages from now on.
func TestPruneClock(t *testing.T) {
	base := newBase(t)
	path := abandoned(t, base, "x", -1000*day)
	if removed := prune(t, base, 0); len(removed) != 0 {
		t.Errorf("removed %v", removed)
	}
	info, err := os.Lstat(path + "/.pyembed-lease")
	must(t, err)
	if time.Until(info.ModTime()) > time.Hour {
		t.Errorf("it is used %v", info.ModTime())
	}
	if removed := prune(t, base, 0); len(removed) != 1 {
		t.Errorf("removed %v", removed)
	}
}

// TestPruneEverywhere: without a name, all bases that are found are pruned; one that is
// named and can't be trusted is an error; one that is not there is none.
func TestPruneEverywhere(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv(basedir.Env, "")
	tr := open(t, bt.Gzip(t, bt.Small()), "", tree.Options{})
	tr.Release()
	age(t, tr.Path()+"/.pyembed-lease", 2*day)
	if !strings.HasPrefix(tr.Path(), home) {
		t.Fatalf("it is in %s", tr.Path())
	}
	if removed := prune(t, "", day); !slices.Equal(removed, []string{tr.Path()}) {
		t.Errorf("removed %v", removed)
	}
	if removed := prune(t, filepath.Join(home, "missing"), day); len(removed) != 0 {
		t.Errorf("removed %v", removed)
	}
	open := filepath.Join(home, "open")
	must(t, os.Mkdir(open, 0o755))
	must(t, os.Chmod(open, 0o777))
	if _, err := store.Prune(context.Background(), open, day, nil); err == nil || !strings.Contains(err.Error(), open) {
		t.Errorf("error is %v", err)
	}
}

// TestSweep: an extraction removes what was not used for long; a warm start does not, and
// neither does one that is told not to. Beside a tree in a directory of the caller's only
// those of its name go.
func TestSweep(t *testing.T) {
	base := newBase(t)
	old := abandoned(t, base, "old", 2*store.SweepAge)
	young := abandoned(t, base, "young", store.SweepAge/2)
	bundle := bt.Gzip(t, bt.Small())
	tr := open(t, bundle, base, tree.Options{NoSweep: true})
	if _, err := os.Lstat(old); err != nil {
		t.Error(err)
	}
	open(t, bundle, base, tree.Options{}).Release()
	if _, err := os.Lstat(old); err != nil {
		t.Errorf("a warm start: %v", err)
	}
	remove(t, tr)
	open(t, bundle, base, tree.Options{})
	if _, err := os.Lstat(old); err == nil {
		t.Error("it is still there")
	}
	if _, err := os.Lstat(young); err != nil {
		t.Error(err)
	}

	b, err := tree.NewBundle(os.DirFS(bt.Gzip(t, bt.Files{"other": "x"})))
	must(t, err)
	age(t, young+"/.pyembed-lease", 2*store.SweepAge)
	for _, name := range []string{"mine", "python"} {
		want := name == "mine"
		tr, err := store.OpenHashed(context.Background(), b, filepath.Join(base, name), tree.Options{})
		must(t, err)
		tr.Release()
		if _, err := os.Lstat(young); (err == nil) != want {
			t.Errorf("beside %s: %v", name, err)
		}
	}
}

// TestSweepEnds: it removes only so many at a time.
func TestSweepEnds(t *testing.T) {
	base := newBase(t)
	for _, content := range strings.Split("abcdefghijkl", "") {
		abandoned(t, base, content, 100*day)
	}
	open(t, bt.Gzip(t, bt.Small()), base, tree.Options{})
	if left := len(entries(t, base)) / 2; left != 1+12-8 {
		t.Errorf("%d trees are left", left)
	}
}
