package basedir

import (
	"io/fs"
	"strings"
	"testing"
)

// Overflows of a system where every number is mapped, of a user namespace that does not
// map the overflow user, of one with another overflow user, and where /proc is missing.
var (
	all     = overflow{id: 65534, mapped: true, known: true}
	partial = overflow{id: 65534, known: true}
	other   = overflow{id: 65533, known: true}
	silent  = overflow{id: 65534}
)

// judgeOf makes a judge for a user. Where there is nothing to ask, asking is an error.
func judgeOf(t *testing.T, euid uint32, o *overflow) *judge {
	ask := func() overflow {
		if o == nil {
			t.Error("the system was asked for the overflow")
			return overflow{}
		}
		return *o
	}
	return &judge{euid: euid, users: ask, groups: ask, acl: func(path string) bool { return path == "/acl" }}
}

// TestOwn: what belongs to this user and to root, and when the system is asked.
func TestOwn(t *testing.T) {
	for _, c := range []struct {
		euid, uid uint32
		overflow  *overflow
		want      bool
	}{
		{1000, 1000, nil, true},
		{1000, 0, nil, true},
		{0, 0, nil, true},
		{1000, 1001, nil, false},
		{0, 1000, nil, false},
		{1000, 65534, nil, false},
		{65534, 65534, &all, true},
		{65534, 65534, &other, true},
		{65534, 65534, &partial, false},
		{65534, 65534, &silent, false},
	} {
		if got := judgeOf(t, c.euid, c.overflow).own(c.uid); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestRootlike: the overflow user stands for root only where root has no number.
func TestRootlike(t *testing.T) {
	for _, c := range []struct {
		uid, top uint32
		overflow *overflow
		want     bool
	}{
		{65534, 0, nil, false},
		{65534, 65534, &partial, true},
		{65533, 65533, &other, true},
		{65534, 65534, &other, false},
		{65534, 65534, &all, false},
		{65534, 65534, &silent, false},
		{1001, 1001, &partial, false},
	} {
		if got := judgeOf(t, 1000, c.overflow).rootlike(c.uid, c.top); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestOthersWrite: others may write by the mode's bits for all, by a group that is not
// the user's private one, and by an ACL.
func TestOthersWrite(t *testing.T) {
	for _, c := range []struct {
		mode     fs.FileMode
		uid, gid uint32
		path     string
		overflow *overflow
		want     bool
	}{
		{0o755, 1000, 1000, "/acl", nil, false},
		{0o775, 1000, 1000, "/", nil, false},
		{0o775, 1000, 1000, "/acl", nil, true},
		{0o775, 1000, 100, "/", nil, true},
		{0o775, 0, 0, "/", nil, true},
		{0o757, 1000, 1000, "/", nil, true},
		{0o775, 65534, 65534, "/", &all, false},
		{0o775, 65534, 65534, "/", &partial, true},
		{0o755, 65534, 65534, "/", nil, false},
	} {
		e := entry{mode: c.mode | fs.ModeDir, uid: c.uid, gid: c.gid}
		if got := judgeOf(t, 1000, c.overflow).othersWrite(c.path, e); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestBase: the error says whose the directory is.
func TestBase(t *testing.T) {
	for _, c := range []struct {
		mode     fs.FileMode
		uid      uint32
		overflow *overflow
		sticky   bool
		want     string
	}{
		{0o755, 1000, nil, false, ""},
		{0o755, 1001, &all, false, "/b belongs to user 1001, not to user 1000"},
		{0o755, 65534, &all, false, "/b belongs to user 65534, not"},
		{0o755, 65534, &partial, false, "/b belongs to a user whom this user namespace does not map (65534), not"},
		{0o777, 1000, nil, true, "/b can be written by other users (mode 0777)"},
		{0o777 | fs.ModeSticky, 1000, nil, false, "/b can be written by other users (mode 0777)"},
		{0o777 | fs.ModeSticky, 0, nil, true, ""},
	} {
		err := judgeOf(t, 1000, c.overflow).base("/b", entry{mode: c.mode | fs.ModeDir, uid: c.uid, gid: c.uid}, c.sticky)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
