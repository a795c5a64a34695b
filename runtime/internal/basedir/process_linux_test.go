package basedir

import (
	"encoding/binary"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace is this process's command again, in a user namespace that maps nobody
// ("unmapped") or this user to root ("root").
func inNamespace(kind string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BASEDIR_TEST_NAMESPACE=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	switch kind {
	case "unmapped":
	case "root":
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	default:
		return nil
	}
	return cmd
}

// TestNamespace: in a user namespace, the user whom those without a number show owns
// nothing, but may own what is above a base, because root may be one of them.
func TestNamespace(t *testing.T) {
	for _, uid := range []int{0, us} {
		dir, program := shared(t, uid)
		home := own(t, dir+"/home", uid, 0o755)
		base := own(t, dir+"/base", uid, 0o755)
		theirs := own(t, dir+"/theirs", them, 0o755)
		inTheirs := own(t, theirs+"/home", uid, 0o755)
		sticky := own(t, dir+"/sticky", uid, 0o777|fs.ModeSticky)
		planted := own(t, sticky+"/planted", them, 0o755)
		inPlanted := own(t, planted+"/home", uid, 0o755)
		must(t, os.Symlink(base, sticky+"/link"))
		must(t, os.Lchown(sticky+"/link", them, them))
		const unmapped = "a user whom this user namespace does not map (65534)"
		for _, c := range []struct{ namespace, home, named, want string }{
			{"unmapped", home, "", home + "/.cache/pyembed lies below " + dir + ", which belongs to " + unmapped},
			{"unmapped", home, base, base + " belongs to " + unmapped},
			{"unmapped", home, base + "/new", base + "/new does not exist, and "},
			{"root", home, "", home + "/.cache/pyembed"},
			{"root", home, base, base},
			{"root", home, base + "/new", base + "/new"},
			{"root", home, theirs, theirs + " belongs to " + unmapped + ", not to user 0"},
			{"root", home, sticky + "/link", sticky + "/link is a link that belongs to " + unmapped},
			{"root", inPlanted, "", "lies below " + planted + ", which belongs to " + unmapped},
			{"root", inTheirs, "", map[bool]string{
				true:  inTheirs + "/.cache/pyembed", // "/" shows the overflow user
				false: "lies below " + theirs + ", which belongs to " + unmapped,
			}[uid != 0]},
		} {
			got := findAs(t, program, uint32(uid), "HOME="+c.home, "BASEDIR_TEST_NAMED="+c.named,
				"BASEDIR_TEST_NAMESPACE="+c.namespace, "TMPDIR="+dir+"/missing")
			if strings.HasPrefix(got, noNamespace) {
				t.Skipf("needs user namespaces: %s", got)
			}
			if found := strings.HasPrefix(c.want, "/") && !strings.Contains(c.want, " "); found && got != c.want || !strings.Contains(got, c.want) {
				t.Errorf("user %d, %+v: %s", uid, c, got)
			}
			if c.namespace == "unmapped" && len(entries(t, home))+len(entries(t, base)) != 0 {
				t.Errorf("user %d, %+v: there is %v and %v", uid, c, entries(t, home), entries(t, base))
			}
		}
	}
}

// TestNothingOfOurs: a user without a number creates nothing, because it would not own it.
func TestNothingOfOurs(t *testing.T) {
	needRoot(t) // so that what is above belongs to root
	dir := resolved(t, t.TempDir())
	for _, c := range []Candidate{{}, {Explicit: true}, {Private: true}} {
		c.Path = dir + "/base"
		_, err := c.prepareAs(judgeOf(t, 65534, &partial))
		if err == nil || !strings.HasPrefix(err.Error(), c.Path+" does not exist, and what is created would belong to a user whom") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if left := entries(t, dir); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}

// mount mounts a tmpfs on a new directory.
func mount(t *testing.T, flags uintptr, options string) string {
	t.Helper()
	needRoot(t)
	dir := resolved(t, t.TempDir())
	if err := syscall.Mount("pyembed-test", dir, "tmpfs", flags, options); err != nil {
		t.Skipf("needs to mount a file system: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// TestMounts: on a file system that is read-only or runs no programs nothing is created,
// and the next candidate is used.
func TestMounts(t *testing.T) {
	tmp := mount(t, 0, "mode=1777")
	t.Setenv("TMPDIR", tmp)
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv(Env, "")
	for flags, want := range map[uintptr]string{syscall.MS_NOEXEC: "noexec", syscall.MS_RDONLY: "read-only file system"} {
		home := mount(t, flags, "mode=755")
		t.Setenv("HOME", home)
		if got := find(""); got != tmp+"/pyembed-0" {
			t.Errorf("%s: %s", want, got)
		}
		if got := find(home + "/base"); !strings.Contains(got, want) {
			t.Errorf("%s, named: %s", want, got)
		}
		if left := entries(t, home); len(left) != 0 {
			t.Errorf("%s: there is %v", want, left)
		}
	}
	if got := find(mount(t, syscall.MS_NOEXEC, "mode=755")); !strings.Contains(got, "is mounted noexec") {
		t.Errorf("existing: %s", got)
	}
}

// acl is a POSIX ACL, as linux/posix_acl_xattr.h has it, by which a group and the user
// them may write.
func acl() []byte {
	const none = 1<<32 - 1
	text := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{0x01, 7, none}, {0x02, 7, them}, {0x04, 5, none}, {0x10, 7, none}, {0x20, 5, none}} {
		text = binary.LittleEndian.AppendUint16(text, e.tag)
		text = binary.LittleEndian.AppendUint16(text, e.perm)
		text = binary.LittleEndian.AppendUint32(text, e.id)
	}
	return text
}

// TestACL: an ACL that lets another user write shows as a group that may, and is seen
// through; a group that is the owner's alone may write.
func TestACL(t *testing.T) {
	needRoot(t)
	for name, dir := range map[string]string{"disk": resolved(t, t.TempDir()), "tmpfs": mount(t, 0, "mode=755")} {
		above := own(t, dir+"/above", 0, 0o775)
		base := own(t, above+"/base", 0, 0o775)
		for _, c := range []struct{ at, want string }{
			{"", ""},
			{base, base + " can be written by other users (mode 0775)"},
			{above, base + " lies below " + above + ", which other users can write (mode 0775)"},
		} {
			if c.at != "" {
				if err := unix.Lsetxattr(c.at, "system.posix_acl_access", acl(), 0); err != nil {
					t.Skipf("%s: needs ACLs: %v", name, err)
				}
			}
			if info, err := os.Stat(base); err != nil || info.Mode().Perm() != 0o775 {
				t.Fatalf("%v %v", info, err)
			}
			_, err := (Candidate{Path: base}).Prepare()
			if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
				t.Errorf("%s, ACL at %q: %v", name, c.at, err)
			}
			if c.at != "" {
				must(t, unix.Lremovexattr(c.at, "system.posix_acl_access"))
			}
		}
	}
}

// TestReadOverflow: what /proc says, and what is assumed where it does not.
func TestReadOverflow(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		number, mapping string
		want            overflow
	}{
		{"65534\n", "         0          0 4294967295\n", overflow{65534, true, true}},
		{"65533\n", "0 1000 1\n1 100000 65536\n", overflow{65533, true, true}},
		{"65534\n", "0 1000 1\n1 100000 65533\n", overflow{65534, false, true}},
		{"65534\n", "", overflow{65534, false, true}},
		{"65534\n", "what\n", overflow{65534, false, true}},
		{"65534\n", "-1 0 x\n", overflow{65534, false, true}},
		{"what", "0 0 4294967295", overflow{65534, true, true}},
		{"65534", "none", overflow{65534, false, false}},
		{"none", "none", overflow{65534, false, false}},
	} {
		paths := []string{filepath.Join(dir, "number"), filepath.Join(dir, "mapping")}
		for i, text := range []string{c.number, c.mapping} {
			os.Remove(paths[i])
			if text != "none" {
				must(t, os.WriteFile(paths[i], []byte(text), 0o644))
			}
		}
		if got := readOverflow(paths[0], paths[1]); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	if o := overflowGroup(); !o.known {
		t.Errorf("this system: %+v", o)
	}
}

// TestNetwork: neither a tmpfs nor a test's directory is on the network, and what can't
// be looked at might be.
func TestNetwork(t *testing.T) {
	dir := t.TempDir()
	if Network(dir) || Network(mount(t, 0, "mode=755")) {
		t.Error("a local file system is taken for another")
	}
	if !Network(dir + "/missing") {
		t.Error("a missing one is taken for local")
	}
}
