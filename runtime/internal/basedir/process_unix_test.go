//go:build unix

package basedir

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// us and them are two users without a passwd entry.
const us, them = 12345, 12346

// noNamespace begins what a process says that could not start another in a user namespace.
const noNamespace = "no user namespace:"

// TestMain lets the test binary be the other process: it finds a base as the
// environment says, if asked to in a user namespace.
func TestMain(m *testing.M) {
	if os.Getenv("BASEDIR_TEST_FIND") == "" {
		os.Exit(m.Run())
	}
	if cmd := inNamespace(os.Getenv("BASEDIR_TEST_NAMESPACE")); cmd != nil {
		out, err := cmd.Output()
		fmt.Print(string(out))
		if err != nil {
			fmt.Println(noNamespace, err)
		}
		os.Exit(0)
	}
	fmt.Println(find(os.Getenv("BASEDIR_TEST_NAMED")))
	os.Exit(0)
}

// shared makes a directory of a user's that every user can reach, with a copy of the
// test binary in it.
func shared(t *testing.T, owner int) (dir, binary string) {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("/var/tmp", "pyembed-test-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	dir = resolved(t, dir)
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chown(dir, owner, owner))
	binary = filepath.Join(dir, "test")
	data, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(binary, data, 0o755))
	return dir, binary
}

// needRoot skips what only root can set up.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act as another user")
	}
}

// own makes a directory of a user's.
func own(t *testing.T, path string, uid int, mode fs.FileMode) string {
	t.Helper()
	must(t, os.Mkdir(path, 0o755))
	must(t, os.Chown(path, uid, uid))
	must(t, os.Chmod(path, mode))
	return path
}

// findAs is what a user's process finds in an environment of nothing else.
func findAs(t *testing.T, binary string, uid uint32, env ...string) string {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.Dir = "/"
	cmd.Env = append([]string{"BASEDIR_TEST_FIND=1", "GORACE=atexit_sleep_ms=0"}, env...) // the race detector sleeps at the end
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestRootInUsersHome: root creates nothing in a user's home, and goes on to its own
// temporary directory; what it is to create there, the user has to make.
func TestRootInUsersHome(t *testing.T) {
	needRoot(t)
	dir := resolved(t, t.TempDir())
	home := own(t, dir+"/home", us, 0o755)
	for name, value := range map[string]string{"HOME": home, "XDG_CACHE_HOME": "", "TMPDIR": dir, Env: ""} {
		t.Setenv(name, value)
	}
	if got := find(""); got != dir+"/pyembed-0" {
		t.Errorf("found: %s", got)
	}
	got := find(home + "/a/b")
	if want := home + "/a/b does not exist, and " + home + " belongs to user 12345: make it yourself first"; !strings.Contains(got, want) {
		t.Errorf("named: %s", got)
	}
	if left := entries(t, home); len(left) != 0 {
		t.Errorf("in the home there is %v", left)
	}
	must(t, os.MkdirAll(home+"/a/b", 0o755))
	if got := find(home + "/a/b"); got != home+"/a/b" {
		t.Errorf("named and made: %s", got)
	}
	if _, err := (Candidate{Path: home + "/a/b"}).Prepare(); err == nil || !strings.Contains(err.Error(), "lies below "+home+", which belongs to user 12345") {
		t.Errorf("found below another user's: %v", err)
	}
	if got := find(own(t, dir+"/theirs", us, 0o755)); !strings.Contains(got, "belongs to user 12345, not to user 0") {
		t.Errorf("another user's: %s", got)
	}
}

// TestPlantedLinks: in a directory like /tmp, links and directories that another user
// put where ours will be are not followed and not used, and nothing is created there.
func TestPlantedLinks(t *testing.T) {
	needRoot(t)
	dir := resolved(t, t.TempDir())
	tmp := own(t, dir+"/tmp", 0, 0o777|fs.ModeSticky)
	target := own(t, dir+"/target", 0, 0o755)
	for _, c := range []struct {
		uid  int
		c    Candidate
		want string
	}{
		{us, Candidate{Path: tmp + "/link"}, "is a link that belongs to user 12345"},
		{us, Candidate{Path: tmp + "/link", Explicit: true}, "is a link that belongs to user 12345"},
		{us, Candidate{Path: tmp + "/link", Private: true}, "is a link, not a directory"},
		{us, Candidate{Path: tmp + "/link/base"}, "is a link that belongs to user 12345"},
		{us, Candidate{Path: tmp + "/link/base", Explicit: true}, "is a link that belongs to user 12345"},
		{us, Candidate{Path: tmp + "/link/base", Private: true}, "is a link that belongs to user 12345"},
		{0, Candidate{Path: tmp + "/link"}, ""},
		{0, Candidate{Path: tmp + "/link", Explicit: true}, ""},
		{0, Candidate{Path: tmp + "/link", Private: true}, "is a link, not a directory"},
		{0, Candidate{Path: tmp + "/link/base"}, ""},
	} {
		must(t, os.Symlink(target, tmp+"/link"))
		must(t, os.Lchown(tmp+"/link", c.uid, c.uid))
		path, err := c.c.Prepare()
		switch {
		case c.want == "" && (err != nil || path != filepath.Join(target, strings.TrimPrefix(c.c.Path, tmp+"/link"))),
			c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("user %d, %+v: %s %v", c.uid, c.c, path, err)
		}
		if left := entries(t, target); c.want != "" && len(left) != 0 {
			t.Errorf("user %d, %+v: there is %v", c.uid, c.c, left)
		}
		must(t, os.Remove(tmp+"/link"))
	}
	own(t, tmp+"/pyembed-0", us, 0o700)
	if _, err := (Candidate{Path: tmp + "/pyembed-0", Private: true}).Prepare(); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
		t.Errorf("planted directory: %v", err)
	}
}

