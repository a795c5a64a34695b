package python_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/python"
)

// scripts are files of a caller's.
func scripts() fstest.MapFS {
	return fstest.MapFS{
		"main.py":             {Data: []byte("import sys\n")},
		"app/tool.py":         {Data: []byte("import sys\n")},
		"app/sub/__main__.py": {Data: []byte("import sys\n")},
	}
}

// counting counts how often files of a file system are opened.
type counting struct {
	fs.FS
	opened *atomic.Int64
}

func (c counting) Open(name string) (fs.File, error) {
	c.opened.Add(1)
	return c.FS.Open(name)
}

// says runs a command of the fake and gives what it prints.
func says(t *testing.T, cmd interface{ CombinedOutput() ([]byte, error) }, err error) string {
	t.Helper()
	must(t, err)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestScript: a script runs from where its files are extracted to, which comes first in
// PYTHONPATH, and stays there while somebody needs it.
func TestScript(t *testing.T) {
	t.Setenv("PYTHONPATH", "/inherited")
	ctx := context.Background()
	ep := open(t)
	ep.AddPythonPath("/added")
	cmd, err := ep.ScriptContext(ctx, scripts(), "app/tool.py", "-a", "b")
	out := says(t, cmd, err)
	script, rest, _ := strings.Cut(out, " ")
	root := filepath.Dir(filepath.Dir(script))
	if want := "-a b\nPYTHONPATH=" + root + ":/added:/inherited"; rest != want {
		t.Errorf("%q, want %q", rest, want)
	}
	if want := filepath.Dir(ep.GetExtractedPath()) + "/python-scripts-"; !strings.HasPrefix(root, want) {
		t.Errorf("it is in %s", root)
	}
	if content(t, script) != "import sys\n" {
		t.Error("the script is another one")
	}
	again, err := ep.ScriptContext(ctx, scripts(), "main.py")
	if got := says(t, again, err); !strings.HasPrefix(got, filepath.Join(root, "main.py")) {
		t.Errorf("the same files are in %s", got)
	}
	must(t, ep.Cleanup())
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it stays: %v", err)
	}
	if cmd, err := ep.ScriptContext(ctx, scripts(), "main.py"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Cleanup: %v %v", cmd, err)
	}
}

// TestModule: a module is run by its name, from a bundle too, and without the current
// directory where Python knows how.
func TestModule(t *testing.T) {
	ctx := context.Background()
	bundle := os.DirFS(bt.Gzip(t, bt.Files{"app/tool.py": strings.Repeat("import sys\n", 100)}))
	ep := open(t)
	for module, fsys := range map[string]fs.FS{"app.tool": bundle, "app.sub": scripts(), "app.sub.__main__": scripts(), "main": scripts()} {
		cmd, err := ep.ModuleContext(ctx, fsys, module, "x")
		if got := says(t, cmd, err); !strings.HasPrefix(got, "-P -m "+module+" x\nPYTHONPATH=") {
			t.Errorf("%s: %q", module, got)
		}
	}
	b := bt.Gzip(t, bt.Files{"bin/python3": bt.Program("#!/bin/sh\necho \"$*\"\n"), "lib/python3.10/os.py": ""})
	bt.Edit(t, b, func(m *manifest.Manifest) { m.Origin = &manifest.Origin{Python: "3.10.20"} })
	old, err := python.Open(ctx, os.DirFS(b), python.WithCacheDir(filepath.Join(t.TempDir(), "c")))
	must(t, err)
	cmd, err := old.ModuleContext(ctx, scripts(), "main")
	if got := says(t, cmd, err); got != "-m main" {
		t.Errorf("3.10: %q", got)
	}
}

