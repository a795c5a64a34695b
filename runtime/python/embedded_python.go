package python

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os/exec"
	"slices"
	"sync"

	"pyembed.invalid/runtime/internal/store"
	"pyembed.invalid/runtime/internal/tree"
	"pyembed.invalid/runtime/python/internal/data"
)

// EmbeddedPython is a Python that was embedded in this program and is extracted. Its
// methods may be called by several goroutines.
type EmbeddedPython struct {
	Python

	own           *interpreter
	line          func() (string, error) // of the interpreter
	config        config
	scriptOptions tree.Options

	mu       sync.Mutex
	files    *tree.Tree            // nil after Cleanup
	packages []*tree.Tree          // of WithPackagesFS
	scripts  map[string]*tree.Tree // of ScriptContext, by identity
	known    map[fs.FS]*tree.Tree  // the same, by the file systems that can be a key
}

// NewEmbeddedPython opens the Python that this module itself carries, which a
// release of it does, with name in the name of the directory that it is extracted to.
func NewEmbeddedPython(name string) (*EmbeddedPython, error) {
	if data.Data == nil {
		return nil, errNoOwnPython()
	}
	return Open(context.Background(), data.Data, WithName("python-"+name))
}

// NewEmbeddedPythonWithTmpDir is NewEmbeddedPython in a directory of the caller's:
// <tmpDir>-<hash> or, without withHashInDir, exactly tmpDir. Other files that are in
// tmpDir stay; those with the name of one of Python's are replaced, see
// embed_util.NewEmbeddedFilesWithTmpDir.
func NewEmbeddedPythonWithTmpDir(tmpDir string, withHashInDir bool) (*EmbeddedPython, error) {
	if data.Data == nil {
		return nil, errNoOwnPython()
	}
	return openWith(context.Background(), data.Data, config{name: "python"}, func(b *tree.Bundle, opt tree.Options) (*tree.Tree, error) {
		if withHashInDir {
			return store.OpenHashed(context.Background(), b, tmpDir, opt)
		}
		return store.OpenExact(context.Background(), b, tmpDir, opt)
	})
}

// CommandContext is a command that runs the interpreter with args. When ctx is done before
// it ends, its process group is killed or, when this program runs on a terminal, it and
// its descendants, as it then shares the program's group. Its error is then that of
// exec.Cmd; ctx.Err tells why. A child of its own that left the group, as with
// start_new_session, lives on, and Wait waits for it if it holds a pipe: set WaitDelay.
//
// A signal to the program's own process group, as timeout(1) and service managers send,
// does not reach a command that has a group of its own: make ctx with
// signal.NotifyContext, so that the program ends its commands.
//
// The error is about an interpreter that is gone, or an isolated environment that can't
// be made.
func (ep *EmbeddedPython) CommandContext(ctx context.Context, args ...string) (*exec.Cmd, error) {
	return ep.own.commandContext(ctx, nil, args)
}

// Cleanup removes the extracted Python with everything that was put into it, and what
// WithPackagesFS, ScriptContext and ModuleContext of this value extracted. What another
// value, here or in another process, uses stays, and so does an interpreter that runs:
// end its commands first. That is no error, and Cleanup may be called again.
// GetExtractedPath is empty when Python is gone. From a directory that the caller named
// exactly, only what belongs to Python is removed.
func (ep *EmbeddedPython) Cleanup() error {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.files == nil {
		return nil
	}
	gone, err := ep.files.Remove()
	problems := []error{err, ep.own.isolation.cleanup(ep.files.Path())}
	remove := func(t *tree.Tree) bool {
		if !gone {
			// A Python that runs may be using them: that can't be told of them.
			t.Release()
			return false
		}
		goneToo, err := t.Remove()
		problems = append(problems, err)
		return goneToo
	}
	maps.DeleteFunc(ep.scripts, func(_ string, t *tree.Tree) bool { return remove(t) })
	ep.packages = slices.DeleteFunc(ep.packages, remove)
	if gone && len(ep.scripts)+len(ep.packages) == 0 {
		ep.files = nil
	}
	ep.known = nil
	return errors.Join(problems...)
}

// GetExtractedPath is the absolute path of the directory that Python is extracted to.
func (ep *EmbeddedPython) GetExtractedPath() string {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.files == nil {
		return ""
	}
	return ep.files.Path()
}
