package basedir

import (
	"fmt"
	"io/fs"
)

// usualOverflow is the number by which Linux shows users and groups that a user
// namespace does not map, unless /proc/sys/kernel/overflowuid or overflowgid says
// otherwise.
const usualOverflow = 65534

// An overflow is the number that stands for every user, or every group, that the user
// namespace does not map.
type overflow struct {
	id     uint32
	mapped bool // the namespace maps the number itself: it is an ordinary user's, too
	known  bool // the system has told
}

// An entry is what lstat shows of a directory or link.
type entry struct {
	mode     fs.FileMode
	uid, gid uint32
}

// sticky reports whether only its owner may replace what is in the directory.
func (e entry) sticky() bool {
	return e.mode&fs.ModeSticky != 0
}

// A judge knows on whose behalf directories are looked at, and what else the system can
// be asked. Asking for an overflow reads /proc, so that is done of odd owners only.
type judge struct {
	euid   uint32
	users  func() overflow
	groups func() overflow
	acl    func(path string) bool // whether there is a list of others who may write
}

// own reports whether uid is this user or root.
func (j *judge) own(uid uint32) bool {
	return uid == 0 || uid == j.euid && !(uid == usualOverflow && unmapped(uid, j.users()))
}

// rootlike reports whether uid is the overflow user, and root one of those that it
// stands for, as the owner of "/" shows.
func (j *judge) rootlike(uid, top uint32) bool {
	if uid != top {
		return false
	}
	o := j.users()
	return o.known && uid == o.id && !o.mapped
}

// unmapped reports whether the number stands for users or groups that have none.
func unmapped(id uint32, o overflow) bool {
	return id == o.id && !o.mapped
}

// name describes an owner.
func (j *judge) name(uid uint32) string {
	if unmapped(uid, j.users()) {
		return fmt.Sprintf("a user whom this user namespace does not map (%d)", uid)
	}
	return fmt.Sprintf("user %d", uid)
}

// othersWrite reports whether anyone but the owner may write. A user's private
// group, which by custom has the user's number, counts as the user: where such
// groups are used, umask 002 makes every directory writable by them. Root's group is
// root's alone only where root asks: containers put other users into it. The group's bits
// are also the sum of what an ACL grants.
func (j *judge) othersWrite(path string, e entry) bool {
	switch perm := e.mode.Perm(); {
	case perm&0o002 != 0:
		return true
	case perm&0o020 == 0:
		return false
	case e.gid != e.uid, e.gid == 0 && j.euid != 0, e.gid == usualOverflow && unmapped(e.gid, j.groups()):
		return true
	default:
		return j.acl(path)
	}
}

// base makes sure that a directory belongs to this user or to root, and that nobody
// else can create or replace something in it. With sticky, a directory where
// everyone may create but only the owner may replace is accepted.
func (j *judge) base(path string, e entry, sticky bool) error {
	if !j.own(e.uid) {
		return fmt.Errorf("%s belongs to %s, not to user %d", path, j.name(e.uid), j.euid)
	}
	if !(sticky && e.sticky()) && j.othersWrite(path, e) {
		return fmt.Errorf("%s can be written by other users (mode %04o)", path, e.mode.Perm())
	}
	return nil
}
