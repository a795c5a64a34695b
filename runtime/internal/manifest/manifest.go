// Package manifest is files.json: what a tree holds and where its payloads lie.
//
// Parse accepts format version 2 (pyembed-gen and embed_util.CopyForEmbed) and the
// format without a version that go-embed-python writes. It promises that what it
// returns can be extracted below any directory without touching anything outside:
// names are local and unique, nothing lies below a file or a link, links stay in
// the tree, sizes are consistent. It reads no payload; digests are compared when
// payloads are inflated.
//
// # Content hash
//
// The content hash of a tree can be made by hand. It is the sha256 of the line
// "pyembed-manifest-2\n" and, for every entry sorted by the bytes of its name,
// of a line
//
//	<kind> <mode> <digest> <name>\n
//
// kind is dir, file or link. mode is 755 for a directory and for a file that its
// owner may execute, 644 for other files, 777 for a link. digest is the sha256 in
// hex of a file's content or of a link's target, and - for a directory.
package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"pyembed.invalid/runtime/internal/payload"
)

// Err is wrapped by every error about a files.json that can't be used.
var Err = fmt.Errorf("%w: bad manifest", payload.ErrCorrupt)

// ErrFormat is wrapped by the error about a files.json of a later format.
var ErrFormat = errors.New("unsupported bundle format")

// FileName is the manifest's path in a bundle.
const FileName = "files.json"

// Version is the format that this package writes.
const Version = 2

// BytecodeDir is the name of the directories where Python caches bytecode (PEP 3147).
const BytecodeDir = "__pycache__"

// IsBytecode reports whether a name is of a file that Python writes by itself.
func IsBytecode(name string) bool {
	return path.Ext(name) == ".pyc" && path.Base(path.Dir(name)) == BytecodeDir
}

// Reserved starts the names at the root of a tree that belong to the extraction.
const Reserved = ".pyembed-"

// LeaseName is the file at the root of a tree, or of an overlay, that its users lock.
const LeaseName = Reserved + "lease"

// A Manifest is the content of files.json.
type Manifest struct {
	ContentHash string        `json:"contentHash"`
	Version     int           `json:"version,omitempty"` // 0: go-embed-python's format
	Codec       payload.Codec `json:"codec,omitempty"`
	Recipe      string        `json:"recipe,omitempty"`
	Origin      *Origin       `json:"origin,omitempty"`
	Files       []Entry       `json:"files"`
}

// An Origin says which archive an interpreter's bundle was made of.
type Origin struct {
	Python   string `json:"python,omitempty"` // 3.14.9
	PBS      string `json:"pbs,omitempty"`
	Triple   string `json:"triple,omitempty"`
	Flavour  string `json:"flavour,omitempty"`
	Archive  string `json:"archive,omitempty"`
	SHA256   string `json:"sha256,omitempty"`
	Portable any    `json:"portable,omitempty"`
}

// An Entry is one directory, file or link of the tree.
type Entry struct {
	Name       string          `json:"name"`
	Size       int64           `json:"size"`
	Mode       fs.FileMode     `json:"perm"`
	Symlink    string          `json:"symlink,omitempty"`
	Compressed bool            `json:"compressed,omitempty"`
	SHA256     string          `json:"sha256,omitempty"`
	Stored     *int64          `json:"stored,omitempty"`
	Chunks     []payload.Chunk `json:"chunks,omitempty"`
	Path       string          `json:"path,omitempty"`
}

// A Kind is what an entry is, in the content hash's word.
type Kind string

// The kinds of entries.
const (
	Dir  Kind = "dir"
	File Kind = "file"
	Link Kind = "link"
)

// Kind is what the entry is; only a checked entry has one of the three.
func (e *Entry) Kind() Kind {
	switch e.Mode.Type() {
	case fs.ModeDir:
		return Dir
	case fs.ModeSymlink:
		return Link
	default:
		return File
	}
}

// Executable reports whether the owner may execute the file.
func (e *Entry) Executable() bool {
	return e.Mode&0o100 != 0
}

// Perm is the permission that the entry is written with, before the umask: modes
// are normalised, so a manifest can't ask for setuid or files that others write.
func (e *Entry) Perm() fs.FileMode {
	if e.Kind() == Dir || e.Executable() {
		return 0o755
	}
	return 0o644
}

// Source is where and how the content of a file entry is found in fsys.
func (m *Manifest) Source(fsys fs.FS, e *Entry) *payload.Source {
	s := &payload.Source{FS: fsys, Path: e.Path, Codec: payload.None, Size: e.Size, Stored: -1, SHA256: e.SHA256, Chunks: e.Chunks}
	if e.Stored != nil {
		s.Stored = *e.Stored
	}
	if e.Compressed {
		s.Codec = m.codec()
	}
	if s.Path == "" {
		s.Path = e.Name + s.Codec.Suffix()
	}
	return s
}

// codec is the codec of compressed payloads; manifests without a version mean gzip.
func (m *Manifest) codec() payload.Codec {
	if m.Codec == "" {
		return payload.Gzip
	}
	return m.Codec
}
