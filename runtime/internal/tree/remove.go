package tree

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"pyembed.invalid/runtime/internal/lock"
	"pyembed.invalid/runtime/internal/manifest"
)

// Release gives the lease back and leaves the tree.
func (t *Tree) Release() {
	t.lease.Release()
}

// Remove gives the lease back and removes the tree, unless somebody else uses it or
// is about to. From a directory of the caller's it removes what the bundle put there
// and what Python cached beside it, and the directory itself if that leaves it empty.
//
// gone says that the tree is not there any more; it is safe to ask again.
func (t *Tree) Remove() (gone bool, err error) {
	t.lease.Release()
	m, err := t.bundle.Manifest()
	if err != nil {
		return false, err
	}
	p, err := newPlan(m)
	if err != nil {
		return false, err
	}
	if there, err := t.there(); !there || err != nil {
		return err == nil, err
	}
	held, err := seize(t.lockPath(), LeaseOf(t.path))
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return false, unlessInUse(err)
	}
	if executing(t.path, p.executables()) {
		held.release()
		return false, nil
	}
	if !t.opt.InPlace {
		return removeAll(t.path, held)
	}
	err = t.removeOwn(p)
	held.remove()
	os.Remove(t.path) // fails, as it should, if it holds other files
	return err == nil, err
}

// executables lists the files that the bundle wants to be executed.
func (p *plan) executables() []string {
	var names []string
	for _, n := range p.files {
		if n.entry.Executable() {
			names = append(names, n.name)
		}
	}
	return names
}

// removeAll removes the tree at path and what lies beside it for its users, and its
// locks, which are held: all at once for everybody who looks, as it is first renamed to
// a temporary name. gone is false if somebody turns out to use it.
func removeAll(path string, held *seized) (gone bool, err error) {
	held.letRename()
	// No directory is made for it: there may be no room for one.
	if err := rename(path, tempName(path+".")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		held.release()
		return false, unlessInUse(err)
	}
	if err := removeBeside(path); err != nil {
		held.release() // by its lock a sweep finds what is left
		return true, err
	}
	held.remove()
	return true, nil
}

// removeBeside removes what lies beside a tree that is gone: overlays, and what is or
// was temporary.
func removeBeside(path string) error {
	dir, start := filepath.Split(path + ".")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), start); ok && (isOverlay(rest) || isTemporary(rest)) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// seized is both locks of a tree that nobody else uses, or nil where there are none.
type seized struct {
	lock  *lock.File
	lease *lock.File // nil if there is no tree
}

// seize takes both locks of a tree exclusively, the lock first, which keeps others from
// beginning, then the lease, by a descriptor of its own: to turn a shared lock into an
// exclusive one may lose it. ErrHeld says that the tree is in use.
func seize(lockPath, leasePath string) (*seized, error) {
	l, err := lock.Try(lockPath, lock.Exclusive)
	if err != nil {
		return nil, err
	}
	lease, err := lock.Try(leasePath, lock.Exclusive)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.Unlock()
		return nil, err
	}
	return &seized{lock: l, lease: lease}, nil
}

// release gives the locks back.
func (s *seized) release() {
	if s != nil {
		s.letGo()
		s.lock.Unlock()
	}
}

// letRename makes it possible to rename the tree. Where that takes that nobody has a
// file in it open, the lease is given back: who takes it now has it open.
func (s *seized) letRename() {
	if s != nil && !renamesOpen {
		s.letGo()
	}
}

// letGo gives the lease back.
func (s *seized) letGo() {
	if s.lease != nil {
		s.lease.Unlock()
		s.lease = nil
	}
}

// remove gives the locks back and removes their files.
func (s *seized) remove() {
	if s != nil {
		if s.lease != nil {
			s.lease.Remove()
		}
		s.lock.Remove()
	}
}

// unlessInUse is nil for errors that mean that a tree is not to be removed now: somebody
// uses it or, on Windows, has a file in it open, or that can't be told.
func unlessInUse(err error) error {
	if errors.Is(err, lock.ErrHeld) || errors.Is(err, errors.ErrUnsupported) || Busy(err) {
		return nil
	}
	return err
}

// removeOwn removes the bundle's entries from a directory that may hold others.
func (t *Tree) removeOwn(p *plan) error {
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
			note(os.RemoveAll(below(t.path, dir+"/"+manifest.BytecodeDir)))
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
