package manifest_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"

	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/payload"
)

// vectors are the cases that the Python generator is held to as well.
const vectors = "../../../tests/vectors"

// TestVectors: Go and Python agree on content hashes, on payload paths, and on what a
// files.json means or why it is refused.
func TestVectors(t *testing.T) {
	t.Run("content hash", testContentHashes)
	t.Run("payload path", testPayloadPaths)
	t.Run("manifests", testManifests)
}

// reasons are what the error of a manifest says that is refused for one, here; the
// Python reader has words of its own.
var reasons = map[string]string{
	"json":        `json|cannot unmarshal|unexpected end|invalid character`,
	"version":     `has version [13];`,
	"codec":       `unknown codec "xz"`,
	"contentHash": `contentHash is`,
	"name":        `not a clean relative path|control character|names that start with`,
	"twice":       `is there twice`,
	"below":       `lies below`,
	"link":        `link to|link without a target`,
	"kind":        `is neither a directory, a file nor a link`,
	"size":        `size -1|number 9223372036854775808`,
	"stored":      `bytes stored of|compressed in a bundle`,
	"sha256":      `is not 64 hex digits`,
	"path":        `payload path`,
	"chunks":      `chunk`,
}

// A vectorFile is an entry of a manifest that is accepted. Only files have more than
// a name, a kind and, if they are links, a target.
type vectorFile struct {
	Name       string
	Kind       manifest.Kind
	Target     string
	Executable bool
	Size       int64
	SHA256     string
	Stored     int64
	Payload    string
	Codec      payload.Codec
	Chunks     []payload.Chunk
}

func testManifests(t *testing.T) {
	var cases []struct {
		Name, Text, Refused, ContentHash, Recipe string
		Origin                                   [6]string
		Entries                                  []vectorFile
	}
	readVectors(t, "manifests.json", &cases)
	for _, c := range cases {
		m, err := manifest.Parse([]byte(c.Text))
		if c.Refused != "" {
			if err == nil || !regexp.MustCompile(reasons[c.Refused]).MatchString(err.Error()) {
				t.Errorf("%s: refused for %v, want %s", c.Name, err, c.Refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		var origin [6]string
		if o := m.Origin; o != nil {
			origin = [6]string{o.Python, o.PBS, o.Triple, o.Flavour, o.Archive, o.SHA256}
		}
		if m.Version != manifest.Version || !m.Codec.Valid() || m.ContentHash != c.ContentHash || m.Recipe != c.Recipe || origin != c.Origin || len(m.Files) != len(c.Entries) {
			t.Errorf("%s: read as %+v", c.Name, m)
			continue
		}
		for i := range m.Files {
			if got := meaning(m, &m.Files[i]); !reflect.DeepEqual(got, c.Entries[i]) {
				t.Errorf("%s: read as %+v, want %+v", c.Name, got, c.Entries[i])
			}
		}
	}
}

// meaning is an entry as the vectors put it.
func meaning(m *manifest.Manifest, e *manifest.Entry) vectorFile {
	v := vectorFile{Name: e.Name, Kind: e.Kind()}
	switch e.Kind() {
	case manifest.Link:
		v.Target = e.Symlink
	case manifest.File:
		src := m.Source(nil, e)
		v.Executable, v.Size, v.SHA256, v.Stored = e.Executable(), src.Size, src.SHA256, src.Stored
		v.Payload, v.Codec, v.Chunks = src.Path, src.Codec, append([]payload.Chunk{}, src.Chunks...)
	}
	return v
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
