package manifest_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"pyembed.invalid/runtime/internal/manifest"
)

// TestReadHead: a version 2 manifest is known by its first keys, whatever the
// spacing; everything else is left to the parser.
func TestReadHead(t *testing.T) {
	for text, want := range map[string]bool{
		`{"contentHash": "` + digest + `", "version": 2, "files": [` + strings.Repeat(" ", 9000): true,
		`{"contentHash":"` + digest + `","version":2,"codec":"gzip"`:                             true,
		"{\n  \"contentHash\": \"" + digest + "\",\n  \"version\": 2\n}":                         true,
		"{\n  \"contentHash\": \"" + digest + "\",\n  \"files\": []}":                            false,
		`{"contentHash": "` + digest + `", "version": 20, "files": []}`:                          false,
		`{"contentHash": "` + digest + `", "version": 3, "files": []}`:                           false,
		`{"contentHash": "` + digest[:63] + `", "version": 2, "files": []}`:                      false,
		`{"version": 2, "contentHash": "` + digest + `", "files": []}`:                           false,
		`{"contentHash": "` + digest + `", "version": 2`:                                         false,
		``: false,
	} {
		head, ok, err := manifest.ReadHead(fstest.MapFS{manifest.FileName: {Data: []byte(text)}})
		if err != nil || ok != want || ok && head.ContentHash != digest {
			t.Errorf("%.100s: %v %v %v", text, head, ok, err)
		}
	}
}

// TestReadOrigin: it is found before the files, and only there.
func TestReadOrigin(t *testing.T) {
	for text, want := range map[string]string{
		`{"contentHash": "x", "recipe": {"a": [1]}, "origin": {"python": "3.14.9", "portable": true}, "files": [!`: "3.14.9",
		`{"contentHash": "x", "files": [], "origin": {"python": "3.14.9"}}`:                                        "",
		`{"contentHash": "x", "origin": 1, "files": []}`:                                                           "",
		`[]`: "", `{`: "", ``: "",
	} {
		got := ""
		if o := manifest.ReadOrigin(fstest.MapFS{manifest.FileName: {Data: []byte(text)}}); o != nil {
			got = o.Python
		}
		if got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	if manifest.ReadOrigin(fstest.MapFS{}) != nil {
		t.Error("an origin without a manifest")
	}
}

// TestFromFS: without files.json, names, modes and bytes all tell trees apart.
func TestFromFS(t *testing.T) {
	hashes := make(map[string]string)
	for name, fsys := range map[string]fstest.MapFS{
		"a":                  {"d/a": {Data: []byte("x")}},
		"another name":       {"d/b": {Data: []byte("x")}},
		"another directory":  {"e/a": {Data: []byte("x")}},
		"other bytes":        {"d/a": {Data: []byte("y")}},
		"another mode":       {"d/a": {Data: []byte("x"), Mode: 0o755}},
		"one more":           {"d/a": {Data: []byte("x")}, "d/b": {}},
		"an empty directory": {"d/a": {Data: []byte("x")}, "d/b": {Mode: 0o755 | 1<<31}},
	} {
		m, err := manifest.FromFS(fsys)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if other, ok := hashes[m.ContentHash]; ok {
			t.Errorf("%s has the hash of %s", name, other)
		}
		hashes[m.ContentHash] = name
	}
	same, err := manifest.FromFS(fstest.MapFS{"d/a": {Data: []byte("x"), Mode: 0o444}})
	if err != nil || hashes[same.ContentHash] != "a" {
		t.Errorf("the mode that embed.FS gives makes another tree (%v)", err)
	}
}
