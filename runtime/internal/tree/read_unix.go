//go:build unix

package tree

import (
	"errors"

	"golang.org/x/sys/unix"
)

// readFile reads up to limit bytes of a regular file; nil if it can't. It uses a bare
// descriptor, see lock's handle.
func readFile(path string, limit int) []byte {
	const safe = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|safe, 0) })
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	data := make([]byte, min(st.Size, int64(limit)))
	for done := 0; done < len(data); {
		n, err := retry(func() (int, error) { return unix.Read(fd, data[done:]) })
		if err != nil || n <= 0 {
			return nil
		}
		done += n
	}
	return data
}

// noDescriptor reports whether a file could not be opened because too many are open.
func noDescriptor(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}
