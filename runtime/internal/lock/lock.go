// Package lock is advisory locks on files, between processes and within one.
//
// A lock belongs to an open file, so the system drops it when its holder dies,
// however it dies. It binds only those who ask. On a file system or an operating
// system without such locks every function fails with an error that wraps
// errors.ErrUnsupported.
package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// ErrHeld is returned by Try when another open file holds the lock.
var ErrHeld = errors.New("lock is held")

// A Mode is how a lock excludes others.
type Mode bool

// Shared locks exclude only exclusive ones.
const (
	Shared    Mode = false
	Exclusive Mode = true
)

// A File is a locked file.
type File struct {
	path string
	f    *handle
}

// Try locks the file at path, which it creates if need be, or returns ErrHeld.
func Try(path string, mode Mode) (*File, error) {
	const most = 1000 // a file system that shows another file each time has no locks
	for range most {
		f, err := openLockFile(path)
		if err != nil {
			return nil, err
		}
		if l, err := lockOpen(f, path, mode); l != nil || err != nil {
			return l, err
		}
	}
	return nil, fmt.Errorf("lock %s: %w: it is another file all the time", path, errors.ErrUnsupported)
}

// lockOpen locks f, which was opened at path, or closes it. It returns neither a lock
// nor an error if the last holder removed the file between our open and our lock.
func lockOpen(f *handle, path string, mode Mode) (*File, error) {
	if err := f.tryLock(mode); err != nil {
		f.close()
		return nil, err
	}
	l := &File{path: path, f: f}
	if !l.Current() {
		l.Unlock()
		return nil, nil
	}
	return l, nil
}

// maxWait bounds the pause between two attempts, and so how long a lock that
// became free can go unnoticed.
const maxWait = 25 * time.Millisecond

// Wait locks the file at path as soon as nobody excludes it, or returns ctx's error.
// waited says that somebody did.
func Wait(ctx context.Context, path string, mode Mode) (l *File, waited bool, err error) {
	for pause := time.Millisecond; ; pause = min(2*pause, maxWait) {
		if err := ctx.Err(); err != nil {
			return nil, waited, err
		}
		l, err := Try(path, mode)
		if !errors.Is(err, ErrHeld) {
			return l, waited, err
		}
		waited = true
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Current reports whether the locked file is still the one at its path.
func (l *File) Current() bool {
	return l.f.isAt(l.path)
}

// Unlock releases the lock and leaves the file.
func (l *File) Unlock() error {
	return l.f.close()
}

// Remove releases the lock and removes the file, while it is locked where the
// system allows that. Those who wait for it notice that the file is another one.
func (l *File) Remove() {
	removed := os.Remove(l.path) == nil
	l.f.close()
	if !removed && !removesOpen {
		os.Remove(l.path)
	}
}
