package lock

import (
	"os"
	"sync"
	"time"
)

// A Lease is this process's shared lock on a tree that it uses. It is held until
// every Lease of the path is released, or the process ends: a command that was
// started from a tree may outlive the value that its program got the path from,
// so an unreachable Lease is not released.
type Lease struct {
	held *heldLease
	once sync.Once
}

// A heldLease is one locked file and how many Leases share it.
type heldLease struct {
	file *File
	refs int
}

// leases is the process's leases by path. It is the one piece of package state: a
// lease per value would leak a descriptor with each value that is dropped.
var leases struct {
	sync.Mutex
	byPath map[string]*heldLease
}

// TakeLease takes a shared lock on the file at path without waiting: ErrHeld says
// that someone is about to remove what it guards.
func TakeLease(path string) (*Lease, error) {
	leases.Lock()
	defer leases.Unlock()
	held := leases.byPath[path]
	if held == nil || !held.file.Current() {
		file, err := Try(path, Shared)
		if err != nil {
			return nil, err
		}
		held = &heldLease{file: file}
		if leases.byPath == nil {
			leases.byPath = make(map[string]*heldLease)
		}
		leases.byPath[path] = held
	}
	held.refs++
	return &Lease{held: held}, nil
}

// UseGrain is how exactly the time of the last use is kept: a lease file is touched
// when its time is off by more.
const UseGrain = 24 * time.Hour

// Touch makes the lease file's modification time say when it was last used, give or
// take UseGrain. A time in the future, as after the clock was set back, is mended.
// It is best effort: the file may be another user's, or on a read-only file system.
func (l *Lease) Touch(now time.Time) {
	leases.Lock() // others may share the file
	defer leases.Unlock()
	if held := l.held.file; now.Sub(held.f.modTime).Abs() > UseGrain && os.Chtimes(held.path, now, now) == nil {
		held.f.modTime = now
	}
}

// Release gives the lease back. It may be called more than once, and on nil.
func (l *Lease) Release() {
	if l == nil {
		return
	}
	l.once.Do(func() {
		leases.Lock()
		defer leases.Unlock()
		if l.held.refs--; l.held.refs > 0 {
			return
		}
		if path := l.held.file.path; leases.byPath[path] == l.held {
			delete(leases.byPath, path)
		}
		l.held.file.Unlock()
	})
}
