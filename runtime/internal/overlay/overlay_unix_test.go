//go:build unix

package overlay

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bt "pyembed.invalid/runtime/internal/bundletest"
)

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// spec is a tree in a new directory.
func spec(t *testing.T) Spec {
	t.Helper()
	s := Spec{Tree: filepath.Join(t.TempDir(), "python-0123456789abcdef"), Line: "3.14", NoBytecode: true}
	bt.Write(t, s.Tree, bt.Files{
		"bin/python3.14":                       bt.Program("#!/bin/sh\necho \"$0 $*\"\n"),
		"bin/python3":                          bt.Link("python3.14"),
		"bin/pydoc3":                           bt.Program(""),
		"lib/python3.14/os.py":                 "",
		"lib/python3.14/encodings/__init__.py": "",
		"lib/python3.14/encodings/ascii.py":    "",
		"lib/python3.14/encodings/x.pyc":       "",
	})
	return s
}

// beside is the place beside the tree.
func beside(s Spec) Place {
	return func() (string, error) { return s.Tree + ".", nil }
}

// files is what an overlay of spec's tree has on disk.
func files(s Spec) bt.Files {
	paths := "boot\nlib/python3.14\nlib/python3.14/lib-dynload\nimport site\n"
	return bt.Files{
		"pyvenv.cfg":                               "home = " + s.Tree + "/bin\ninclude-system-site-packages = false\n",
		"bin/lib":                                  bt.Link(s.Tree + "/lib"),
		"bin/python3":                              bt.Link(s.Tree + "/bin/python3"),
		"bin/python3._pth":                         paths,
		"bin/python3.14":                           bt.Link(s.Tree + "/bin/python3.14"),
		"bin/python3.14._pth":                      paths,
		"bin/boot/encodings/__init__.py":           bt.Link(s.Tree + "/lib/python3.14/encodings/__init__.py"),
		"bin/boot/encodings/ascii.py":              bt.Link(s.Tree + "/lib/python3.14/encodings/ascii.py"),
		"bin/boot/encodings/__pycache__":           "",
		"lib/python3.14/site-packages":             bt.Dir{},
		"lib/python3.14/site-packages/pyembed.pth": startup(s, ""),
	}
}

// alone makes sure that only the tree and one overlay, without temporaries, are there.
func alone(t *testing.T, s Spec) {
	t.Helper()
	there, err := os.ReadDir(filepath.Dir(s.Tree))
	must(t, err)
	if len(there) != 2 || !strings.HasPrefix(there[1].Name(), filepath.Base(s.Tree)+".env-") {
		t.Errorf("there are %v", there)
	}
}

