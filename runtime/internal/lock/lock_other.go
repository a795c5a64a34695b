//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package lock

import (
	"errors"
	"fmt"
	"os"
)

// openLockFile fails before it leaves a file that nobody can lock.
func openLockFile(path string) (*os.File, error) {
	return nil, fmt.Errorf("lock %s: %w", path, errors.ErrUnsupported)
}

// tryLock is never reached.
func tryLock(f *os.File, mode Mode) error {
	return errors.ErrUnsupported
}
