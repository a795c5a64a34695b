package tree

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"

	"pyembed.invalid/runtime/internal/lock"
)

// Release gives the lease back and leaves the tree.
func (t *Tree) Release() {
	t.lease.Release()
}

// Remove gives the lease back and removes the tree, unless somebody else uses it or
// is about to. From a directory of the caller's it removes what the bundle put there
// and what Python cached beside it, and the directory itself if that leaves it empty.
func (t *Tree) Remove() error {
	t.lease.Release()
	l, err := lock.Try(t.lockPath(), lock.Exclusive)
	if errors.Is(err, errors.ErrUnsupported) {
		return t.remove()
	}
	if err != nil {
		return unlessGone(err)
	}
	lease, err := lock.Try(t.leasePath(), lock.Exclusive)
	if err != nil {
		l.Unlock()
		return unlessGone(err)
	}
	err = t.remove()
	lease.Remove()
	l.Remove()
	if t.opt.InPlace {
		os.Remove(t.path) // fails, as it should, if it holds other files
	}
	return err
}

// remove removes what is on disk, apart from the lock files.
func (t *Tree) remove() error {
	if t.opt.InPlace {
		return t.removeOwn()
	}
	gone, err := t.makeTemp()
	if err != nil {
		return err
	}
	defer os.RemoveAll(gone)
	if err := rename(t.path, filepath.Join(gone, "tree")); err != nil {
		return unlessGone(err)
	}
	return os.RemoveAll(gone)
}

// unlessGone is nil for errors that mean that there is nothing for us to remove.
func unlessGone(err error) error {
	if errors.Is(err, lock.ErrHeld) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removeOwn removes the bundle's entries from a directory that may hold others.
func (t *Tree) removeOwn() error {
	m, err := t.bundle.Manifest()
	if err != nil {
		return err
	}
	p, err := newPlan(m)
	if err != nil {
		return err
	}
	var failed error
	note := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) && failed == nil {
			failed = err
		}
	}
	for _, n := range append(p.files, p.links...) {
		if st, err := os.Lstat(below(t.path, n.name)); err == nil && !st.IsDir() && t.realDirs(path.Dir(n.name)) {
			note(os.Remove(below(t.path, n.name)))
		}
	}
	note(os.Remove(filepath.Join(t.path, stampName)))
	sort.Sort(sort.Reverse(sort.StringSlice(p.dirs)))
	for _, dir := range p.dirs {
		if t.realDirs(dir) {
			note(os.RemoveAll(below(t.path, dir+"/__pycache__")))
			os.Remove(below(t.path, dir)) // fails, as it should, if it holds other files
		}
	}
	return failed
}

// realDirs reports whether no element of a directory's name is a link.
func (t *Tree) realDirs(name string) bool {
	for ; name != "."; name = path.Dir(name) {
		if st, err := os.Lstat(below(t.path, name)); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}
