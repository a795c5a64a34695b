//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package tree

import (
	"io/fs"
	"os"
	"path/filepath"
)

// A statter looks at entries below one directory.
type statter struct {
	root string
}

// newStatter remembers root.
func newStatter(root string) (*statter, error) {
	return &statter{root: root}, nil
}

// close does nothing.
func (s *statter) close() {}

// lstat looks at an entry by its slash-separated name, and follows no link at it.
func (s *statter) lstat(name string) (record, error) {
	info, err := os.Lstat(filepath.Join(s.root, filepath.FromSlash(name)))
	if err != nil {
		return record{}, err
	}
	r := record{kind: '?', mode: uint32(info.Mode()), size: info.Size(), mtime: info.ModTime().UnixNano()}
	switch info.Mode().Type() {
	case fs.ModeDir:
		r.kind = 'd'
	case fs.ModeSymlink:
		r.kind = 'l'
	case 0:
		r.kind = 'f'
	}
	return r, nil
}

// modeFits has nothing to say where modes are made up from other attributes.
func modeFits(mode uint32, executable bool) bool {
	return true
}
