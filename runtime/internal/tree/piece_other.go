//go:build !unix

package tree

import "os"

// writePiece writes piece at off into the file at path, which it creates, and which
// must then be new, if create is set.
func writePiece(path string, off int64, piece []byte, executable, create bool) error {
	perm := os.FileMode(0o644)
	if executable {
		perm = 0o755
	}
	flags := os.O_WRONLY
	if create {
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(path, flags, perm)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(piece, off); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
