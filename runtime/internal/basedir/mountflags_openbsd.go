package basedir

import "golang.org/x/sys/unix"

// mountFlags are the MNT_ flags of the file system at path.
func mountFlags(path string) (uint64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	return uint64(st.F_flags), err
}
