package python_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/python"
)

// content is what a file holds.
func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// startup is the pyembed.pth of an isolated interpreter.
func startup(t *testing.T, ep *python.EmbeddedPython) string {
	t.Helper()
	exe, err := ep.GetExePath()
	must(t, err)
	return content(t, filepath.Join(filepath.Dir(exe), "..", "lib", "python3.14", "site-packages", "pyembed.pth"))
}

// TestIsolatedExe: who executes what GetExePath says is isolated, with the directories of
// that moment; it lies beside the tree and goes with it.
func TestIsolatedExe(t *testing.T) {
	packages := t.TempDir()
	ep := open(t, python.WithPackages(packages), python.WithPackages("."))
	exe, err := ep.GetExePath()
	must(t, err)
	root := filepath.Dir(filepath.Dir(exe))
	if !strings.HasPrefix(root, ep.GetExtractedPath()+".env-") || filepath.Base(exe) != ep.GetExeName() {
		t.Errorf("it is %s", exe)
	}
	if out, err := exec.Command(exe, "-c", "pass").Output(); err != nil || strings.TrimSpace(string(out)) != "-c pass" {
		t.Errorf("%q %v", out, err)
	}
	wd, err := os.Getwd()
	must(t, err)
	if text := startup(t, ep); !strings.Contains(text, packages) || !strings.Contains(text, wd) {
		t.Errorf("packages are not in %s", text)
	}
	ep.AddPythonPath("added")
	later, err := ep.GetExePath()
	if err != nil || later == exe {
		t.Errorf("after AddPythonPath it is %s %v", later, err)
	}
	if text := startup(t, ep); !strings.Contains(text, filepath.Join(wd, "added")) {
		t.Errorf("the added directory is not in %s", text)
	}
	must(t, ep.Cleanup())
	if left, err := filepath.Glob(root[:len(root)-16] + "*"); err != nil || left != nil {
		t.Errorf("left are %v %v", left, err)
	}
	if exe, err := ep.GetExePath(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Cleanup it is %s, %v", exe, err)
	}
}

// TestPackagesMissing: a directory of packages that is none is an error of Open.
func TestPackagesMissing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	for path, want := range map[string]string{filepath.Join(dir, "none"): "no such", file: "not a directory"} {
		_, err := python.Open(context.Background(), fake(t), python.WithCacheDir(filepath.Join(dir, "c")), python.WithPackages(path))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "WithPackages") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestIsolationWithoutLine: a bundle that does not tell its Python line can't be
// isolated, and the error of a command says so.
func TestIsolationWithoutLine(t *testing.T) {
	data := os.DirFS(bt.Gzip(t, bt.Files{"bin/python3": bt.Program("#!/bin/sh\n")}))
	ep, err := python.Open(context.Background(), data, python.WithCacheDir(filepath.Join(t.TempDir(), "c")), python.WithIsolation())
	must(t, err)
	if cmd, err := ep.CommandContext(context.Background()); err == nil || !strings.Contains(err.Error(), "line") {
		t.Errorf("%v %v", cmd, err)
	}
}

// TestVerifyVariable: $PYEMBED_VERIFY is the level if no option says one. What it can't be
// is an error, and nothing is extracted.
func TestVerifyVariable(t *testing.T) {
	const hashed = "x\nPYTHONDONTWRITEBYTECODE=1"
	for _, c := range []struct {
		value string
		opts  []python.Option
		want  string
	}{
		{"", nil, "x"},
		{"stat", nil, "x"},
		{"stamp", nil, "x"},
		{"hash", nil, hashed},
		{"hash", []python.Option{python.WithVerify(python.VerifyStat)}, "x"},
		{"stat", []python.Option{python.WithVerify(python.VerifyHash)}, hashed},
		{"bad", []python.Option{python.WithVerify(python.VerifyHash)}, hashed},
	} {
		t.Setenv("PYEMBED_VERIFY", c.value)
		if got := run(t, open(t, c.opts...)); got != c.want {
			t.Errorf("%q: %q, want %q", c.value, got, c.want)
		}
	}
	base := filepath.Join(t.TempDir(), "c")
	_, err := python.Open(context.Background(), fake(t), python.WithCacheDir(base))
	if err == nil || !strings.Contains(err.Error(), `$PYEMBED_VERIFY is "bad"`) {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Lstat(base); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is extracted: %v", err)
	}
}

// TestConcurrentIsolation: one isolated EmbeddedPython serves many goroutines, which make
// the same overlays.
func TestConcurrentIsolation(t *testing.T) {
	ep := open(t, python.WithIsolation())
	done := make(chan error)
	for i := range 8 {
		go func() {
			if i%4 == 0 {
				ep.AddPythonPath("/a")
			}
			cmd, err := ep.CommandContext(context.Background(), "x")
			if err == nil {
				err = cmd.Run()
			}
			done <- err
		}()
	}
	var errs []error
	for range 8 {
		errs = append(errs, <-done)
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		t.Error(errs[i])
	}
}

// TestProgress: the caller hears of every extraction, up to its end, and of no warm start.
func TestProgress(t *testing.T) {
	var calls, done, total int64
	progress := python.WithProgress(func(d, all int64) { calls, done, total = calls+1, d, all })
	base := python.WithCacheDir(filepath.Join(t.TempDir(), "c"))
	data := fake(t)
	for range 2 {
		_, err := python.Open(context.Background(), data, base, progress)
		must(t, err)
		if calls < 2 || done != total || total == 0 {
			t.Errorf("%d calls, the last with %d of %d", calls, done, total)
		}
		calls = min(calls, 2)
	}
	if calls != 2 {
		t.Error("a warm start has progress")
	}
}
