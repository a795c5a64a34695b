package python

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"strings"

	"pyembed.invalid/runtime/internal/store"
	"pyembed.invalid/runtime/internal/tree"
)

// ScriptContext is CommandContext for a script of fsys, which is the caller's embed.FS
// or any other file system, a bundle or plain files. It is extracted like the
// interpreter, to the same cache directory, and stays until Cleanup. What is in it when
// it is first used counts: a file system that changes must not be given again.
//
// script is a name relative to the root of fsys, such as "app/main.py" after
// "//go:embed app"; fs.Sub makes app the root. The directory of the script and fsys
// itself come first in where modules are looked for, before those of AddPythonPath, and
// an isolated interpreter finds them too.
func (ep *EmbeddedPython) ScriptContext(ctx context.Context, fsys fs.FS, script string, args ...string) (*exec.Cmd, error) {
	name, err := filepath.Localize(script)
	if err != nil || script == "." {
		return nil, fmt.Errorf("script %q: %w", script, fs.ErrInvalid)
	}
	root, err := ep.extractScripts(ctx, fsys)
	if err != nil {
		return nil, fmt.Errorf("script %s: %w", script, err)
	}
	file := filepath.Join(root, name)
	if err := checkFile(file); err != nil {
		return nil, fmt.Errorf("script %s is not in the file system, to whose root names are relative: %w", script, err)
	}
	dirs := []string{root}
	if dir := filepath.Dir(file); dir != root && (ep.own.isolation != nil || os.Getenv("PYTHONSAFEPATH") != "") {
		dirs = []string{dir, root} // else Python looks there by itself
	}
	return ep.own.commandContext(ctx, dirs, append([]string{file}, args...))
}

// ModuleContext is ScriptContext for python -m: module is the dotted name of a module in
// fsys, or of a package with a __main__.py; modules are looked for in the root of fsys,
// not in the directories below it. The current directory is not looked in,
// except by Python 3.10, where python -m always does.
func (ep *EmbeddedPython) ModuleContext(ctx context.Context, fsys fs.FS, module string, args ...string) (*exec.Cmd, error) {
	name := strings.ReplaceAll(module, ".", "/")
	local, err := filepath.Localize(name)
	if err != nil || strings.ContainsAny(module, `/\`) {
		return nil, fmt.Errorf("module %q: %w", module, fs.ErrInvalid)
	}
	root, err := ep.extractScripts(ctx, fsys)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", module, err)
	}
	file := filepath.Join(root, local)
	if checkFile(filepath.Join(file, "__main__.py")) != nil {
		if err := checkFile(file + ".py"); err != nil {
			return nil, fmt.Errorf("module %s: neither %s nor %s is in the file system: %w",
				module, path.Join(name, "__main__.py"), name+".py", err)
		}
	}
	line, err := ep.line()
	if err != nil {
		return nil, err
	}
	flags := []string{"-m", module}
	if ep.own.isolation == nil && hasSafePath(line) {
		flags = []string{"-P", "-m", module}
	}
	return ep.own.commandContext(ctx, []string{root}, append(flags, args...))
}

// extractScripts makes sure that fsys is extracted, and returns the directory.
func (ep *EmbeddedPython) extractScripts(ctx context.Context, fsys fs.FS) (string, error) {
	t, err := ep.scriptTree(ctx, fsys)
	if err != nil {
		return "", err
	}
	if ep.own.isolation == nil {
		return t.Path(), checkListed(t.Path())
	}
	return t.Path(), nil
}

// maxKnown bounds how many file systems are remembered.
const maxKnown = 64

// scriptTree is the tree of fsys, from the first time that it, or one with the same
// content, was used.
func (ep *EmbeddedPython) scriptTree(ctx context.Context, fsys fs.FS) (*tree.Tree, error) {
	if fsys == nil {
		return nil, fmt.Errorf("%w: no files are given", fs.ErrInvalid)
	}
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.files == nil {
		return nil, fmt.Errorf("after Cleanup: %w", fs.ErrClosed)
	}
	isKey := reflect.ValueOf(fsys).Comparable()
	if isKey {
		if t := ep.known[fsys]; t != nil {
			return t, nil
		}
	}
	b, err := tree.NewBundle(fsys)
	if err != nil {
		return nil, err
	}
	t := ep.scripts[b.Identity]
	if t == nil {
		t, err = store.OpenNamed(ctx, b, ep.config.cacheDir, ep.config.name+"-scripts", ep.scriptOptions)
		if err != nil {
			return nil, err
		}
		if ep.scripts == nil {
			ep.scripts, ep.known = make(map[string]*tree.Tree), make(map[fs.FS]*tree.Tree)
		}
		ep.scripts[b.Identity] = t
	}
	if isKey {
		if len(ep.known) >= maxKnown {
			clear(ep.known) // of fs.Sub, which is another each time
		}
		ep.known[fsys] = t
	}
	return t, nil
}

// checkFile fails unless there is a regular file.
func checkFile(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", name)
	}
	return nil
}
