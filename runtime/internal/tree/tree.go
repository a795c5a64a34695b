// Package tree keeps one extracted bundle on disk: it extracts it, verifies it,
// puts back what is missing or changed, and removes it.
//
// A new tree is written into a sibling directory and renamed, so it is there whole
// or not at all. In a tree that is there, files are replaced one by one, each by a
// rename, so that running programs keep theirs. The stamp at a tree's root says what
// was observed when it was written. Nothing is synced to the disk: after a power
// failure the next use may find files to put back.
//
// A tree with the path P has two lock files, P.lock and P/.pyembed-lease. The lock is
// held exclusively while the tree is extracted, put right or removed. The lease is held
// shared for as long as a process may use the tree, and exclusively to remove it, and
// says by its time when the tree was last used. A use that finds the tree right takes
// only the lease. A tree in a directory of the caller's has both inside, as it may be all
// that can be written.
//
// It defends against other users together with package basedir, against accidents
// at level stat, and at level hash against whoever could write the tree before it
// was looked at; not against someone who writes it afterwards.
package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"syscall"
	"time"

	"pyembed.invalid/runtime/internal/basedir"
	"pyembed.invalid/runtime/internal/lock"
	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/payload"
)

// ErrPlace is wrapped by errors about the directory rather than about the bundle:
// the tree may be possible elsewhere.
var ErrPlace = errors.New("directory can't be used")

// A Level is how thoroughly a tree that is there is looked at.
type Level int

// The levels, see python.VerifyLevel.
const (
	Stat Level = iota
	Stamp
	Hash
)

// Options say how to open a tree.
type Options struct {
	Level    Level
	InPlace  bool // the directory is the caller's: other files in it stay
	NoSweep  bool // old trees beside a new one stay
	Logger   *slog.Logger
	Progress func(done, total int64)

	// Trial is asked whether the new tree at root, complete but not yet in its place,
	// works here. Its error ends the opening, and the tree is removed; when it wraps
	// ErrPlace, the tree may be possible elsewhere.
	Trial func(ctx context.Context, root string) error
}

// A Tree is an extracted bundle.
type Tree struct {
	path   string
	bundle *Bundle
	opt    Options
	log    *slog.Logger
	lease  *lock.Lease
	fresh  bool
}

// Fresh reports whether the tree was extracted when it was opened.
func (t *Tree) Fresh() bool { return t.fresh }

// Path is the tree's directory.
func (t *Tree) Path() string { return t.path }

// Open makes sure that the bundle is extracted to path, which is absolute. The
// directory above must exist.
func Open(ctx context.Context, b *Bundle, path string, opt Options) (*Tree, error) {
	t := &Tree{path: path, bundle: b, opt: opt, log: opt.Logger}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ok, err := t.warm(ctx)
	if err == nil && !ok {
		err = t.repair(ctx)
	}
	if err != nil {
		t.lease.Release()
		return nil, err
	}
	return t, nil
}

// Extracted reports whether a tree of the bundle was extracted to path. What has become
// of it since is Open's to find out.
func Extracted(b *Bundle, path string) bool {
	return readIdentity(path) == b.Identity
}

// place makes an error ErrPlace that came from writing the tree, and is not about the
// bundle or the end of ctx: whatever it is, a full disk or a bad one, it may be well
// elsewhere.
func place(err error) error {
	for _, other := range []error{nil, ErrPlace, payload.ErrCorrupt, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, other) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrPlace, err)
}

// lockPath is where the tree's lock lies.
func (t *Tree) lockPath() string { return t.Beside("lock") }

// LeaseOf is where the lease of the tree or overlay at path lies.
func LeaseOf(path string) string { return filepath.Join(path, manifest.LeaseName) }

// Beside is the path of something that belongs to the tree but is not part of it.
func (t *Tree) Beside(what string) string {
	if t.opt.InPlace {
		return filepath.Join(t.path, manifest.Reserved+what)
	}
	return t.path + "." + what
}

