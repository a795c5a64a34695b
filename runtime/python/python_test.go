package python_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/python"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestMain takes the variables of the machine away, which commands would inherit, and
// has examples extract to a directory of their own.
func TestMain(m *testing.M) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PYTHON") || strings.HasPrefix(name, "PYEMBED_") {
			os.Unsetenv(name)
		}
	}
	base, err := os.MkdirTemp("", "pyembed-test-")
	if err != nil {
		panic(err)
	}
	os.Setenv("PYEMBED_CACHE_DIR", base)
	code := m.Run()
	os.RemoveAll(base)
	os.Exit(code)
}

// fake is a bundle whose interpreter is a script that prints its arguments and the
// Python variables of its environment.
func fake(t *testing.T) fs.FS {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake interpreter is a shell script")
	}
	return os.DirFS(bt.Gzip(t, bt.Files{
		"bin/python3.14":                       bt.Program("#!/bin/sh\necho \"$*\"\nenv | grep -E '^(PYTHON|__PYVENV)' | sort\n"),
		"bin/python3":                          bt.Link("python3.14"),
		"lib/python3.14/os.py":                 "import sys\n",
		"lib/python3.14/encodings/__init__.py": "import codecs\n",
	}))
}

// open opens the fake.
func open(t *testing.T, opts ...python.Option) *python.EmbeddedPython {
	t.Helper()
	base := filepath.Join(t.TempDir(), "cache")
	ep, err := python.Open(context.Background(), fake(t), append([]python.Option{python.WithCacheDir(base)}, opts...)...)
	must(t, err)
	return ep
}