// TestLinkOfTheDirectorysOwner: below a user's directory that the caller names, that
// user's links are followed, but nothing is created through them.
func TestLinkOfTheDirectorysOwner(t *testing.T) {
	needRoot(t)
	dir := resolved(t, t.TempDir())
	home, target := own(t, dir+"/home", us, 0o755), own(t, dir+"/target", 0, 0o755)
	must(t, os.Symlink(target, home+"/link"))
	must(t, os.Lchown(home+"/link", us, us))
	if got := find(home + "/link"); got != target {
		t.Errorf("existing: %s", got)
	}
	if got := find(home + "/link/base"); !strings.Contains(got, "make it yourself first") {
		t.Errorf("missing: %s", got)
	}
	must(t, os.Lchown(home+"/link", them, them))
	if got := find(home + "/link"); !strings.Contains(got, "is a link that belongs to user 12346") {
		t.Errorf("a third user's: %s", got)
	}
	must(t, os.Remove(home+"/link"))
	must(t, os.Symlink(target, home+"/link")) // root's own link, in another user's directory
	if got := find(home + "/link"); got != target {
		t.Errorf("our own: %s", got)
	}
}

// TestUserWithoutPasswdEntry: whatever HOME is, there is a base or a clear reason.
func TestUserWithoutPasswdEntry(t *testing.T) {
	dir, binary := shared(t, 0)
	tmp, home := own(t, dir+"/tmp", 0, 0o777|fs.ModeSticky), own(t, dir+"/home", us, 0o700)
	base := tmp + "/pyembed-" + strconv.Itoa(us)
	for _, c := range []struct{ home, tmp, want string }{
		{"HOME=" + home, tmp, home + "/"},
		{"HOME=/", tmp, base},
		{"HOME=/nonexistent", tmp, base},
		{"HOME=", tmp, base},
		{"UNSET=", tmp + "/", base},
		{"HOME=home", tmp, base},
		{"XDG_CACHE_HOME=cache", tmp, base},
		{"HOME=/", dir, "tried /"},
		{"HOME=/", dir, dir + "/pyembed-12345: permission denied"},
		{"HOME=" + dir + "/missing", "relative", dir + "/missing: no such file or directory"},
	} {
		if got := findAs(t, binary, us, c.home, "TMPDIR="+c.tmp); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s", c, got)
		}
	}
	// Another user may have been there first.
	must(t, os.Chown(base, them, them))
	if got := findAs(t, binary, us, "TMPDIR="+tmp); !strings.Contains(got, base+" belongs to user 12346, not to user 12345") {
		t.Errorf("planted: %s", got)
	}
}

// TestNobody: where every user has a number, 65534 is a user like others.
func TestNobody(t *testing.T) {
	dir, binary := shared(t, 0)
	const nobody = 65534
	home := own(t, dir+"/home", nobody, 0o775) // writable by nobody's own group
	if got := findAs(t, binary, nobody, "HOME="+home, "TMPDIR="+home); !strings.HasPrefix(got, home) {
		t.Errorf("nobody: %s", got)
	}
	theirs := own(t, home+"/home", us, 0o755)
	if got := findAs(t, binary, us, "HOME="+theirs, "TMPDIR="+theirs); !strings.Contains(got, home+", which belongs to user 65534") {
		t.Errorf("below nobody's: %s", got)
	}
}
