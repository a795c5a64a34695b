//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// openLockFile makes a file that nobody else can open: who can, even for reading, can
// lock it and keep everybody waiting. It does not follow a link that someone left in a
// shared directory, nor wait for the other end of a pipe. A file that can't be written,
// as in an image layer, is locked through a reader.
func openLockFile(path string) (*os.File, error) {
	const safe = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|safe, 0o600)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		if ro, roErr := os.OpenFile(path, os.O_RDONLY|safe, 0); roErr == nil {
			f, err = ro, nil
		}
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "fstat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: path, Err: errors.New("it is not a regular file")}
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: path, Err: fmt.Errorf("%w: it belongs to user %d", fs.ErrPermission, st.Uid)}
	}
	return f, nil
}

// tryLock takes flock's lock, which belongs to the open file and not, as fcntl's,
// to the process.
func tryLock(f *os.File, mode Mode) error {
	how := unix.LOCK_SH
	if mode == Exclusive {
		how = unix.LOCK_EX
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrHeld
		case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EINVAL):
			return fmt.Errorf("flock %s: %w (%w)", f.Name(), errors.ErrUnsupported, err)
		default:
			return &fs.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}
