package embed_util

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/payload"
)

// gitFiles keep git from changing payloads, and people's own ignore files, which
// list lib/ and *.exe, from leaving them out.
var gitFiles = []struct{ name, text string }{
	{".gitattributes", "** binary\n"},
	{".gitignore", "!*\n"},
}

// CopyForEmbed writes the tree in dir to out as a bundle: gzip payloads (stored where
// that does not help), files.json, .gitattributes and .gitignore. Payloads of an
// earlier bundle in out are removed, other files there stay. files.json is written
// last. Directories __pycache__ are left out. The contentHash is the one that pyembed-gen gives the same tree; the bytes of
// the payloads may differ from its.
func CopyForEmbed(out string, dir string) error {
	m, err := scan(dir)
	if err != nil {
		return err
	}
	m.Codec = payload.Gzip
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), ".pyembed-pack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := pack(m, dir, tmp); err != nil {
		return err
	}
	if err := seal(m); err != nil {
		return err
	}
	if err := removeStale(out, payloads(readManifest(out)), payloads(m)); err != nil {
		return err
	}
	for i := range m.Files {
		if e := &m.Files[i]; e.Kind() == manifest.File {
			if err := publish(filepath.Join(tmp, strconv.Itoa(i)), out, payloadPath(m, e)); err != nil {
				return err
			}
		}
	}
	for _, g := range gitFiles {
		if err := os.WriteFile(filepath.Join(out, g.name), []byte(g.text), 0o644); err != nil {
			return err
		}
	}
	return writeManifest(tmp, out, m)
}

// BuildAndWriteFilesList writes a files.json for the files in dir, which become
// their own, stored payloads. Go does not embed files of every name; CopyForEmbed
// gives those another.
func BuildAndWriteFilesList(dir string) error {
	m, err := scan(dir)
	if err != nil {
		return err
	}
	kept := m.Files[:0]
	for _, e := range m.Files {
		if e.Name != manifest.FileName {
			kept = append(kept, e)
		}
	}
	m.Files = kept
	m.Codec = payload.None
	err = each(m.Files, func(_ int, e *manifest.Entry) error {
		_, err := readEntry(dir, e)
		e.Stored = &e.Size
		return err
	})
	if err != nil {
		return err
	}
	if err := seal(m); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), ".pyembed-pack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	return writeManifest(tmp, dir, m)
}

// pack compresses every file of m, in parallel, to its number in tmp.
func pack(m *manifest.Manifest, dir, tmp string) error {
	err := each(m.Files, func(i int, e *manifest.Entry) error {
		data, err := readEntry(dir, e)
		if err != nil {
			return err
		}
		gz, chunks, err := payload.Deflate(data)
		if err != nil {
			return err
		}
		if e.Compressed = len(gz) < len(data); e.Compressed {
			data, e.Chunks = gz, chunks
		}
		stored := int64(len(data))
		e.Stored = &stored
		return os.WriteFile(filepath.Join(tmp, strconv.Itoa(i)), data, 0o644)
	})
	if err != nil {
		return err
	}
	choosePaths(m)
	return nil
}

// choosePaths fills in the path of entries whose own name Go can't carry.
func choosePaths(m *manifest.Manifest) {
	var names []payload.Name
	var files []*manifest.Entry
	for i := range m.Files {
		e := &m.Files[i]
		if e.Kind() != manifest.File {
			continue
		}
		n := payload.Name{Name: e.Name}
		if e.Compressed {
			n.Suffix = m.Codec.Suffix()
		}
		names, files = append(names, n), append(files, e)
	}
	for i, p := range payload.Paths(names) {
		files[i].Path = p
	}
}

// seal computes the contentHash and makes sure that the runtime will accept m.
func seal(m *manifest.Manifest) error {
	m.ContentHash = manifest.Hash(m.Files)
	return m.Check()
}

// payloadPath is where the payload of a file entry lies in its bundle.
func payloadPath(m *manifest.Manifest, e *manifest.Entry) string {
	return m.Source(nil, e).Path
}

// payloads is the set of all payload paths; none for a manifest that is nil.
func payloads(m *manifest.Manifest) map[string]bool {
	paths := make(map[string]bool)
	if m != nil {
		for i := range m.Files {
			if e := &m.Files[i]; e.Kind() == manifest.File {
				paths[payloadPath(m, e)] = true
			}
		}
	}
	return paths
}

// readManifest reads the manifest of an earlier bundle; nil if there is no good one.
func readManifest(out string) *manifest.Manifest {
	data, err := os.ReadFile(filepath.Join(out, manifest.FileName))
	if err != nil {
		return nil
	}
	m, err := manifest.Parse(data)
	if err != nil {
		return nil
	}
	return m
}

// publish moves a payload to its path in out.
func publish(from, out, name string) error {
	to := filepath.Join(out, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// writeManifest writes files.json to out by a rename from tmp.
func writeManifest(tmp, out string, m *manifest.Manifest) error {
	data, err := m.Encode()
	if err != nil {
		return err
	}
	fresh := filepath.Join(tmp, manifest.FileName)
	if err := os.WriteFile(fresh, data, 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(out, manifest.FileName))
}

// removeStale removes the payloads of an earlier bundle that are not in the new one,
// and the directories that this leaves empty.
func removeStale(out string, old, now map[string]bool) error {
	for name := range old {
		if now[name] || manifest.CheckName(name) != nil {
			continue
		}
		err := os.Remove(filepath.Join(out, filepath.FromSlash(name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if os.Remove(filepath.Join(out, filepath.FromSlash(dir))) != nil {
				break // it holds something else
			}
		}
	}
	return nil
}
