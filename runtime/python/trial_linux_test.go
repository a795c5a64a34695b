package python

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/internal/tree"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fakeTree is a tree with content as its interpreter.
func fakeTree(t testing.TB, root string, content []byte) string {
	t.Helper()
	check(t, os.MkdirAll(filepath.Join(root, exeDir), 0o755))
	// What forks in a test beside this one must not inherit the open file.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	check(t, os.WriteFile(filepath.Join(root, exeDir, exeName), content, 0o755))
	return root
}

// elfFile is a program of this machine that asks for another loader, if one is given.
func elfFile(t *testing.T, interpreter string) []byte {
	t.Helper()
	path, err := exec.LookPath("true")
	check(t, err)
	content, err := os.ReadFile(path)
	check(t, err)
	if interpreter != "" {
		old := loader(path)
		if old == "" || len(old) < len(interpreter) {
			t.Fatalf("%s has the loader %q, too short for %s", path, old, interpreter)
		}
		padded := append([]byte(interpreter), make([]byte, len(old)-len(interpreter))...)
		content = bytes.Replace(content, []byte(old), padded, 1)
	}
	return content
}

// TestTrial: each way to fail says what it is; what runs and what can't be judged passes.
func TestTrial(t *testing.T) {
	t.Setenv("PYTHONHOME", "/other")
	t.Setenv("PYTHONMALLOC", "nonsense")
	machine := elfFile(t, "")
	machine[18] ^= 0x55 // e_machine
	for _, c := range []struct {
		name    string
		content []byte
		want    error
		says    string
	}{
		{"runs", elfFile(t, ""), nil, ""},
		{"clean environment and no input", []byte("#!/bin/sh\nenv | grep PYTHON && exit 3\nread line && exit 4\n[ \"$*\" = -V ]"), nil, ""},
		{"musl", elfFile(t, "/lib/ld-musl-none.so.1"), ErrUnsupportedPlatform,
			"needs /lib/ld-musl-none.so.1, which this system does not have; it was built for musl"},
		{"glibc", elfFile(t, "/lib/ld-linux-none.so.2"), ErrUnsupportedPlatform,
			"needs /lib/ld-linux-none.so.2, which this system does not have; it was built for glibc"},
		{"loader is no loader", elfFile(t, "/usr/bin/ldd"), ErrUnsupportedPlatform, "built for another platform"},
		{"machine", machine, ErrUnsupportedPlatform, "built for another platform"},
		{"script", []byte("#! /nonexistent/sh -e\n"), ErrUnsupportedPlatform, "needs /nonexistent/sh, which"},
		{"exit", []byte("#!/bin/sh\necho first >&2\necho \"version GLIBC_9 not found\" >&2\nexit 1\n"), ErrUnsupportedPlatform,
			"-V: exit status 1: version GLIBC_9 not found"},
		{"silent", []byte("#!/bin/sh\necho out\nexit 2\n"), ErrUnsupportedPlatform, "-V: exit status 2: it says nothing"},
		{"illegal instruction", []byte("#!/bin/sh\nulimit -c 0\nkill -ILL $$\n"), ErrUnsupportedPlatform,
			"signal: illegal instruction (it was built for newer processors than this one)"},
		{"killed", []byte("#!/bin/sh\nkill -KILL $$\n"), nil, ""},
		{"interrupted", []byte("#!/bin/sh\nkill -INT $$\n"), nil, ""},
		{"library refused", []byte("#!/bin/sh\necho 'x: error while loading shared libraries: libpython3.so: " +
			"failed to map segment from shared object: Operation not permitted' >&2\nexit 127\n"), tree.ErrPlace, "failed to map"},
	} {
		err := trial(context.Background(), fakeTree(t, t.TempDir(), c.content))
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error is %v", c.name, err)
		}
	}
}

// TestTrialWithoutInterpreter: what is no Python is told so before it is in its place.
func TestTrialWithoutInterpreter(t *testing.T) {
	root := t.TempDir()
	exe := filepath.Join(root, exeDir, exeName)
	for _, make := range []func() error{
		func() error { return nil },
		func() error { return os.MkdirAll(exe, 0o755) },
		func() error { return errors.Join(os.Remove(exe), os.Symlink("nothing", exe)) },
	} {
		check(t, make())
		if err := trial(context.Background(), root); !errors.Is(err, ErrNoPython) {
			t.Errorf("error is %v", err)
		}
	}
}

// TestTrialNoexec: from a file system that runs no programs another place is tried.
func TestTrialNoexec(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("pyembed-test", dir, "tmpfs", syscall.MS_NOEXEC, "mode=755"); err != nil {
		t.Skipf("needs to mount a file system: %v", err)
	}
	defer func() { check(t, syscall.Unmount(dir, syscall.MNT_DETACH)) }()
	if err := trial(context.Background(), fakeTree(t, dir, elfFile(t, ""))); !errors.Is(err, tree.ErrPlace) {
		t.Errorf("error is %v", err)
	}
}

