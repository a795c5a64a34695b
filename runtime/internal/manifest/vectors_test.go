package manifest_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/payload"
)

// vectors are the cases that the Python generator is held to as well.
const vectors = "../../../tests/vectors"

// TestVectors: Go and Python agree on content hashes and on payload paths.
func TestVectors(t *testing.T) {
	t.Run("content hash", testContentHashes)
	t.Run("payload path", testPayloadPaths)
}

func testContentHashes(t *testing.T) {
	var cases []struct {
		Name  string
		Files []struct {
			Name, Kind, SHA256, Target string
			Executable                 bool
		}
		ContentHash string
	}
	readVectors(t, "content_hash.json", &cases)
	for _, c := range cases {
		var entries []manifest.Entry
		for _, f := range c.Files {
			e := manifest.Entry{Name: f.Name, Mode: 0o644}
			switch {
			case f.Kind == "dir":
				e.Mode = fs.ModeDir | 0o755
			case f.Kind == "link":
				e.Mode, e.Symlink = fs.ModeSymlink, f.Target
			case f.Executable:
				e.Mode, e.SHA256 = 0o755, f.SHA256
			default:
				e.SHA256 = f.SHA256
			}
			entries = append(entries, e)
		}
		if got := manifest.Hash(entries); got != c.ContentHash {
			t.Errorf("%s: %s, want %s", c.Name, got, c.ContentHash)
		}
	}
}

func testPayloadPaths(t *testing.T) {
	var cases []struct {
		Name    string
		Entries []payload.Name
		Paths   map[string]*string
	}
	readVectors(t, "payload_path.json", &cases)
	for _, c := range cases {
		for i, got := range payload.Paths(c.Entries) {
			name := c.Entries[i].Name
			want, ok := c.Paths[name]
			if !ok {
				t.Errorf("%s: no path for %q", c.Name, name)
			} else if want == nil && got != "" {
				t.Errorf("%s: %q is escaped", c.Name, name)
			} else if want != nil && got != *want {
				t.Errorf("%s: %q has path %q, want %q", c.Name, name, got, *want)
			}
		}
	}
}

func readVectors(t testing.TB, name string, to any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, to); err != nil {
		t.Fatal(err)
	}
}
