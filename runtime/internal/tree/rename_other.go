//go:build !windows

package tree

import "os"

// rename moves a file over another, or a directory to a new name.
func rename(from, to string) error {
	return os.Rename(from, to)
}

// busy: what is open can be renamed all the same.
func busy(error) bool { return false }
