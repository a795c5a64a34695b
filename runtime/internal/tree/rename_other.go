//go:build !windows

package tree

import "os"

// renamesOpen: whether a directory can be renamed while somebody has a file in it open.
const renamesOpen = true

// rename moves a file over another, or a directory to a new name.
func rename(from, to string) error {
	return os.Rename(from, to)
}

// Busy: what is open can be renamed all the same.
func Busy(error) bool { return false }