// TestEnsure: an overlay is made whole, and left alone when it is right.
func TestEnsure(t *testing.T) {
	s := spec(t)
	root, err := Ensure(s, []Place{beside(s)})
	must(t, err)
	bt.Same(t, root, files(s))
	alone(t, s)
	if Exe(root, "python3") != root+"/bin/python3" {
		t.Errorf("the interpreter is %s", Exe(root, "python3"))
	}
	before, err := os.Lstat(filepath.Join(root, "pyvenv.cfg"))
	must(t, err)
	again, err := Ensure(s, []Place{beside(s)})
	if err != nil || again != root {
		t.Errorf("%s %v, want %s", again, err, root)
	}
	after, err := os.Lstat(filepath.Join(root, "pyvenv.cfg"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("it was made anew: %v", err)
	}
}

// TestDamage: whatever is done to an overlay is put right, and what is right stays.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(root string) error{
		"file missing": func(r string) error { return os.Remove(r + "/pyvenv.cfg") },
		"file changed": func(r string) error {
			return os.WriteFile(r+"/bin/python3._pth", []byte("/evil\nimport site\n"), 0o644)
		},
		"file writable":   func(r string) error { return os.Chmod(r+"/pyvenv.cfg", 0o666) },
		"file for a link": func(r string) error { return relink(r+"/pyvenv.cfg", r+"/bin/python3._pth") },
		"link elsewhere":  func(r string) error { return relink("/evil", r+"/bin/lib") },
		"link missing":    func(r string) error { return os.Remove(r + "/bin/python3") },
		"directory for a link": func(r string) error {
			return errors.Join(os.Remove(r+"/bin/lib"), os.MkdirAll(r+"/bin/lib/python3.14", 0o755))
		},
		"directory missing": func(r string) error { return os.RemoveAll(r + "/lib/python3.14") },
		"directory writable": func(r string) error {
			return errors.Join(os.WriteFile(r+"/lib/python3.14/site-packages/evil.pth", nil, 0o644), os.Chmod(r+"/lib/python3.14/site-packages", 0o777))
		},
		"link for a directory": func(r string) error {
			return errors.Join(os.Rename(r+"/lib", r+"/lib2"), os.Symlink("lib2", r+"/lib"))
		},
		"extra file": func(r string) error {
			return os.WriteFile(r+"/lib/python3.14/site-packages/sitecustomize.py", nil, 0o644)
		},
		"extra directory": func(r string) error { return os.MkdirAll(r+"/bin/boot/json/deep", 0o755) },
		"writable":        func(r string) error { return os.Chmod(r, 0o777) },
		"a file":          func(r string) error { return errors.Join(os.RemoveAll(r), os.WriteFile(r, nil, 0o644)) },
		"a link": func(r string) error {
			return errors.Join(os.Rename(r, r+"x"), os.Symlink(r+"x", r))
		},
		"gone": func(r string) error { return os.RemoveAll(r) },
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t)
			root, err := Ensure(s, []Place{beside(s)})
			must(t, err)
			must(t, damage(root))
			if again, err := Ensure(s, []Place{beside(s)}); err != nil || again != root {
				t.Fatalf("%s %v, want %s", again, err, root)
			}
			os.RemoveAll(root + "x")
			bt.Same(t, root, files(s))
			alone(t, s)
			for _, dir := range []string{root, root + "/lib/python3.14/site-packages"} {
				if info, err := os.Lstat(dir); err != nil || info.Mode() != fs.ModeDir|0o755 {
					t.Errorf("%s: %v %v", dir, info.Mode(), err)
				}
			}
			if info, err := os.Lstat(root + "/pyvenv.cfg"); err != nil || info.Mode() != 0o644 {
				t.Errorf("mode %v %v", info.Mode(), err)
			}
		})
	}
}

// relink puts a link where something is.
func relink(target, at string) error {
	return errors.Join(os.Remove(at), os.Symlink(target, at))
}

// TestAtOnce: many that make, damage and sweep the same overlay at once get along.
func TestAtOnce(t *testing.T) {
	s := spec(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if i%4 == 0 { // a sweep takes our temporaries
				for _, tmp := range glob(s.Tree + ".tmp-*") {
					os.RemoveAll(tmp)
				}
			}
			root, err := Ensure(s, []Place{beside(s)})
			if err != nil {
				t.Error(err)
				return
			}
			if i%4 == 1 {
				os.WriteFile(filepath.Join(root, "lib", "python3.14", "site-packages", "evil.pth"), nil, 0o644)
			}
		}()
	}
	wg.Wait()
	root, err := Ensure(s, []Place{beside(s)})
	must(t, err)
	bt.Same(t, root, files(s))
	alone(t, s)
}

// glob is filepath.Glob of a pattern that is right.
func glob(pattern string) []string {
	names, _ := filepath.Glob(pattern)
	return names
}

// TestPlaces: the first place that will do is used, later ones are not even asked, and
// when none will do the error says why.
func TestPlaces(t *testing.T) {
	s := spec(t)
	blocked := func() (string, error) { return s.Tree + "/bin/python3.14/", nil } // below a file
	unknown := func() (string, error) { return "", errors.New("no such place") }
	never := func() (string, error) { t.Error("a place is asked in vain"); return "", nil }
	root, err := Ensure(s, []Place{blocked, unknown, beside(s), never})
	if err != nil || !strings.HasPrefix(root, s.Tree+".env-") {
		t.Errorf("%s %v", root, err)
	}
	_, err = Ensure(s, []Place{blocked, unknown})
	if err == nil || !strings.Contains(err.Error(), "not a directory") || !strings.Contains(err.Error(), "no such place") || !strings.Contains(err.Error(), s.Tree) {
		t.Errorf("error is %v", err)
	}
}

