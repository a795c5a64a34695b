//go:build darwin || freebsd || dragonfly

package basedir

import "golang.org/x/sys/unix"

// noexec reports whether programs can't be run from the file system at path.
func noexec(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && uint64(st.Flags)&unix.MNT_NOEXEC != 0
}
