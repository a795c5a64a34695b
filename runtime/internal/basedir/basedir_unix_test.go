//go:build unix

package basedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
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
		{"named below a directory that all can write", func(d string) Candidate {
			chmod(Candidate{Path: d + "/a"}, 0o777)
			return Candidate{Path: d + "/a/b", Explicit: true}
		}, "", 0o755},
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

// TestTooLong: what was created is removed again if the rest can't be.
func TestTooLong(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", strings.Repeat("c", 300))
	if _, err := (Candidate{Path: path, Explicit: true}).Prepare(); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("error is %v", err)
	}
	if left := entries(t, dir); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}

// TestLinks: links of our own lead to the base, wherever they are in its path.
func TestLinks(t *testing.T) {
	dir := resolved(t, t.TempDir())
	must(t, os.MkdirAll(dir+"/home/real", 0o755))
	must(t, os.MkdirAll(dir+"/scratch/cache", 0o755))
	links := map[string]string{
		"absolute": dir + "/scratch/cache",
		"relative": "../scratch/./cache",
		"up":       "real/../../scratch/cache/",
		"twice":    "absolute",
		"root":     "/../" + dir + "/scratch/cache",
	}
	for name, target := range links {
		must(t, os.Symlink(target, filepath.Join(dir, "home", name)))
	}
	for name := range links {
		for _, c := range []Candidate{{}, {Explicit: true}, {Private: true}} {
			for _, state := range []string{"new", "existing"} {
				c.Path = filepath.Join(dir, "home", name, "pyembed")
				if path, err := c.Prepare(); err != nil || path != dir+"/scratch/cache/pyembed" {
					t.Errorf("%s %s: %s %v", state, name, path, err)
				}
			}
			must(t, os.Remove(dir+"/scratch/cache/pyembed"))
		}
	}
	must(t, os.Symlink("missing", dir+"/home/dangling"))
	must(t, os.Symlink("loop", dir+"/home/loop"))
	for name, want := range map[string]error{"dangling": syscall.ENOENT, "loop": syscall.ELOOP} {
		if _, err := (Candidate{Path: filepath.Join(dir, "home", name, "pyembed"), Explicit: true}).Prepare(); !errors.Is(err, want) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if left := entries(t, dir+"/home"); len(left) != 8 {
		t.Errorf("there is %v", left)
	}
}

// TestMadeMeanwhile: a directory that another process makes just then is judged like one
// that was there, and is not removed.
func TestMadeMeanwhile(t *testing.T) {
	dir := resolved(t, t.TempDir())
	info, err := lstat(dir)
	must(t, err)
	w := &walk{judge: thisUser(), dirs: []place{{dir, info}}, rest: []string{"a"}, named: 1}
	must(t, os.Mkdir(dir+"/a", 0o755))
	if err := w.create(dir + "/a"); err != nil || len(w.made) != 0 {
		t.Errorf("%v, made %v", err, w.made)
	}
}

// TestCheckOwn: a tree has to be a directory.
func TestCheckOwn(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/file", nil, 0o644))
	must(t, os.Symlink(dir, dir+"/link"))
	must(t, CheckOwn(dir, false))
	for name, want := range map[string]error{"file": syscall.ENOTDIR, "link": syscall.ENOTDIR, "none": syscall.ENOENT} {
		if err := CheckOwn(filepath.Join(dir, name), false); !errors.Is(err, want) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// TestEnvironment: what is odd in the environment leads to the next candidate, and its
// reason is clear.
func TestEnvironment(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the cache directory is another one")
	}
	dir := resolved(t, t.TempDir())
	for _, c := range []struct {
		home, xdg, tmp string
		want           string // path or part of the error
	}{
		{"", "", dir, dir + "/" + tempName()},
		{"", "", dir + "/", dir + "/" + tempName()},
		{"home", "", dir, dir + "/" + tempName()},
		{dir + "/missing", "", dir, dir + "/" + tempName()},
		{dir + "/missing", "", dir + "/gone", dir + "/missing: no such file or directory"},
		{dir + "/missing", "", dir + "/gone", dir + "/gone: no such file or directory"},
		{"", "cache", "tmp", "XDG_CACHE_HOME is relative"},
		{"home", "", "tmp", "tried home/.cache/pyembed (the path is relative); tmp/" + tempName() + " (the path is relative)"},
		{"", "", "tmp", "user cache directory (neither $XDG_CACHE_HOME nor $HOME"},
		{dir, "", "tmp", dir + "/.cache/pyembed"},
		{dir, dir + "/x/y", "tmp", dir + "/x/y/pyembed"},
		{"/nonexistent", dir + "/z/y", "tmp", dir + "/z/y/pyembed"},
	} {
		t.Setenv("HOME", c.home)
		t.Setenv("XDG_CACHE_HOME", c.xdg)
		t.Setenv("TMPDIR", c.tmp)
		t.Setenv(Env, "")
		got := find("")
		if got != c.want && (filepath.IsAbs(c.want) && !strings.Contains(c.want, ": ") || !strings.Contains(got, c.want)) {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if _, err := (Candidate{Path: "relative", Explicit: true}).Prepare(); !errors.Is(err, errRelative) {
		t.Errorf("relative: %v", err)
	}
}

// find is the first base that will do, or the text of the error.
func find(named string) string {
	var problems []error
	for _, c := range Candidates(named) {
		path, err := c.Prepare()
		if err == nil {
			return path
		}
		problems = append(problems, fmt.Errorf("%s (%w)", c.Path, err))
	}
	return Tried(problems).Error()
}

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// resolved is a path without links.
func resolved(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	must(t, err)
	return path
}

// entries are the names in a directory.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestTried: the error names everything that was tried and what to do.
func TestTried(t *testing.T) {
	err := Tried([]error{fmt.Errorf("/a (%w)", syscall.EROFS), fmt.Errorf("/b (%w)", fs.ErrExist)})
	for _, want := range []error{ErrNone, syscall.EROFS, fs.ErrExist} {
		if !errors.Is(err, want) {
			t.Errorf("it does not wrap %v", want)
		}
	}
	want := "no usable directory to extract to: tried /a (read-only file system); /b (file already exists); " +
		"WithCacheDir or $PYEMBED_CACHE_DIR names another"
	if err.Error() != want {
		t.Errorf("it says %s", err)
	}
}
