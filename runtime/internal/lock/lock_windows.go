package lock

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// removesOpen: a file can't be removed while it is open.
const removesOpen = false

// A handle is an open lock file.
type handle struct {
	f       *os.File
	modTime time.Time // when it was opened
}

// openLockFile opens path for locking.
func openLockFile(path string) (*handle, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &handle{f: f, modTime: info.ModTime()}, nil
}

// close closes the file, which releases the lock.
func (h *handle) close() error { return h.f.Close() }

// isAt reports whether path leads to the file.
func (h *handle) isAt(path string) bool {
	have, err := h.f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(have, there)
}

// tryLock locks the first byte, which need not exist.
func (h *handle) tryLock(mode Mode) error {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if mode == Exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(windows.Handle(h.f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return ErrHeld
	default:
		return &fs.PathError{Op: "LockFileEx", Path: h.f.Name(), Err: err}
	}
}
