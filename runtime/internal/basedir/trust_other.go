//go:build !unix

package basedir

import (
	"io/fs"
	"os"
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

// checkAbove has nothing to look at.
func checkAbove(path string) error {
	return nil
}
