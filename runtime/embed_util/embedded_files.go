package embed_util

import (
	"context"
	"io/fs"
	"os"
	"sync"

	"pyembed.invalid/runtime/internal/store"
	"pyembed.invalid/runtime/internal/tree"
)

// EmbeddedFiles is a bundle that has been extracted.
type EmbeddedFiles struct {
	mu   sync.Mutex
	tree *tree.Tree
}

// NewEmbeddedFiles extracts the bundle in embedFs to <base>/<name>-<hash>, unless it
// is there already, and looks at what is there as thoroughly as $PYEMBED_VERIFY says, see
// python.VerifyLevel. The base is $PYEMBED_CACHE_DIR, or pyembed in the user's cache
// directory, or a directory of this user's in os.TempDir. embedFs need not have a
// files.json; without one, all its files are read at each start.
func NewEmbeddedFiles(embedFs fs.FS, name string) (*EmbeddedFiles, error) {
	return extract(embedFs, func(b *tree.Bundle, opt tree.Options) (*tree.Tree, error) {
		return store.OpenNamed(context.Background(), b, "", name, opt)
	})
}

// NewEmbeddedFilesWithTmpDir extracts the bundle in embedFs to <tmpDir>-<hash> or,
// without withHashInDir, to exactly tmpDir. An existing tmpDir is put right in place:
// what an earlier bundle left there unchanged is removed, other files stay. But a file
// or link that was in tmpDir under the name of one of the bundle's is replaced, whatever
// its content: that is goempy's contract. When a directory is where the bundle has a
// file or link, or anything else where it has a directory, and no earlier bundle put it
// there, nothing is changed and the error, which wraps ErrNoUsableDir, names it.
func NewEmbeddedFilesWithTmpDir(embedFs fs.FS, tmpDir string, withHashInDir bool) (*EmbeddedFiles, error) {
	return extract(embedFs, func(b *tree.Bundle, opt tree.Options) (*tree.Tree, error) {
		if withHashInDir {
			return store.OpenHashed(context.Background(), b, tmpDir, opt)
		}
		return store.OpenExact(context.Background(), b, tmpDir, opt)
	})
}

// extract opens a bundle with one of store's functions.
func extract(embedFs fs.FS, open func(*tree.Bundle, tree.Options) (*tree.Tree, error)) (*EmbeddedFiles, error) {
	if embedFs == nil {
		return nil, errNoFiles()
	}
	level, err := tree.LevelFromEnv(os.Getenv)
	if err != nil {
		return nil, err
	}
	b, err := tree.NewBundle(embedFs)
	if err != nil {
		return nil, err
	}
	t, err := open(b, tree.Options{Level: level})
	if err != nil {
		return nil, err
	}
	return &EmbeddedFiles{tree: t}, nil
}

// Cleanup removes the extracted files, unless another EmbeddedFiles, here or in
// another process, uses them, or a program among them runs; then it may be called again.
// From a directory that the caller named exactly, it removes only what the bundle put
// there. GetExtractedPath is empty when they are gone.
func (e *EmbeddedFiles) Cleanup() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tree == nil {
		return nil
	}
	gone, err := e.tree.Remove()
	if gone {
		e.tree = nil
	}
	return err
}

// GetExtractedPath is the absolute path of the directory with the files.
func (e *EmbeddedFiles) GetExtractedPath() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tree == nil {
		return ""
	}
	return e.tree.Path()
}
