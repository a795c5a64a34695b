package embed_util_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"pyembed.invalid/runtime/embed_util"
)

// TestVerifyVariable: at the level that $PYEMBED_VERIFY names, what does not belong there
// goes or stays; with what is no level, nothing is extracted.
func TestVerifyVariable(t *testing.T) {
	files := fstest.MapFS{"a.py": {Data: []byte("pass\n")}}
	base := filepath.Join(t.TempDir(), "base")
	for value, stays := range map[string]bool{"": true, "stat": true, "stamp": true, "hash": false} {
		t.Setenv("PYEMBED_VERIFY", value)
		e, err := embed_util.NewEmbeddedFilesWithTmpDir(files, base, true)
		if err != nil {
			t.Fatal(err)
		}
		extra := filepath.Join(e.GetExtractedPath(), "extra.py")
		if err := os.WriteFile(extra, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := embed_util.NewEmbeddedFilesWithTmpDir(files, base, true); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(extra); (err == nil) != stays {
			t.Errorf("%q: %v", value, err)
		}
	}
	t.Setenv("PYEMBED_VERIFY", "Hash")
	other := filepath.Join(t.TempDir(), "other")
	_, err := embed_util.NewEmbeddedFilesWithTmpDir(files, other, false)
	if err == nil || !strings.Contains(err.Error(), `$PYEMBED_VERIFY is "Hash"`) {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Lstat(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is extracted: %v", err)
	}
}
