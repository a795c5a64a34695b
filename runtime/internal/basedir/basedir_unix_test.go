//go:build unix

package basedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestCandidates: the option comes before the variable, the variable before what is
// found, and a missing home directory is one problem, not the end.
func TestCandidates(t *testing.T) {
	paths := func(named string) string {
		var list []string
		for _, c := range Candidates(named) {
			list = append(list, c.Path)
			if c.Explicit != (len(Candidates(named)) == 1) {
				t.Errorf("%s: explicit is %v", c.Path, c.Explicit)
			}
		}
		return strings.Join(list, " ")
	}
	t.Setenv("TMPDIR", "/scratch")
	t.Setenv("HOME", "/home/me")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv(Env, "/from/env")
	if got := paths("/option"); got != "/option" {
		t.Errorf("option: %s", got)
	}
	if got := paths(""); got != "/from/env" {
		t.Errorf("variable: %s", got)
	}
	t.Setenv(Env, "")
	if got := paths(""); runtime.GOOS == "linux" && got != "/home/me/.cache/pyembed /scratch/"+tempName() {
		t.Errorf("found: %s", got)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got := paths("relative"); got != filepath.Join(wd, "relative") {
		t.Errorf("relative: %s", got)
	}
	t.Setenv("HOME", "")
	found := Candidates("")
	if _, err := found[0].Prepare(); err == nil || len(found) != 2 {
		t.Errorf("without a home: %v %v", found, err)
	}
}

// TestPrepare: which directories are trusted. Directories are made by make; only the
// ones that the caller names may be unusual.
func TestPrepare(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(dir string) Candidate
		want  string // part of the error, "" for none
		asked fs.FileMode
	}{
		{"created for others to read", func(d string) Candidate { return Candidate{Path: d + "/a/b", Explicit: true} }, "", 0o755},
		{"created for us alone", func(d string) Candidate { return Candidate{Path: d + "/a/b"} }, "", 0o700},
		{"created in a temporary directory", func(d string) Candidate { return Candidate{Path: d + "/a", Private: true} }, "", 0o700},
		{"temporary directory is missing", func(d string) Candidate { return Candidate{Path: d + "/no/a", Private: true} }, "no such", 0},
		{"link in a temporary directory", func(d string) Candidate {
			os.Mkdir(d+"/a", 0o700)
			os.Symlink("a", d+"/l")
			return Candidate{Path: d + "/l", Private: true}
		}, "not a directory", 0},
		{"link that the caller names", func(d string) Candidate {
			os.Mkdir(d+"/a", 0o755)
			os.Symlink("a", d+"/l")
			return Candidate{Path: d + "/l", Explicit: true}
		}, "", 0o755},
		{"file", func(d string) Candidate {
			os.WriteFile(d+"/a", nil, 0o644)
			return Candidate{Path: d + "/a", Explicit: true}
		}, "not a directory", 0},
		{"writable by all", func(d string) Candidate { return chmod(Candidate{Path: d + "/a", Explicit: true}, 0o777) }, "mode 0777", 0},
		{"writable by all, sticky", func(d string) Candidate {
			return chmod(Candidate{Path: d + "/a", Explicit: true}, 0o777|os.ModeSticky)
		}, "mode 0777", 0},
		{"writable by all, sticky, with a checked tree", func(d string) Candidate {
			return chmod(Candidate{Path: d + "/a", Explicit: true, Sticky: true}, 0o777|os.ModeSticky)
		}, "", 0o777 | os.ModeSticky},
		{"below a directory that all can write", func(d string) Candidate {
			chmod(Candidate{Path: d + "/a"}, 0o777)
			return Candidate{Path: d + "/a/b"}
		}, "lies below", 0},
		{"below a directory like /tmp", func(d string) Candidate {
			chmod(Candidate{Path: d + "/a"}, 0o777|os.ModeSticky)
			return Candidate{Path: d + "/a/b"}
		}, "", 0o700},
	} {
		t.Run(c.name, func(t *testing.T) {
			candidate := c.make(t.TempDir())
			path, err := candidate.Prepare()
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error is %v, want one with %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil || !info.IsDir() || info.Mode()&^fs.ModeDir != c.asked {
				t.Errorf("%v %v, want %v", info.Mode(), err, c.asked)
			}
		})
	}
}

// chmod makes a candidate's directory with a mode, whatever the umask.
func chmod(c Candidate, mode fs.FileMode) Candidate {
	os.Mkdir(c.Path, 0o755)
	os.Chmod(c.Path, mode)
	return c
}

// TestOwner: another user's directory is not used, and root does not work below one.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to own a directory as another user")
	}
	dir := t.TempDir()
	theirs := filepath.Join(dir, "theirs")
	chmod(Candidate{Path: theirs}, 0o755)
	if err := os.Chown(theirs, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := (Candidate{Path: theirs, Explicit: true}).Prepare(); err == nil || !strings.Contains(err.Error(), "user 12345") {
		t.Errorf("another user's: %v", err)
	}
	if _, err := (Candidate{Path: theirs + "/ours"}).Prepare(); err == nil || !strings.Contains(err.Error(), "user 12345") {
		t.Errorf("below another user's: %v", err)
	}
	if _, err := (Candidate{Path: theirs + "/ours", Explicit: true}).Prepare(); err != nil {
		t.Errorf("below another user's, but named: %v", err)
	}
}

// TestTried: the error names everything that was tried and what to do.
func TestTried(t *testing.T) {
	err := Tried([]error{errors.New("/a (noexec)"), errors.New("/b (not ours)")})
	if !errors.Is(err, ErrNone) {
		t.Error("it does not wrap ErrNone")
	}
	for _, part := range []string{"/a (noexec)", "/b (not ours)", "WithCacheDir", Env} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}
