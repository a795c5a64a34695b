package manifest_test

import (
	"io/fs"
	"path"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/payload"
)

// An accepted manifest takes no more than so many bytes for each of its own. The most
// have `{},` in the list of files: an entry of 120 bytes, in a slice that grows.
const (
	perByte = 1000
	atAll   = 1 << 20
)

// FuzzManifest: whatever the bytes, nothing panics, memory is proportional to the
// input, and a manifest that is accepted keeps what the package promises.
func FuzzManifest(f *testing.F) {
	for _, text := range manifestTexts(f) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := fstest.MapFS{manifest.FileName: {Data: data}}
		var m *manifest.Manifest
		var err, headErr error
		var head manifest.Head
		var known bool
		if got, most := allocation(func() {
			m, err = manifest.Parse(data)
			head, known, headErr = manifest.ReadHead(fsys)
			manifest.ReadOrigin(fsys)
		}), uint64(perByte*len(data)+atAll); got > most {
			t.Errorf("%d bytes were allocated for %d", got, len(data))
		}
		if headErr != nil {
			t.Fatal(headErr)
		}
		if err != nil {
			if m != nil {
				t.Error("a manifest with an error")
			}
			return
		}
		if known && (head.ContentHash != m.ContentHash || head.Version != m.Version) {
			t.Errorf("the head says %v, the manifest %s of version %d", head, m.ContentHash, m.Version)
		}
		checkNames(t, m)
		checkSizes(t, m)
		checkLinks(t, m, func(s string) string { return s })
		checkLinks(t, m, payload.Fold)
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := manifest.Parse(again)
		if err != nil {
			t.Fatalf("%s can't be read back: %v", again, err)
		}
		if len(m.Files) == 0 {
			m.Files = nil // [], null and no such key are the same
			back.Files = nil
		}
		if !reflect.DeepEqual(m, back) {
			t.Errorf("%s reads back as %+v", again, back)
		}
		if m.Version == manifest.Version && manifest.Hash(m.Files) != m.ContentHash {
			t.Error("contentHash does not fit")
		}
	})
}

// manifestTexts are manifests, good and hostile ones.
func manifestTexts(f *testing.F) []string {
	var cases []struct{ Text string }
	readVectors(f, "manifests.json", &cases)
	texts := []string{"", "[]", "{", "null", `{"files": [{}, {}, {}]}`, `{"x": ` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, `{"files": null, "origin": {"portable": [[[[[[[[]]]]]]]]}}`}
	for _, c := range cases {
		texts = append(texts, c.Text)
	}
	return texts
}

// checkNames: names are local, unique and in order, and nothing lies below a file
// or a link, on a file system that ignores case not either.
func checkNames(t *testing.T, m *manifest.Manifest) {
	kinds := make(map[string]manifest.Kind)
	links := make(map[string]bool)
	last := ""
	for i := range m.Files {
		e := &m.Files[i]
		if e.Name <= last || path.Clean("/"+e.Name) != "/"+e.Name || !filepath.IsLocal(e.Name) || strings.HasPrefix(e.Name, manifest.Reserved) ||
			strings.ContainsFunc(e.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("name %q after %q", e.Name, last)
		}
		last = e.Name
		kinds[e.Name] = e.Kind()
		if e.Kind() == manifest.Link {
			links[payload.Fold(e.Name)] = true
		}
	}
	for name := range kinds {
		for above := path.Dir(name); above != "."; above = path.Dir(above) {
			if kind, ok := kinds[above]; ok && kind != manifest.Dir || links[payload.Fold(above)] {
				t.Errorf("%q lies below %q", name, above)
			}
		}
	}
}

// checkSizes: sizes are consistent, and modes are what can be written.
func checkSizes(t *testing.T, m *manifest.Manifest) {
	left := int64(1<<63 - 1)
	for i := range m.Files {
		e := &m.Files[i]
		switch e.Mode.Type() {
		case fs.ModeDir, fs.ModeSymlink:
			continue
		case 0:
		default:
			t.Errorf("%q has mode %v", e.Name, e.Mode)
		}
		if left -= e.Size; e.Size < 0 || left < 0 {
			t.Errorf("%q has %d bytes", e.Name, e.Size)
		}
		src := m.Source(nil, e)
		if !src.Codec.Valid() || !fs.ValidPath(src.Path) || src.Stored < -1 || src.Codec == payload.None && src.Stored >= 0 && src.Stored != src.Size {
			t.Errorf("%q has its payload at %+v", e.Name, src)
		}
		var raw, stored int64
		for _, c := range src.Chunks {
			raw, stored = raw+c.Raw(), stored+c.Stored()
			if c.Raw() <= 0 || c.Raw() > payload.ChunkSize || c.Stored() <= 0 || raw > src.Size || stored > src.Stored {
				t.Errorf("%q has a chunk %v", e.Name, c)
			}
		}
		if len(src.Chunks) > 0 && (raw != src.Size || stored != src.Stored || src.Codec != payload.Gzip) {
			t.Errorf("%q has %d bytes in %d of chunks", e.Name, raw, stored)
		}
	}
}

// checkLinks walks through every link as a kernel does, and fails when it goes above
// the tree. A file system may look names up in a folded form.
func checkLinks(t *testing.T, m *manifest.Manifest, fold func(string) string) {
	links := make(map[string]string)
	for i := range m.Files {
		if e := &m.Files[i]; e.Kind() == manifest.Link {
			links[fold(e.Name)] = e.Symlink
		}
	}
	for name := range links {
		at, rest := []string{}, strings.Split(name, "/")
		for steps := 0; len(rest) > 0 && steps < 1000; steps++ {
			elem := rest[0]
			rest = rest[1:]
			switch elem {
			case "", ".":
				continue
			case "..":
				if len(at) == 0 {
					t.Fatalf("the link %q leads out of the tree", name)
				}
				at = at[:len(at)-1]
				continue
			}
			here := strings.Join(append(at[:len(at):len(at)], fold(elem)), "/")
			target, ok := links[here]
			switch {
			case !ok:
				at = append(at, fold(elem))
			case strings.HasPrefix(target, "/"):
				t.Fatalf("the link %q leads to %q", here, target)
			default:
				rest = append(strings.Split(target, "/"), rest...)
			}
		}
	}
}

// allocation is how many bytes f allocates, whether they are still used or not.
func allocation(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
