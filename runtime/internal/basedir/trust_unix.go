//go:build unix

package basedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// nobody stands for users that a user namespace does not map.
const nobody = 65534

// tempName is this user's directory below os.TempDir.
func tempName() string {
	return "pyembed-" + strconv.Itoa(os.Geteuid())
}

// CheckOwn makes sure that dir belongs to this user or to root, and that nobody
// else can create or replace something in it. With sticky, a directory where
// everyone may create but only the owner may replace is accepted.
func CheckOwn(dir string, sticky bool) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "use", Path: dir, Err: syscall.ENOTDIR}
	}
	st := info.Sys().(*syscall.Stat_t)
	if euid := os.Geteuid(); st.Uid != 0 && int(st.Uid) != euid {
		return fmt.Errorf("%s belongs to user %d, not to user %d", dir, st.Uid, euid)
	}
	if othersWrite(info, st) && !(sticky && info.Mode()&fs.ModeSticky != 0) {
		return fmt.Errorf("%s can be written by other users (mode %04o)", dir, info.Mode().Perm())
	}
	return nil
}

// checkAbove makes sure that no directory above a real path lets other users exchange
// what is below it, as those who may write it can, and its owner whatever its mode.
func checkAbove(path string) error {
	euid := os.Geteuid()
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return nil // only those who may look at it can exchange it
			}
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if othersWrite(info, st) && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("%s lies below %s, which other users can write (mode %04o)", path, dir, info.Mode().Perm())
		}
		if st.Uid != 0 && int(st.Uid) != euid && st.Uid != nobody {
			return fmt.Errorf("%s lies below %s, which belongs to user %d", path, dir, st.Uid)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// othersWrite reports whether anyone but the owner may write. A user's private
// group, which by custom has the user's number, counts as the user: where such
// groups are used, umask 002 makes every directory writable by them.
func othersWrite(info fs.FileInfo, st *syscall.Stat_t) bool {
	perm := info.Mode().Perm()
	return perm&0o002 != 0 || perm&0o020 != 0 && st.Gid != st.Uid
}
