package python

import (
	"context"
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

	own *interpreter

	mu    sync.Mutex
	files *tree.Tree // nil after Cleanup
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
	return openWith(data.Data, config{}, func(b *tree.Bundle) (*tree.Tree, error) {
		if withHashInDir {
			return store.OpenHashed(context.Background(), b, tmpDir, tree.Options{})
		}
		return store.OpenExact(context.Background(), b, tmpDir, tree.Options{})
	})
}

// CommandContext is a command that runs the interpreter with args and is killed when
// ctx is done before it ends. The error is about an interpreter that is gone.
func (ep *EmbeddedPython) CommandContext(ctx context.Context, args ...string) (*exec.Cmd, error) {
	return ep.own.commandContext(ctx, args)
}

// Cleanup removes the extracted Python, unless another EmbeddedPython, here or in
// another process, uses it. From a directory that the caller named exactly, it removes
// only what belongs to Python. GetExtractedPath is empty afterwards.
func (ep *EmbeddedPython) Cleanup() error {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.files == nil {
		return nil
	}
	files := ep.files
	ep.files = nil
	return files.Remove()
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
