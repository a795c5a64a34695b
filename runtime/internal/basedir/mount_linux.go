package basedir

import "golang.org/x/sys/unix"

// noexec reports whether programs can't be run from the file system at path.
func noexec(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.ST_NOEXEC != 0
}

// Network reports whether other machines may use the file system at path at the same
// time, or whether that can't be found out.
func Network(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) != nil || networkType(uint32(st.Type))
}
