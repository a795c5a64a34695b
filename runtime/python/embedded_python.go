package python

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
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

	mu      sync.Mutex
	files   *tree.Tree            // nil after Cleanup
	scripts map[string]*tree.Tree // of ScriptContext, by identity
	known   map[fs.FS]*tree.Tree  // the same, by the file systems that can be a key
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
	return openWith(data.Data, config{name: "python"}, func(b *tree.Bundle, opt tree.Options) (*tree.Tree, error) {
		if withHashInDir {
			return store.OpenHashed(context.Background(), b, tmpDir, opt)
		}
		return store.OpenExact(context.Background(), b, tmpDir, opt)
	})
}

// CommandContext is a command that runs the interpreter with args and is killed, with
// what it started, when ctx is done before it ends. The error is about an interpreter
// that is gone, or an isolated environment that can't be made.
func (ep *EmbeddedPython) CommandContext(ctx context.Context, args ...string) (*exec.Cmd, error) {
	return ep.own.commandContext(ctx, nil, args)
}

// Cleanup removes the extracted Python, and what ScriptContext and ModuleContext
// extracted, unless another EmbeddedPython, here or in another process, uses it. From a
// directory that the caller named exactly, it removes only what belongs to Python.
// GetExtractedPath is empty afterwards.
func (ep *EmbeddedPython) Cleanup() error {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.files == nil {
		return nil
	}
	var problems []error
	for identity, t := range ep.scripts {
		gone, err := t.Remove()
		if gone {
			delete(ep.scripts, identity)
		}
		problems = append(problems, err)
	}
	gone, err := ep.files.Remove()
	problems = append(problems, err, ep.own.isolation.cleanup(ep.files.Path()))
	if gone && len(ep.scripts) == 0 {
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
