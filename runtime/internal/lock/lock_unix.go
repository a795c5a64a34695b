//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// removesOpen: a file can be removed while it is open.
const removesOpen = true

// A handle is an open lock file. It is a bare descriptor: an os.File would bring up the
// runtime's poller, which costs a warm start more system calls than all else.
type handle struct {
	fd       int
	path     string
	dev, ino uint64
	modTime  time.Time // when it was opened
}

// openLockFile makes a file that nobody else can open: who can, even for reading, can
// lock it and keep everybody waiting. It does not follow a link that someone left in a
// shared directory, nor wait for the other end of a pipe. A file that can't be written,
// as in an image layer, is locked through a reader.
func openLockFile(path string) (*handle, error) {
	const safe = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := openFile(path, unix.O_RDWR|unix.O_CREAT|safe)
	if err == unix.EACCES || err == unix.EROFS {
		if ro, roErr := openFile(path, unix.O_RDONLY|safe); roErr == nil {
			fd, err = ro, nil
		}
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	h := &handle{fd: fd, path: path}
	if err := h.check(); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// openFile is open(2), again when a signal interrupts it.
func openFile(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags, 0o600)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// check makes sure that the file is a regular one of this user's, or of root's.
func (h *handle) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return &fs.PathError{Op: "fstat", Path: h.path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return &fs.PathError{Op: "lock", Path: h.path, Err: errors.New("it is not a regular file")}
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return &fs.PathError{Op: "lock", Path: h.path, Err: fmt.Errorf("%w: it belongs to user %d", fs.ErrPermission, st.Uid)}
	}
	h.dev, h.ino, h.modTime = uint64(st.Dev), uint64(st.Ino), time.Unix(st.Mtim.Unix())
	return nil
}

// close releases the lock and closes the file. Closing alone would not do: a child that
// is being started elsewhere in this process has a copy of the descriptor until its exec.
func (h *handle) close() error {
	if h.fd < 0 {
		return fs.ErrClosed
	}
	unix.Flock(h.fd, unix.LOCK_UN)
	err := unix.Close(h.fd)
	h.fd = -1
	return err
}

// isAt reports whether path leads to the file.
func (h *handle) isAt(path string) bool {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return err == nil && h.fd >= 0 && uint64(st.Dev) == h.dev && uint64(st.Ino) == h.ino
}

// tryLock takes flock's lock, which belongs to the open file and not, as fcntl's,
// to the process.
func (h *handle) tryLock(mode Mode) error {
	how := unix.LOCK_SH
	if mode == Exclusive {
		how = unix.LOCK_EX
	}
	for {
		err := unix.Flock(h.fd, how|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err == unix.EINTR:
			continue
		case err == unix.EWOULDBLOCK:
			return ErrHeld
		case err == unix.ENOLCK, err == unix.EINVAL, errors.Is(err, errors.ErrUnsupported):
			return fmt.Errorf("flock %s: %w (%w)", h.path, errors.ErrUnsupported, err)
		default:
			return &fs.PathError{Op: "flock", Path: h.path, Err: err}
		}
	}
}