// TestForeign: what another user planted in a directory like /tmp is not used.
func TestForeign(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to own a directory as another user")
	}
	s := spec(t)
	root, err := Ensure(s, []Place{beside(s)})
	must(t, err)
	must(t, os.Chown(root, 12345, 12345))
	again, err := Ensure(s, []Place{beside(s)})
	must(t, err)
	info, err := os.Lstat(again)
	must(t, err)
	old, err := os.Lstat(filepath.Dir(s.Tree))
	must(t, err)
	if !sameOwner(info, old) {
		t.Error("another user's overlay is used")
	}
}

// TestTouch: an overlay in use says so once a day.
func TestTouch(t *testing.T) {
	dir := t.TempDir()
	now := time.Now().Truncate(time.Second)
	for _, c := range []struct{ was, want time.Duration }{
		{-time.Hour, -time.Hour}, {-25 * time.Hour, 0}, {25 * time.Hour, 0},
	} {
		must(t, os.Chtimes(dir, now, now.Add(c.was)))
		touch(dir, now)
		if info, err := os.Stat(dir); err != nil || !info.ModTime().Equal(now.Add(c.want)) {
			t.Errorf("off by %v: %v %v", c.was, info.ModTime().Sub(now), err)
		}
	}
}

// TestMissing: without an interpreter, its library or its line there is an error.
func TestMissing(t *testing.T) {
	s := spec(t)
	if _, err := Ensure(Spec{Tree: s.Tree}, []Place{beside(s)}); err == nil || !strings.Contains(err.Error(), "line") {
		t.Errorf("line: %v", err)
	}
	for _, name := range []string{"lib/python3.14/encodings", "bin", "lib/python3.14", "."} {
		must(t, os.RemoveAll(filepath.Join(s.Tree, name)))
		if _, err := Ensure(s, []Place{beside(s)}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLook: free-threaded builds have another name, and Windows' layout is looked for by
// its own.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	bt.Write(t, dir, bt.Files{
		"lib/python3.13t/lib-dynload": bt.Dir{}, "bin/python3": bt.Link("python3.13t"), "bin/python3.13t": bt.Program(""), "bin/pip": bt.Program(""),
	})
	unix, err := look("linux", Spec{Tree: dir, Line: "3.13", NoBytecode: true})
	if err != nil || unix.stdlib != "python3.13t" || strings.Join(unix.programs, " ") != "python3 python3.13t" || !unix.zipped || unix.encodings != nil {
		t.Errorf("%+v %v", unix, err)
	}
	dir = t.TempDir()
	bt.Write(t, dir, bt.Files{
		"Lib/os.py": "", "Lib/encodings/ascii.py": "", "python.exe": "", "python3.dll": "", "vcruntime140.dll": "", "LICENSE.txt": "", "x.dll/y": "",
	})
	windows, err := look("windows", Spec{Tree: dir, Line: "3.13", NoBytecode: true})
	if err != nil || strings.Join(windows.programs, " ") != "python.exe python3.dll vcruntime140.dll" || windows.zipped || strings.Join(windows.encodings, " ") != "ascii.py" {
		t.Errorf("%+v %v", windows, err)
	}
}

// TestHardLink: where there are no symbolic links, a hard link or a copy stands for one,
// and one with other content does not.
func TestHardLink(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(path("a"), []byte(strings.Repeat("a", 300<<10)), 0o755))
	must(t, os.WriteFile(path("changed"), []byte(strings.Repeat("a", 300<<10-1)+"b"), 0o755))
	must(t, os.WriteFile(path("short"), []byte("a"), 0o755))
	must(t, os.Symlink("a", path("link")))
	must(t, hardLink(path("a"), path("hard")))
	must(t, copyFile(path("a"), path("copy")))
	for name, want := range map[string]bool{"hard": true, "copy": true, "changed": false, "short": false, "link": false, "none": false} {
		if hardLinked(path("a"), path(name)) != want {
			t.Errorf("%s: not %v", name, want)
		}
	}
	if err := hardLink(path("none"), path("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no target: %v", err)
	}
	if err := hardLink(path("a"), path("hard")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("in the way: %v", err)
	}
}

// sameOwner reports whether two files belong to one user.
func sameOwner(a, b fs.FileInfo) bool {
	return a.Sys().(*syscall.Stat_t).Uid == b.Sys().(*syscall.Stat_t).Uid
}
