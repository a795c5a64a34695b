package basedir

import "golang.org/x/sys/unix"

// mountFlags are the MNT_ flags of the file system at path.
func mountFlags(path string) (uint64, error) {
	var st unix.Statvfs_t
	err := unix.Statvfs(path, &st)
	return uint64(st.Flag), err
}
