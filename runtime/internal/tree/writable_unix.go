//go:build unix

package tree

import (
	"errors"
	"io/fs"
	"syscall"
)

// notWritable reports whether err says that a directory can't be written by us.
func notWritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
