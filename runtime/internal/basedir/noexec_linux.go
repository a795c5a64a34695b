package basedir

import "golang.org/x/sys/unix"

// noexec reports whether programs can't be run from the file system at path.
func noexec(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.ST_NOEXEC != 0
}