// warm reports whether the tree is there and right, without any exclusive lock.
func (t *Tree) warm(ctx context.Context) (bool, error) {
	there, err := t.there()
	if !there || err != nil {
		return false, err
	}
	switch err := t.takeLease(); {
	case errors.Is(err, lock.ErrHeld), errors.Is(err, fs.ErrNotExist):
		return false, nil // it is being removed, or was just now: another may appear
	case noDescriptor(err):
		return false, err // the tree must not be used without one for want of a descriptor
	}
	return t.right(ctx)
}

// there reports whether the directory exists, and fails if others can write it.
func (t *Tree) there() (bool, error) {
	switch err := basedir.CheckOwn(t.path, false); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, syscall.ENOTDIR):
		return false, fmt.Errorf("%w: %s is in the way: it is not a directory", ErrPlace, t.path)
	case err != nil:
		return false, fmt.Errorf("%w: %w", ErrPlace, err)
	}
	return true, nil
}

// takeLease takes the lease if it has none. Only ErrHeld matters to the caller: a tree
// that root put into an image, with lock files that only root may open, is used without
// a lease, and elsewhere nobody else can take one to remove the tree either.
func (t *Tree) takeLease() error {
	if t.lease != nil {
		return nil
	}
	lease, err := lock.TakeLease(LeaseOf(t.path))
	if err == nil {
		lease.Touch(time.Now())
		t.lease = lease
	} else if !errors.Is(err, lock.ErrHeld) {
		t.log.Debug("pyembed: no lease", "tree", t.path, "err", err)
	}
	return err
}

// repair extracts the tree or puts it right, under the lock.
func (t *Tree) repair(ctx context.Context) (err error) {
	l, waited, err := lock.Wait(ctx, t.lockPath(), lock.Exclusive)
	if waited && err == nil {
		// Whoever held it has most likely done the work, and everybody who waited can
		// look at the same time.
		l.Unlock()
		if ok, err := t.warm(ctx); ok || err != nil {
			return err
		}
		l, _, err = lock.Wait(ctx, t.lockPath(), lock.Exclusive)
	}
	switch {
	case err == nil:
		defer func() { t.unlock(l, err) }()
	case errors.Is(err, errors.ErrUnsupported):
		// Without locks two processes may do the same work; each file and the
		// tree still appear by rename.
		t.log.Debug("pyembed: no lock", "tree", t.path, "err", err)
	case notWritable(err):
		return t.readOnly(ctx, err)
	default:
		return place(err)
	}
	if l != nil {
		t.dropTemporaries()
	}
	there, err := t.there()
	if err != nil {
		return err
	}
	if !there {
		if err := t.extract(ctx); err != nil {
			return err
		}
		t.takeLease()
		return nil
	}
	t.takeLease()
	return t.heal(ctx)
}

// unlock releases the lock, and removes the lock files if there is nothing to lock.
func (t *Tree) unlock(l *lock.File, err error) {
	if err == nil || readIdentity(t.path) != "" {
		l.Unlock()
		return
	}
	if t.lease != nil {
		t.lease.Release()
		t.lease = nil
		if lease, err := lock.Try(LeaseOf(t.path), lock.Exclusive); err == nil {
			lease.Remove()
		}
	}
	l.Remove()
}

// readOnly uses a tree that can't be locked because its directory can't be written,
// if nothing needs to be put right. cause is why it can't be written.
func (t *Tree) readOnly(ctx context.Context, cause error) error {
	there, err := t.there()
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%w: %w", ErrPlace, cause)
	}
	d, err := t.diagnose(ctx)
	if err != nil {
		return err
	}
	if d.damaged() {
		return fmt.Errorf("%w: %s is incomplete or changed (%s) and can't be written: %w", ErrPlace, t.path, d, cause)
	}
	return nil
}
