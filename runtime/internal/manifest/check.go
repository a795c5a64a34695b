package manifest

import (
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"runtime"
	"sort"
	"strings"

	"pyembed.invalid/runtime/internal/payload"
)

// errorf wraps Err.
func errorf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", Err, fmt.Errorf(format, args...))
}

// Check makes sure that the manifest can be extracted, and sorts its entries.
func (m *Manifest) Check() error {
	if err := checkVersion(m.Version); err != nil {
		return err
	}
	if m.Codec != "" && !m.Codec.Valid() {
		return errorf("unknown codec %q", m.Codec)
	}
	sort.SliceStable(m.Files, func(i, j int) bool { return m.Files[i].Name < m.Files[j].Name })
	var total int64
	for i := range m.Files {
		e := &m.Files[i]
		if err := m.checkEntry(e); err != nil {
			return errorf("entry %q: %w", e.Name, err)
		}
		if e.Kind() == File {
			total += e.Size
		}
		if total < 0 {
			return errorf("sizes add up to more than a disk holds")
		}
	}
	if err := checkNesting(m.Files); err != nil {
		return err
	}
	if m.Version == Version {
		if got := Hash(m.Files); got != m.ContentHash {
			return errorf("contentHash is %q, but the entries have %s", m.ContentHash, got)
		}
	}
	return nil
}

// checkEntry looks at one entry by itself.
func (m *Manifest) checkEntry(e *Entry) error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	if len(e.Name) >= len(Reserved) && strings.EqualFold(e.Name[:len(Reserved)], Reserved) {
		return fmt.Errorf("names that start with %s are reserved for the extraction", Reserved)
	}
	switch e.Mode.Type() {
	case fs.ModeDir:
		return nil
	case fs.ModeSymlink:
		return checkLink(e.Name, e.Symlink)
	case 0:
		return m.checkFile(e)
	default:
		return fmt.Errorf("%v is neither a directory, a file nor a link", e.Mode)
	}
}

// checkFile looks at what a file entry says of its payload.
func (m *Manifest) checkFile(e *Entry) error {
	if e.Size < 0 || e.Size > math.MaxInt64/2 {
		return fmt.Errorf("size %d", e.Size)
	}
	if e.SHA256 != "" && !isDigest(e.SHA256) || e.SHA256 == "" && m.Version == Version {
		return fmt.Errorf("sha256 %q is not 64 hex digits", e.SHA256)
	}
	if e.Compressed && m.codec() == payload.None {
		return fmt.Errorf("compressed in a bundle whose codec is none")
	}
	if e.Path != "" && !fs.ValidPath(e.Path) {
		return fmt.Errorf("payload path %q", e.Path)
	}
	if e.Stored == nil {
		if len(e.Chunks) > 0 {
			return fmt.Errorf("chunks without stored")
		}
		return nil
	}
	if *e.Stored < 0 || !e.Compressed && *e.Stored != e.Size {
		return fmt.Errorf("%d bytes stored of %d", *e.Stored, e.Size)
	}
	return m.checkChunks(e)
}

// checkChunks makes sure that the members cover exactly the content and the payload.
func (m *Manifest) checkChunks(e *Entry) error {
	if len(e.Chunks) == 0 {
		return nil
	}
	if !e.Compressed || m.codec() != payload.Gzip {
		return fmt.Errorf("chunks of a payload that is not gzip")
	}
	raw, stored := e.Size, *e.Stored
	for _, c := range e.Chunks {
		// A chunk is inflated in memory, so no chunk may be larger than ours are.
		if c.Raw() <= 0 || c.Raw() > payload.ChunkSize || c.Stored() <= 0 || c.Raw() > raw || c.Stored() > stored {
			return fmt.Errorf("chunk %v does not fit", c)
		}
		raw -= c.Raw()
		stored -= c.Stored()
	}
	if raw != 0 || stored != 0 {
		return fmt.Errorf("chunks leave %d bytes of content and %d of the payload", raw, stored)
	}
	return nil
}

// maxName is how long a path may be, in bytes: no system takes longer ones.
const maxName = 4096

// CheckName refuses a name that is not a clean relative path, that could leave the
// tree on this system, or that the content hash could not tell from another.
func CheckName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("a name of %d bytes", len(name))
	}
	if name == "." || !fs.ValidPath(name) {
		return fmt.Errorf("not a clean relative path in UTF-8")
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] == 0x7f {
			return fmt.Errorf("control character in a name")
		}
	}
	if nativeSeparators != "" && strings.ContainsAny(name, nativeSeparators) {
		return fmt.Errorf("a name with one of %s is not allowed on %s", nativeSeparators, runtime.GOOS)
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("not a name for files on %s", runtime.GOOS)
	}
	return nil
}

// checkLink refuses a target that is absolute or leaves the tree. A target may go
// up first and then down, never up again: as no entry lies below a link, going up
// from a link's own directory passes only real directories, and going down can only
// meet links that were held to the same rule. So no chain of links leads outside.
func checkLink(name, target string) error {
	switch {
	case target == "" || strings.ContainsRune(target, 0):
		return fmt.Errorf("link without a target")
	case strings.HasPrefix(target, "/"):
		return fmt.Errorf("link to the absolute path %q", target)
	case nativeSeparators != "" && strings.ContainsAny(target, nativeSeparators):
		return fmt.Errorf("link to %q is not allowed on %s", target, runtime.GOOS)
	}
	depth, down := strings.Count(name, "/"), false
	for _, elem := range strings.Split(target, "/") {
		switch {
		case elem == "" || elem == ".":
		case elem != "..":
			down = true
		case down:
			return fmt.Errorf("link to %q goes up after it went down", target)
		default:
			if depth--; depth < 0 {
				return fmt.Errorf("link to %q leaves the tree", target)
			}
		}
	}
	return nil
}

// checkNesting refuses duplicates, and entries below a file or a link. Names are
// compared folded where a link is involved, because on a file system that ignores
// case `L/x` lies below the link `l`.
func checkNesting(entries []Entry) error {
	kinds := make(map[string]Kind, len(entries))
	links := make(map[string]bool)
	for i := range entries {
		e := &entries[i]
		if _, ok := kinds[e.Name]; ok {
			return errorf("entry %q is there twice", e.Name)
		}
		kinds[e.Name] = e.Kind()
		if e.Kind() == Link {
			links[payload.Fold(e.Name)] = true
		}
	}
	for i := range entries {
		name := entries[i].Name
		for j := range len(name) {
			if name[j] != '/' {
				continue
			}
			parent := name[:j]
			if kind, ok := kinds[parent]; ok && kind != Dir {
				return errorf("entry %q lies below %q, which is a %s", name, parent, kind)
			}
			if len(links) > 0 && links[payload.Fold(parent)] {
				return errorf("entry %q lies below a link", name)
			}
		}
	}
	return nil
}

// isDigest reports whether s is a sha256 in lower-case hex.
func isDigest(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
