//go:build !unix

package basedir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// tempName is the directory below os.TempDir, which is the user's own.
func tempName() string {
	return "pyembed"
}

// CheckOwn only makes sure that dir is a directory.
func CheckOwn(dir string, sticky bool) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "use", Path: dir, Err: syscall.ENOTDIR}
	}
	return nil
}

// prepare does what Prepare says, without a look at owners and modes.
func (c Candidate) prepare() (string, error) {
	if err := c.create(); err != nil {
		return "", err
	}
	if c.Private {
		if info, err := os.Lstat(c.Path); err != nil {
			return "", err
		} else if !info.IsDir() {
			return "", fmt.Errorf("%s is a link, not a directory", c.Path)
		}
	}
	path, err := filepath.EvalSymlinks(c.Path)
	if err != nil {
		return "", err
	}
	if err := CheckOwn(path, c.Sticky); err != nil {
		return "", err
	}
	return path, nil
}

// create makes the directory. An existing one is left as it is. The directory that
// holds the last ones that may be created has to be there.
func (c Candidate) create() error {
	if _, err := os.Stat(c.Path); err == nil {
		return nil
	}
	if c.limit() > 0 {
		above := c.Path
		for range c.limit() {
			above = filepath.Dir(above)
		}
		if _, err := os.Stat(above); err != nil {
			return err
		}
	}
	return os.MkdirAll(c.Path, c.mode())
}