// TestIsolatedScript: an isolated interpreter has the directories without a variable,
// the script's own first.
func TestIsolatedScript(t *testing.T) {
	ctx := context.Background()
	ep := open(t, python.WithIsolation())
	ep.AddPythonPath("/added")
	for asked, want := range map[string]string{"main.py": "[b'ROOT', b'/added']", "app/tool.py": "[b'ROOT/app', b'ROOT', b'/added']"} {
		cmd, err := ep.ScriptContext(ctx, scripts(), asked)
		got := says(t, cmd, err)
		root := strings.TrimSuffix(got, "/"+asked)
		pth := content(t, filepath.Join(filepath.Dir(cmd.Path), "..", "lib", "python3.14", "site-packages", "pyembed.pth"))
		want = strings.ReplaceAll(strings.ReplaceAll(want, "ROOT", root), "'", `\x27`)
		if !strings.Contains(pth, want) {
			t.Errorf("%s: %s is not in %s", asked, want, pth)
		}
	}
	cmd, err := ep.ModuleContext(ctx, scripts(), "app.sub")
	if got := says(t, cmd, err); got != "-m app.sub" {
		t.Errorf("module: %q", got)
	}
}

// TestScriptNames: a name leads nowhere else, and what is not there is an error that says
// its name.
func TestScriptNames(t *testing.T) {
	ctx := context.Background()
	ep := open(t)
	for _, name := range []string{"", ".", "/etc/passwd", "../main.py", "app/../main.py", "app//tool.py", "app/"} {
		if cmd, err := ep.ScriptContext(ctx, scripts(), name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("script %q: %v %v", name, cmd, err)
		}
	}
	for _, name := range []string{"", ".", "main.", ".main", "app..tool", "app/tool", `app\tool`, "a\x00b"} {
		if cmd, err := ep.ModuleContext(ctx, scripts(), name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("module %q: %v %v", name, cmd, err)
		}
	}
	for _, name := range []string{"none.py", "app"} {
		if cmd, err := ep.ScriptContext(ctx, scripts(), name); err == nil || !strings.Contains(err.Error(), "script "+name) {
			t.Errorf("script %q: %v %v", name, cmd, err)
		}
	}
	for _, name := range []string{"none", "app", "json", "main.py", "-c"} {
		if cmd, err := ep.ModuleContext(ctx, scripts(), name); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "module "+name) {
			t.Errorf("module %q: %v %v", name, cmd, err)
		}
	}
	if cmd, err := ep.ScriptContext(ctx, nil, "main.py"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no files: %v %v", cmd, err)
	}
	bad := fstest.MapFS{"files.json": {Data: []byte(`{"version": 3}`)}}
	if cmd, err := ep.ModuleContext(ctx, bad, "main"); !errors.Is(err, python.ErrUnsupportedFormat) {
		t.Errorf("bad bundle: %v %v", cmd, err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	other := fstest.MapFS{"other.py": {Data: []byte("pass\n")}}
	if cmd, err := ep.ScriptContext(done, other, "other.py"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v %v", cmd, err)
	}
}

// TestScriptAgain: files are read once.
func TestScriptAgain(t *testing.T) {
	ep := open(t)
	files := counting{scripts(), new(atomic.Int64)}
	pointer := &files // what holds a map can't be compared, a pointer to it can
	_, err := ep.ScriptContext(context.Background(), pointer, "main.py")
	must(t, err)
	first := files.opened.Load()
	_, err = ep.ModuleContext(context.Background(), pointer, "main")
	must(t, err)
	if again := files.opened.Load(); first == 0 || again != first {
		t.Errorf("files were opened %d times, and then %d", first, again)
	}
}

// TestScriptInList: a cache directory that PYTHONPATH can't name is an error, and isolation
// the way out.
func TestScriptInList(t *testing.T) {
	base := python.WithCacheDir(filepath.Join(t.TempDir(), "a:b"))
	ep := open(t, base)
	if cmd, err := ep.ScriptContext(context.Background(), scripts(), "main.py"); err == nil || !strings.Contains(err.Error(), "WithIsolation") {
		t.Errorf("%v %v", cmd, err)
	}
	isolated := open(t, base, python.WithIsolation())
	cmd, err := isolated.ScriptContext(context.Background(), scripts(), "main.py")
	says(t, cmd, err)
}
