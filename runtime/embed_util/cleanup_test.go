package embed_util_test

import (
	"os"
	"path/filepath"
	"testing"

	"pyembed.invalid/runtime/embed_util"
	bt "pyembed.invalid/runtime/internal/bundletest"
)

// TestBesideTree: beside a tree in a directory of the caller's there is its lock file and
// nothing else, as with go-embed-python, whose users look. The tree goes with the last
// Cleanup, which may be asked for more than once.
func TestBesideTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	data := os.DirFS(bt.Gzip(t, bt.Small()))
	var users []*embed_util.EmbeddedFiles
	for range 2 {
		e, err := embed_util.NewEmbeddedFilesWithTmpDir(data, dir, true)
		must(t, err)
		users = append(users, e)
	}
	path := users[0].GetExtractedPath()
	if found, err := filepath.Glob(dir + "*"); err != nil || len(found) != 2 || found[0] != path || found[1] != path+".lock" {
		t.Errorf("there is %v, %v", found, err)
	}
	must(t, users[0].Cleanup())
	bt.Same(t, path, bt.Small())
	for range 2 {
		must(t, users[1].Cleanup())
		must(t, users[0].Cleanup())
	}
	if found, err := filepath.Glob(dir + "*"); err != nil || len(found) != 0 {
		t.Errorf("there is %v, %v", found, err)
	}
	if got := users[1].GetExtractedPath(); got != "" {
		t.Errorf("it is in %s", got)
	}
}
