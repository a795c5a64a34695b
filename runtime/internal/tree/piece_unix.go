//go:build unix

package tree

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// writePiece writes piece at off into the file at path, which it creates, and which
// must then be new, if create is set.
//
// An executable is opened, written and closed while no other goroutine can fork: a
// child that inherits the descriptor, until its own exec closes it, would make the
// first exec of the file fail with ETXTBSY. A piece is small, so a fork elsewhere
// in the program waits only milliseconds.
func writePiece(path string, off int64, piece []byte, executable, create bool) error {
	perm := uint32(0o644)
	if executable {
		perm = 0o755
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
	}
	flags := unix.O_WRONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW
	if create {
		flags |= unix.O_CREAT | unix.O_EXCL
	}
	fd, err := retry(func() (int, error) { return unix.Open(path, flags, perm) })
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	for len(piece) > 0 {
		n, err := retry(func() (int, error) { return unix.Pwrite(fd, piece, off) })
		if err != nil {
			unix.Close(fd)
			return &fs.PathError{Op: "write", Path: path, Err: err}
		}
		piece, off = piece[n:], off+int64(n)
	}
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return &fs.PathError{Op: "close", Path: path, Err: err}
	}
	return nil
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