// TestOpenTries: an interpreter that does not run leaves no tree, and one that may not
// run in one place is tried in the next.
func TestOpenTries(t *testing.T) {
	tries := filepath.Join(t.TempDir(), "tries")
	t.Setenv("TRIES", tries)
	t.Setenv("PYEMBED_CACHE_DIR", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	open := func(end string, opts ...Option) error {
		script := "#!/bin/sh\necho tried >> \"$TRIES\"\n" + end
		ep, err := Open(context.Background(), os.DirFS(bt.Gzip(t, bt.Files{"bin/python3": bt.Program(script)})), opts...)
		if err == nil {
			check(t, ep.Cleanup())
		}
		return err
	}
	cache := filepath.Join(t.TempDir(), "cache")
	if err := open("echo too old >&2; exit 1", WithCacheDir(cache)); !errors.Is(err, ErrUnsupportedPlatform) ||
		errors.Is(err, ErrNoUsableDir) || !strings.Contains(err.Error(), "too old") {
		t.Errorf("an old system: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "*")); err != nil || len(left) != 0 {
		t.Errorf("there is %v %v", left, err)
	}
	check(t, os.Remove(tries))
	if err := open("echo a shared object: Permission denied >&2; exit 127"); !errors.Is(err, ErrNoUsableDir) {
		t.Errorf("refused everywhere: %v", err)
	}
	if got, err := os.ReadFile(tries); err != nil || string(got) != "tried\ntried\n" {
		t.Errorf("%q %v", got, err)
	}
	check(t, open("exit 0"))
}

// TestTrialTime: the caller's context is an error, the trial's own time is none.
func TestTrialTime(t *testing.T) {
	root := fakeTree(t, t.TempDir(), []byte("#!/bin/sh\nsleep 600 & wait\n"))
	check(t, trialWithin(context.Background(), root, 50*time.Millisecond))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := trial(ctx, root); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
}

// TestTrialBusy: it waits for whoever has the interpreter open for writing, but not
// for ever.
func TestTrialBusy(t *testing.T) {
	root := fakeTree(t, t.TempDir(), []byte("#!/bin/sh\nexit 3\n"))
	exe := filepath.Join(root, exeDir, exeName)
	f, err := os.OpenFile(exe, os.O_WRONLY, 0)
	check(t, err)
	if err := exec.Command(exe).Run(); !errors.Is(err, syscall.ETXTBSY) {
		t.Fatalf("started while it is open for writing: %v", err)
	}
	check(t, trial(context.Background(), root))
	time.AfterFunc(30*time.Millisecond, func() { f.Close() })
	if err := trial(context.Background(), root); !errors.Is(err, ErrUnsupportedPlatform) {
		t.Errorf("when it is closed: %v", err)
	}
}

// TestJudge: what the system says to a start.
func TestJudge(t *testing.T) {
	start := func(errno syscall.Errno) error { return &os.PathError{Op: "fork/exec", Path: "x", Err: errno} }
	exe := filepath.Join(fakeTree(t, t.TempDir(), []byte("no program")), exeDir, exeName)
	for _, c := range []struct {
		exe  string
		err  error
		want error
	}{
		{exe, start(syscall.EACCES), tree.ErrPlace},
		{exe, start(syscall.EPERM), tree.ErrPlace},
		{exe, start(syscall.ENOEXEC), ErrUnsupportedPlatform},
		{exe, start(syscall.ELIBBAD), ErrUnsupportedPlatform},
		{exe, start(syscall.ENOENT), ErrUnsupportedPlatform},
		{exe + "-removed", start(syscall.ENOENT), nil},
		{exe, start(syscall.EAGAIN), nil},
		{exe, start(syscall.ENOMEM), nil},
		{exe, exec.ErrWaitDelay, nil},
	} {
		if err := judge(c.exe, "", c.err); !errors.Is(err, c.want) || err != nil && !errors.Is(err, c.err) {
			t.Errorf("%v: %v, want %v", c.err, err, c.want)
		}
	}
}

// TestLoader: files that are cut short have none.
func TestLoader(t *testing.T) {
	whole := elfFile(t, "")
	for i, content := range [][]byte{nil, []byte("#!"), []byte("\x7fELF"), whole[:64], whole[:200]} {
		path := filepath.Join(t.TempDir(), "x")
		check(t, os.WriteFile(path, content, 0o644))
		if name := loader(path); name != "" {
			t.Errorf("%d: %q", i, name)
		}
	}
	if name := loader(filepath.Join(t.TempDir(), "none")); name != "" {
		t.Errorf("no file: %q", name)
	}
}

// TestLastLine: whatever a program writes fits into a line.
func TestLastLine(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "\n \n": "", "a": "a", "a\nb\r\n\n": "b", "\xff x": "? x", "a\n" + strings.Repeat("ä", 400): strings.Repeat("ä", 150) + "…",
	} {
		if got := lastLine([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// machinePython is a tree whose interpreter is the python3 of this machine.
func machinePython(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	check(t, err)
	root := t.TempDir()
	check(t, os.Mkdir(filepath.Join(root, exeDir), 0o755))
	check(t, os.Symlink(strings.TrimSpace(string(out)), filepath.Join(root, exeDir, exeName)))
	return root
}

// TestTrialOfPython: a real Python passes, in an environment that would stop it, too.
func TestTrialOfPython(t *testing.T) {
	root := machinePython(t)
	t.Setenv("PYTHONMALLOC", "nonsense")
	if err := exec.Command(filepath.Join(root, exeDir, exeName), "-V").Run(); err == nil {
		t.Error("PYTHONMALLOC does not matter")
	}
	check(t, trial(context.Background(), root))
}

// BenchmarkTrial is what a trial adds to a first start.
func BenchmarkTrial(b *testing.B) {
	root := machinePython(b)
	for b.Loop() {
		if err := trial(context.Background(), root); err != nil {
			b.Fatal(fmt.Errorf("trial: %w", err))
		}
	}
}
