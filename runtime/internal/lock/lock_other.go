//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package lock

import (
	"errors"
	"fmt"
	"time"
)

// removesOpen is of no use here.
const removesOpen = true

// A handle is never made.
type handle struct{ modTime time.Time }

// openLockFile fails before it leaves a file that nobody can lock.
func openLockFile(path string) (*handle, error) {
	return nil, fmt.Errorf("lock %s: %w", path, errors.ErrUnsupported)
}

func (*handle) close() error       { return nil }
func (*handle) isAt(string) bool   { return false }
func (*handle) tryLock(Mode) error { return errors.ErrUnsupported }
