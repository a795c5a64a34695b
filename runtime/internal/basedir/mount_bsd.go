//go:build darwin || freebsd || dragonfly || netbsd || openbsd

package basedir

import "golang.org/x/sys/unix"

// noexec reports whether programs can't be run from the file system at path.
func noexec(path string) bool {
	flags, err := mountFlags(path)
	return err == nil && flags&unix.MNT_NOEXEC != 0
}

// Network reports whether the file system at path is not on this machine alone, or
// whether that can't be found out.
func Network(path string) bool {
	flags, err := mountFlags(path)
	return err != nil || flags&unix.MNT_LOCAL == 0
}