// run runs the fake with the argument x and gives what it prints.
func run(t *testing.T, p python.Python) string {
	t.Helper()
	cmd, err := p.PythonCmd("x")
	must(t, err)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestCommands: the interpreter is the extracted one, by every way to a command.
func TestCommands(t *testing.T) {
	ep := open(t, python.WithName("my name"))
	exe, err := ep.GetExePath()
	if want := filepath.Join(ep.GetExtractedPath(), "bin", "python3"); err != nil || exe != want {
		t.Errorf("%s %v, want %s", exe, err, want)
	}
	if !strings.Contains(exe, "/my_name-") {
		t.Errorf("%s has not the name", exe)
	}
	one, err := ep.PythonCmd("-c", "pass")
	must(t, err)
	two, err := ep.PythonCmd2([]string{"-c", "pass"})
	must(t, err)
	three, err := ep.CommandContext(context.Background(), "-c", "pass")
	must(t, err)
	for _, cmd := range []interface{ Output() ([]byte, error) }{one, two, three} {
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != "-c pass" {
			t.Errorf("%q %v", out, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	late, err := ep.CommandContext(ctx, "-c", "pass")
	must(t, err)
	if err := late.Run(); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
}

// TestEnvironment: what leads an interpreter astray is dropped, each variable is there
// once, and isolation drops the rest.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"PYTHONHOME": "/other", "PYTHONPLATLIBDIR": "lib64", "PYTHONEXECUTABLE": "/other/python", "__PYVENV_LAUNCHER__": "/other/python",
		"PYTHONPATH": "/inherited", "PYTHONUTF8": "1",
	} {
		t.Setenv(name, value)
	}
	for _, c := range []struct {
		name string
		opts []python.Option
		path []string
		want string
	}{
		{"plain", nil, nil, "x|PYTHONPATH=/inherited|PYTHONUTF8=1"},
		{"path", nil, []string{"/a", "/b"}, "x|PYTHONPATH=/a:/b:/inherited|PYTHONUTF8=1"},
		{"hash", []python.Option{python.WithVerify(python.VerifyHash)}, nil,
			"x|PYTHONDONTWRITEBYTECODE=1|PYTHONPATH=/inherited|PYTHONUTF8=1"},
		{"isolated", []python.Option{python.WithIsolation()}, nil, "x"},
		{"isolated, hash", []python.Option{python.WithIsolation(), python.WithVerify(python.VerifyHash)}, nil, "-B x"},
		{"isolated, path", []python.Option{python.WithIsolation()}, []string{"/a"}, "x"},
		{"packages", []python.Option{python.WithPackages("/")}, nil, "x"},
	} {
		ep := open(t, c.opts...)
		for _, p := range c.path {
			ep.AddPythonPath(p)
		}
		if got := strings.ReplaceAll(run(t, ep), "\n", "|"); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestLongName: a name that no file system takes is cut.
func TestLongName(t *testing.T) {
	dir := filepath.Base(open(t, python.WithName(strings.Repeat("n", 300))).GetExtractedPath())
	if name, hash, _ := strings.Cut(dir, "-"); name != strings.Repeat("n", 100) || len(hash) != 16 {
		t.Errorf("it is in %s", dir)
	}
}

// TestForeignHome: a Python that we did not extract gets its home as a variable.
func TestForeignHome(t *testing.T) {
	t.Setenv("PYTHONHOME", "/other")
	home := open(t).GetExtractedPath()
	p := python.NewPython(python.WithPythonHome(home))
	p.AddPythonPath("/a")
	if got, want := run(t, p), "x\nPYTHONHOME="+home+"\nPYTHONPATH=/a"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPythonInPath: without a home it is the one in $PATH, or an error.
func TestPythonInPath(t *testing.T) {
	home := open(t).GetExtractedPath()
	t.Setenv("PATH", filepath.Join(home, "bin")+":"+os.Getenv("PATH"))
	p := python.NewPython()
	if exe, err := p.GetExePath(); err != nil || exe != filepath.Join(home, "bin", p.GetExeName()) {
		t.Errorf("%s %v", exe, err)
	}
	t.Setenv("PATH", t.TempDir())
	if cmd, err := p.PythonCmd("x"); err == nil {
		t.Errorf("there is a command: %v", cmd)
	}
}

// TestUnsupported: without data the error says what to generate.
func TestUnsupported(t *testing.T) {
	_, err := python.Open(context.Background(), nil)
	platform := runtime.GOOS + "/" + runtime.GOARCH
	want := "no Python is embedded for " + platform + "; generate it with: pyembed-gen --only-platforms " + platform
	if !errors.Is(err, python.ErrUnsupportedPlatform) || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v", err)
	}
	if _, err := python.NewEmbeddedPython("x"); !errors.Is(err, python.ErrUnsupportedPlatform) {
		t.Errorf("NewEmbeddedPython: %v", err)
	}
	if _, err := python.NewEmbeddedPythonWithTmpDir(t.TempDir(), false); !errors.Is(err, python.ErrUnsupportedPlatform) {
		t.Errorf("NewEmbeddedPythonWithTmpDir: %v", err)
	}
}

// TestBadBundle: errors about a bundle can be told from each other.
func TestBadBundle(t *testing.T) {
	base := python.WithCacheDir(filepath.Join(t.TempDir(), "cache"))
	bundle := bt.Gzip(t, bt.Files{"a": strings.Repeat("a", 100)})
	must(t, os.Remove(filepath.Join(bundle, "a.gz")))
	if _, err := python.Open(context.Background(), os.DirFS(bundle), base); !errors.Is(err, python.ErrCorruptBundle) {
		t.Errorf("payload: %v", err)
	}
	bad := fstest.MapFS{"files.json": {Data: []byte(`{"version": 3}`)}}
	if _, err := python.Open(context.Background(), bad, base); !errors.Is(err, python.ErrUnsupportedFormat) {
		t.Errorf("manifest: %v", err)
	}
	if _, err := python.Open(context.Background(), fake(t), base, python.WithVerify(7)); err == nil {
		t.Error("level 7 is accepted")
	}
}

// TestPythonLine: an upgrade to another line is an error, however the bundle tells it.
func TestPythonLine(t *testing.T) {
	origin := func(version string) fs.FS {
		b := bt.Gzip(t, bt.Files{"lib/python3.9/os.py": "x"})
		bt.Edit(t, b, func(m *manifest.Manifest) { m.Origin = &manifest.Origin{Python: version} })
		return os.DirFS(b)
	}
	legacy := bt.Gzip(t, bt.Files{"lib/python3.13t/os.py": "x"})
	bt.Legacy(t, legacy)
	for _, c := range []struct {
		data fs.FS
		want string
		ok   bool
	}{
		{origin("3.14.9"), "3.14", true},
		{origin("3.14.9"), "3.1", false},
		{origin("3.14.9"), "3.13", false},
		{origin("3.14.9"), "3.14.9", false},
		{origin("3.14.9"), "", false},
		{origin("3.15.0rc1"), "3.15", true},
		{origin(""), "3.9", true},
		{os.DirFS(legacy), "3.13", true},
		{os.DirFS(legacy), "3.14", false},
		{fstest.MapFS{"python3.dll": {}, "Python313.dll": {}}, "3.13", true},
		{fstest.MapFS{"python3.dll": {}}, "3.13", false},
	} {
		_, err := python.Open(context.Background(), c.data, python.WithCacheDir(filepath.Join(t.TempDir(), "c")), python.WithPythonLine(c.want))
		// These bundles have no interpreter, which is found out later.
		if c.ok && !errors.Is(err, python.ErrNoPython) || !c.ok && !errors.Is(err, python.ErrPythonLine) {
			t.Errorf("line %q: %v", c.want, err)
		}
	}
}

// TestSilence: nothing is written to the default logger; the caller's hears what
// happens.
func TestSilence(t *testing.T) {
	var theirs, ours bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&ours, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(old)
	logger := slog.New(slog.NewTextHandler(&theirs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ep := open(t, python.WithLogger(logger))
	if ours.Len() > 0 {
		t.Errorf("the default logger has %s", ours.String())
	}
	if !strings.Contains(theirs.String(), ep.GetExtractedPath()) {
		t.Errorf("the caller's logger has %s", theirs.String())
	}
}

// TestCleanup: afterwards there is no path and no command.
func TestCleanup(t *testing.T) {
	ep := open(t)
	dir := ep.GetExtractedPath()
	must(t, ep.Cleanup())
	must(t, ep.Cleanup())
	if _, err := os.Lstat(dir); err == nil || ep.GetExtractedPath() != "" {
		t.Errorf("it is still there: %v %q", err, ep.GetExtractedPath())
	}
	if _, err := ep.PythonCmd("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a command: %v", err)
	}
}

// TestConcurrentUse: one EmbeddedPython serves many goroutines.
func TestConcurrentUse(t *testing.T) {
	ep := open(t)
	done := make(chan error)
	for range 8 {
		go func() {
			ep.AddPythonPath("/a")
			cmd, err := ep.CommandContext(context.Background(), "x")
			if err == nil {
				err = cmd.Run()
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestOtherBundle: a bundle of packages is not taken for Python, and leaves nothing.
func TestOtherBundle(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "c")
	data := os.DirFS(bt.Gzip(t, bt.Files{"jinja2/__init__.py": "x"}))
	_, err := python.Open(context.Background(), data, python.WithCacheDir(cache))
	if !errors.Is(err, python.ErrNoPython) || !strings.Contains(err.Error(), "pyembed-gen") {
		t.Errorf("error is %v", err)
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) != 0 {
		t.Errorf("there is %v, %v", left, err)
	}
}

// TestPackagesFS: bundles of packages are extracted beside the interpreter, and go with it.
func TestPackagesFS(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "c")
	libs := os.DirFS(bt.Gzip(t, bt.Files{"a.py": "x"}))
	ep, err := python.Open(context.Background(), fake(t), python.WithCacheDir(cache), python.WithPackagesFS(libs))
	must(t, err)
	if found, err := filepath.Glob(filepath.Join(cache, "python-packages-*", "a.py")); err != nil || len(found) != 1 {
		t.Errorf("there is %v, %v", found, err)
	}
	_, err = ep.CommandContext(context.Background(), "x")
	must(t, err)
	must(t, ep.Cleanup())
	if left, err := os.ReadDir(cache); err != nil || len(left) != 0 {
		t.Errorf("there is %v, %v", left, err)
	}
	if _, err := python.Open(context.Background(), fake(t), python.WithCacheDir(cache), python.WithPackagesFS(libs, nil)); !errors.Is(err, python.ErrUnsupportedPlatform) {
		t.Errorf("nil: %v", err)
	}
	if _, err := python.Open(context.Background(), fake(t), python.WithCacheDir(cache), python.WithPackages("")); err == nil {
		t.Error("a directory without a name is accepted")
	}
	removed, err := python.Prune(context.Background(), 0, python.WithCacheDir(cache))
	must(t, err)
	if len(removed) != 2 {
		t.Errorf("what failed to open is still held: removed %v", removed)
	}
}

// TestLevelNames: levels print as their users write them.
func TestLevelNames(t *testing.T) {
	if got := fmt.Sprint(python.VerifyStat, python.VerifyStamp, python.VerifyHash, python.VerifyLevel(7)); got != "stat stamp hash 7" {
		t.Error(got)
	}
}
