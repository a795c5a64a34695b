package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"pyembed.invalid/runtime/internal/manifest"
)

// A Bundle is a file system with payloads, and the identity of the tree in it. Its
// manifest is parsed when it is first needed, which a warm start never does.
type Bundle struct {
	FS       fs.FS
	Identity string // 64 hex digits

	parse func() (*manifest.Manifest, error)
}

// NewBundle finds out the identity of the bundle in fsys: the content hash that a
// version 2 manifest begins with, the sha256 of a files.json without a version, or
// the content hash of all files when there is no files.json.
func NewBundle(fsys fs.FS) (*Bundle, error) {
	head, ok, err := manifest.ReadHead(fsys)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m, err := manifest.FromFS(fsys)
		if err != nil {
			return nil, err
		}
		return &Bundle{FS: fsys, Identity: m.ContentHash, parse: parsed(m)}, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", manifest.Err, err)
	case ok:
		return &Bundle{FS: fsys, Identity: head.ContentHash, parse: sync.OnceValues(func() (*manifest.Manifest, error) {
			return readManifest(fsys)
		})}, nil
	}
	data, err := fs.ReadFile(fsys, manifest.FileName)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", manifest.Err, err)
	}
	if bytes.Contains(data, []byte(`"version"`)) {
		m, err := manifest.Parse(data)
		if err != nil {
			return nil, err
		}
		if m.Version == manifest.Version {
			return &Bundle{FS: fsys, Identity: m.ContentHash, parse: parsed(m)}, nil
		}
	}
	return &Bundle{FS: fsys, Identity: manifest.FileIdentity(data), parse: sync.OnceValues(func() (*manifest.Manifest, error) {
		return manifest.Parse(data)
	})}, nil
}

// Manifest is the bundle's checked manifest.
func (b *Bundle) Manifest() (*manifest.Manifest, error) {
	return b.parse()
}

// parsed is for a manifest that is there already.
func parsed(m *manifest.Manifest) func() (*manifest.Manifest, error) {
	return func() (*manifest.Manifest, error) { return m, nil }
}

// readManifest parses the files.json of fsys.
func readManifest(fsys fs.FS) (*manifest.Manifest, error) {
	data, err := fs.ReadFile(fsys, manifest.FileName)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", manifest.Err, err)
	}
	return manifest.Parse(data)
}
