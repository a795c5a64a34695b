//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package tree

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A statter looks at entries below one directory, which it holds open: fstatat with
// a short relative name costs about half of an lstat with a long one.
type statter struct {
	root string
	fd   int
	euid uint32
}

// newStatter opens root.
func newStatter(root string) (*statter, error) {
	fd, err := retry(func() (int, error) { return unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	return &statter{root: root, fd: fd, euid: uint32(os.Geteuid())}, nil
}

// close closes the directory.
func (s *statter) close() { unix.Close(s.fd) }

// lstat looks at an entry by its slash-separated name, and follows no link at it.
func (s *statter) lstat(name string) (record, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(s.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return record{}, &fs.PathError{Op: "lstat", Path: s.root + "/" + name, Err: err}
		}
		break
	}
	r := record{kind: '?', mode: uint32(st.Mode), size: int64(st.Size), mtime: st.Mtim.Nano()}
	if st.Uid != 0 && st.Uid != s.euid {
		return r, nil // whatever it is, its owner may change it
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		r.kind = 'd'
	case unix.S_IFREG:
		r.kind = 'f'
	case unix.S_IFLNK:
		r.kind = 'l'
	}
	return r, nil
}

// modeFits reports whether an observed mode is one that writing with the wanted
// permission can have given under any umask that leaves the owner alone.
func modeFits(mode uint32, executable bool) bool {
	const owner = 0o400
	return mode&owner != 0 && mode&otherWrite == 0 && mode&0o7000 == 0 && mode&0o100 != 0 == executable
}
