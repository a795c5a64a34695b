//go:build unix

package tree

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/payload"
)

// A fuzzed bundle declares at most so many bytes, and opening it allocates no more
// than so many: the decoders, and a buffer for each worker.
const (
	mostDeclared  = 2 << 20
	mostAllocated = 96 << 20
)

// FuzzExtract: whatever manifest, payloads and damage to the tree, nothing panics or
// hangs, nothing outside the tree is made, changed or removed, no more is written than
// was declared, memory is bounded, and what is opened without an error is right.
//
// A files.json is taken as it is if text is not empty, but for a contentHash that is
// made to fit; otherwise spec says what bundle to make, one byte a decision. script
// says how to open the tree, and what to do to it in between.
func FuzzExtract(f *testing.F) {
	for _, c := range manifestVectors(f) {
		f.Add([]byte(c), []byte("payload"), []byte{})
	}
	random := rand.New(rand.NewPCG(1, 2))
	bundle := func(codec, mood byte) []byte {
		spec := make([]byte, 300)
		for i := range spec {
			spec[i] = byte(random.Uint32())
		}
		spec[0], spec[1], spec[2] = codec, mood, 12
		return spec
	}
	for how := range byte(6) { // the level, and whether the directory is the caller's
		for action := range byte(14) {
			script := []byte{how, action, how, action, 0, 0, action, 2, action, action, 3, 1, action, 5, 2}
			f.Add([]byte{}, bundle(action, 0), script)
		}
	}
	for at := range byte(12) { // a directory that is moved away and linked to, and then more
		f.Add([]byte{}, bundle(at, 0), []byte{2, at, 13, at})
		f.Add([]byte{}, bundle(at, 0), []byte{0, 0, 13, at, 7, 0, 2, 1, 1})
	}
	f.Add([]byte{}, bundle(2, 0), []byte{3, 0, 0, 9, 0, 0}) // another bundle's stamp in the caller's directory
	for mood := range byte(24) {
		f.Add([]byte{}, bundle(mood, mood), []byte{mood, 2, mood, 3})
	}
	f.Fuzz(func(t *testing.T, text, spec, script []byte) {
		s := newSandbox(t)
		in := &decisions{bytes: spec}
		files := fstest.MapFS{}
		m := readFuzzed(text)
		if m == nil {
			m = s.makeManifest(in, files)
		}
		declared := s.addPayloads(m, in, files)
		if declared < 0 {
			return
		}
		s.declared = declared
		s.run(t, m, files, &decisions{bytes: script})
	})
}

// decisions are bytes of the fuzzer's, and zeros when they are used up.
type decisions struct{ bytes []byte }

func (d *decisions) next() int {
	if len(d.bytes) == 0 {
		return 0
	}
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return int(b)
}

// pick chooses one of several.
func pick[T any](d *decisions, of []T) T { return of[d.next()%len(of)] }

// take takes up to n bytes.
func (d *decisions) take(n int) []byte {
	n = min(n, len(d.bytes))
	b := d.bytes[:n]
	d.bytes = d.bytes[n:]
	return b
}

// manifestVectors are the texts of tests/vectors/manifests.json.
func manifestVectors(f *testing.F) []string {
	data, err := os.ReadFile("../../../tests/vectors/manifests.json")
	if err != nil {
		f.Fatal(err)
	}
	var cases []struct{ Text string }
	if err := json.Unmarshal(data, &cases); err != nil {
		f.Fatal(err)
	}
	var texts []string
	for _, c := range cases {
		texts = append(texts, c.Text)
	}
	return texts
}

// readFuzzed reads a files.json without any check, nil if it is none. Sizes of more
// than a test should write are made smaller.
func readFuzzed(text []byte) *manifest.Manifest {
	var m manifest.Manifest
	if len(text) == 0 || json.Unmarshal(text, &m) != nil {
		return nil
	}
	for i := range m.Files {
		if e := &m.Files[i]; e.Size > mostDeclared && len(e.Chunks) == 0 {
			e.Size = 1
		}
	}
	return &m
}

// A sandbox is a directory with a place for a tree and much that must stay as it is.
type sandbox struct {
	dir, outside string
	tree         string
	before       map[string]string
	declared     int64
	trusted      bool // the stamp or a time was forged: level stat may be deceived
}

func newSandbox(t *testing.T) *sandbox {
	dir := t.TempDir()
	s := &sandbox{dir: dir, outside: filepath.Join(dir, "outside"), tree: filepath.Join(dir, "base", "tree")}
	for _, d := range []string{"base", "outside", "outside/sub", "base/tree-other"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	for _, f := range []string{"canary", "outside/canary", "outside/sub/canary", "base/canary", "base/tree-other/canary"} {
		must(t, os.WriteFile(filepath.Join(dir, f), []byte("canary"), 0o644))
	}
	must(t, os.Symlink("outside/canary", filepath.Join(dir, "link")))
	s.before = s.listing(t)
	return s
}

// listing describes everything in the sandbox but the tree and what lies beside it.
func (s *sandbox) listing(t *testing.T) map[string]string {
	list := make(map[string]string)
	must(t, filepath.WalkDir(s.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == s.tree {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(p, s.tree+".") {
			if p != s.tree+".lock" {
				list[p] = "left over"
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		list[p] = info.Mode().String()
		switch info.Mode().Type() {
		case 0:
			data, err := os.ReadFile(p)
			list[p] += " " + string(data)
			return err
		case fs.ModeSymlink:
			target, err := os.Readlink(p)
			list[p] += " " + target
			return err
		}
		return nil
	}))
	return list
}

// checkOutside makes sure that the sandbox is as it was.
func (s *sandbox) checkOutside(t *testing.T, when string) {
	after := s.listing(t)
	for p, was := range s.before {
		if after[p] != was {
			t.Errorf("%s: %s was %.100q and is %.100q", when, p, was, after[p])
		}
	}
	for p, is := range after {
		if _, ok := s.before[p]; !ok {
			t.Errorf("%s: %s is new: %.100q", when, p, is)
		}
	}
}

// makeManifest makes a manifest: a right one with names that only differ, or one of
// elements that are hostile when they are put together.
func (s *sandbox) makeManifest(in *decisions, files fstest.MapFS) *manifest.Manifest {
	elements := []string{"a", "b", "lib", "A", "LIB", "l", "..", ".", "", "\x00", "a\n", "a\\b", "c:", "aux", ".pyembed-stamp", ".pyembed-x", "__pycache__",
		"é", "e\u0301", strings.Repeat("n", 300), "canary", "tmp", "x.pyc", "outside"}
	targets := []string{"b", "..", "../b", "../outside", "../../outside/canary", s.outside, strings.Repeat("../", 20) + "etc", "a/../..", "lib", "lib/..", ".", "./l", "l", "",
		"a\x00", "../tree.lock"}
	m := &manifest.Manifest{Version: manifest.Version, Codec: pick(in, []payload.Codec{payload.Gzip, payload.Zstd, payload.None, ""})}
	mood := in.next()
	right := mood%4 == 0
	if mood%8 >= 6 {
		m.Version, m.Codec = 0, ""
	}
	for i := range 1 + in.next()%16 {
		var e manifest.Entry
		switch kind := in.next(); {
		case right:
			e.Name = pick(in, []string{"", "lib/", "bin/", "lib/a/"}) + string(rune('a'+i)) + ".py"
		case kind%16 == 0:
			e.Name = s.outside + "/new"
		case kind%16 == 1:
			e.Name = "../outside/new"
		default:
			names := make([]string, 1+in.next()%3)
			for i := range names {
				names[i] = pick(in, elements)
			}
			e.Name = strings.Join(names, "/")
		}
		switch kind := in.next() % 8; {
		case kind == 0:
			e.Mode = fs.ModeDir | 0o755
		case kind == 1 && right:
			e.Mode, e.Symlink = fs.ModeSymlink, pick(in, []string{"x", "./y/z", "a.py"})
		case kind == 1:
			e.Mode, e.Symlink = fs.ModeSymlink, pick(in, targets)
		default:
			e.Mode = pick(in, []fs.FileMode{0o644, 0o755, 0, 0o777, fs.ModeSetuid | 0o777})
			s.makeFile(m, &e, in, files)
			if !right {
				spoil(&e, in)
			}
		}
		m.Files = append(m.Files, e)
	}
	return m
}

// makeFile gives the entry a payload that is right, as its codec and chunks are.
func (s *sandbox) makeFile(m *manifest.Manifest, e *manifest.Entry, in *decisions, files fstest.MapFS) {
	content := bytes.Repeat(in.take(in.next()%32), 1+in.next())
	sum := sha256.Sum256(content)
	e.Size, e.SHA256 = int64(len(content)), hex.EncodeToString(sum[:])
	stored := content
	e.Compressed, e.Chunks, e.Stored = false, nil, nil
	if m.Codec != payload.None && in.next()%2 == 0 {
		e.Compressed = true
		switch m.Codec {
		case payload.Zstd:
			enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(64<<10))
			if err != nil {
				panic(err)
			}
			stored = enc.EncodeAll(content, nil)
		default:
			stored = nil
			for rest := content; ; {
				piece := rest
				if cut := in.next() % 8; cut > 0 && m.Codec == payload.Gzip && m.Version == manifest.Version {
					piece = rest[:min(len(rest), cut*len(content)/8+1)]
				}
				member, _, err := payload.Deflate(piece)
				if err != nil {
					panic(err)
				}
				stored = append(stored, member...)
				e.Chunks = append(e.Chunks, payload.Chunk{int64(len(piece)), int64(len(member))})
				if rest = rest[len(piece):]; len(rest) == 0 {
					break
				}
			}
			if len(e.Chunks) < 2 {
				e.Chunks = nil
			}
		}
	}
	if n := int64(len(stored)); in.next()%8 != 1 || len(e.Chunks) > 0 {
		e.Stored = &n
	}
	if in.next()%8 == 1 {
		e.Path = payload.Escaped(e.Name)
	}
	if src := m.Source(nil, e); fs.ValidPath(src.Path) {
		files[src.Path] = &fstest.MapFile{Data: stored}
	}
}

// spoil makes what a manifest says of a file wrong, or leaves it.
func spoil(e *manifest.Entry, in *decisions) {
	switch in.next() % 16 {
	case 1:
		e.Size++
	case 2:
		e.Size--
	case 3:
		e.SHA256 = strings.Repeat("0", 64)
	case 4:
		e.Size = 1 << 40
	case 5:
		if len(e.Chunks) > 1 {
			e.Chunks[0], e.Chunks[1] = e.Chunks[1], e.Chunks[0]
		}
	case 6:
		e.Mode |= fs.ModeDevice
	}
}

// addPayloads gives files that have none one that is right, or the next of the
// fuzzer's bytes. It returns how many bytes are declared that may come to be written,
// -1 if they are too many for a test.
func (s *sandbox) addPayloads(m *manifest.Manifest, in *decisions, files fstest.MapFS) int64 {
	var declared int64
	for i := range m.Files {
		e := &m.Files[i]
		if e.Kind() != manifest.File {
			continue
		}
		src := m.Source(nil, e)
		if _, ok := files[src.Path]; !ok && fs.ValidPath(src.Path) {
			if in.next()%4 == 0 && e.Path == "" {
				s.makeFile(m, e, in, files)
				src = m.Source(nil, e)
			} else {
				files[src.Path] = &fstest.MapFile{Data: slices.Clone(in.take(in.next()))}
			}
		}
		wrote := e.Size
		if src.Codec == payload.None {
			wrote = 0
			if f := files[src.Path]; f != nil {
				wrote = min(e.Size, int64(len(f.Data)))
			}
		}
		if e.Size > mostDeclared && src.Codec != payload.None {
			wrote = 64 << 10 // no payload of the fuzzer's is worth much more
		}
		declared += max(0, wrote)
		if declared > mostDeclared || len(m.Files) > 256 {
			return -1
		}
	}
	return declared
}

// run opens the bundle, damages the tree, opens it again, and removes it.
func (s *sandbox) run(t *testing.T, m *manifest.Manifest, files fstest.MapFS, script *decisions) {
	if m.Version == manifest.Version {
		m.ContentHash = manifest.Hash(m.Files)
	}
	data, err := m.Encode()
	if err != nil {
		return
	}
	files[manifest.FileName] = &fstest.MapFile{Data: data}
	b, err := NewBundle(files)
	if err != nil {
		return
	}
	how := script.next()
	opt := Options{Level: Level(how % 3), InPlace: how/3%2 == 1}
	if opt.InPlace {
		s.prepare(t, script)
	}
	tree, err := s.open(t, b, opt, "at first")
	if err != nil {
		if opt.InPlace {
			return
		}
		if _, err := os.Lstat(s.tree); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a tree is left though it failed: %v", err)
		}
		return
	}
	s.checkTree(t, b, opt)
	tree.Release()
	opt.Level = Level(script.next() % 3)
	for len(script.bytes) > 0 {
		s.damage(t, b, script)
	}
	tree, err = s.open(t, b, opt, "after the damage")
	if err != nil {
		return
	}
	if opt.Level == Hash || opt.Level == Stat && !s.trusted {
		s.checkTree(t, b, opt)
	}
	if _, err := tree.Remove(); err != nil {
		t.Logf("remove: %v", err)
	}
	s.checkOutside(t, "after the removal")
}

// prepare makes the caller's directory with what is in it: links that lead outside.
func (s *sandbox) prepare(t *testing.T, script *decisions) {
	must(t, os.Mkdir(s.tree, 0o755))
	for range script.next() % 4 {
		name := pick(script, []string{"a", "b", "lib", "l", "A"})
		target := pick(script, []string{"../../outside", "../../outside/canary", s.outside, "../../outside/new"})
		os.Symlink(target, filepath.Join(s.tree, name))
	}
}

// open opens the tree, and looks at what that did.
func (s *sandbox) open(t *testing.T, b *Bundle, opt Options, when string) (*Tree, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var tree *Tree
	var err error
	if got := allocated(func() { tree, err = Open(ctx, b, s.tree, opt) }); got > mostAllocated {
		t.Errorf("%s: %d bytes were allocated", when, got)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s: %v", when, err)
	}
	s.checkOutside(t, when)
	return tree, err
}

// checkTree makes sure that the tree is what the manifest says.
func (s *sandbox) checkTree(t *testing.T, b *Bundle, opt Options) {
	m, err := b.Manifest()
	if err != nil {
		return // of a tree that only its stamp was read of
	}
	named := make(map[string]bool)
	var written int64
	for i := range m.Files {
		e := &m.Files[i]
		for name := e.Name; name != "."; name = path.Dir(name) {
			named[name] = true
		}
		at := filepath.Join(s.tree, e.Name)
		info, err := os.Lstat(at)
		if err != nil {
			t.Errorf("%q: %v", e.Name, err)
			continue
		}
		switch e.Kind() {
		case manifest.Dir:
			if !info.IsDir() {
				t.Errorf("%q is %v", e.Name, info.Mode())
			}
		case manifest.Link:
			if target, err := os.Readlink(at); err != nil || target != e.Symlink {
				t.Errorf("%q leads to %q, %v", e.Name, target, err)
			}
		case manifest.File:
			written += info.Size()
			if info.Mode() != e.Perm() || info.Size() != e.Size {
				t.Errorf("%q is %v of %d bytes", e.Name, info.Mode(), info.Size())
			}
			if got := fileSum(t, at); e.SHA256 != "" && got != e.SHA256 {
				t.Errorf("%q has sha256 %s", e.Name, got)
			}
		}
	}
	if written > s.declared {
		t.Errorf("%d bytes were written, %d declared", written, s.declared)
	}
	if opt.InPlace || opt.Level != Hash {
		return
	}
	must(t, filepath.WalkDir(s.tree, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(s.tree, p)
		if err == nil && rel != "." && !named[rel] && !strings.HasPrefix(rel, manifest.Reserved) {
			err = fmt.Errorf("%s is in the tree", rel)
		}
		return err
	}))
}

// damage does something to one entry of the tree, or to its stamp.
func (s *sandbox) damage(t *testing.T, b *Bundle, script *decisions) {
	action := script.next()
	var paths []string
	filepath.WalkDir(s.tree, func(p string, d fs.DirEntry, err error) error {
		if err == nil && p != s.tree && d.Name() != stampName {
			paths = append(paths, p)
		}
		return nil
	})
	stampPath := filepath.Join(s.tree, stampName)
	if len(paths) == 0 {
		paths = []string{filepath.Join(s.tree, "a")}
	}
	at := pick(script, paths)
	// Nothing above may be a link by now, or the test itself would damage the outside.
	for above := filepath.Dir(at); above != s.dir; above = filepath.Dir(above) {
		if info, err := os.Lstat(above); err != nil || !info.IsDir() {
			return
		}
	}
	switch action % 14 {
	case 0:
		os.RemoveAll(at)
	case 1:
		if info, err := os.Lstat(at); err == nil && info.Mode().IsRegular() {
			os.Truncate(at, info.Size()/2)
		}
	case 2:
		os.RemoveAll(at)
		os.Symlink(pick(script, []string{s.outside, filepath.Join(s.outside, "canary"), "../outside/new", filepath.Join(s.outside, "new")}), at)
	case 3:
		os.RemoveAll(at)
		os.Mkdir(at, 0o755)
		os.Symlink(s.outside, filepath.Join(at, "a"))
		os.WriteFile(filepath.Join(at, "x.pyc"), []byte("x"), 0o644)
	case 4:
		os.RemoveAll(at)
		unix.Mkfifo(at, 0o644)
	case 5: // a change that lstat does not show
		if info, err := os.Lstat(at); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			if f, err := os.OpenFile(at, os.O_RDWR, 0); err == nil {
				var one [1]byte
				f.ReadAt(one[:], 0)
				one[0] ^= 1
				f.WriteAt(one[:], 0)
				f.Close()
				os.Chtimes(at, info.ModTime(), info.ModTime())
				s.trusted = true
			}
		}
	case 6:
		if info, err := os.Lstat(at); err == nil && info.Mode().Type() != fs.ModeSymlink {
			os.Chmod(at, pick(script, []fs.FileMode{0, 0o777, 0o644, 0o7755}))
		}
	case 7: // extra files
		extra := filepath.Join(s.tree, "sitecustomize.py")
		os.RemoveAll(extra)
		os.WriteFile(extra, []byte("x"), 0o644)
		os.Symlink(s.outside, filepath.Join(s.tree, "extra"))
	case 8:
		os.Remove(stampPath)
		s.trusted = true
		os.WriteFile(stampPath, script.take(64), 0o644)
	case 9: // an older bundle's stamp, which says that files outside are its own
		s.trusted = true
		st, err := newStatter(s.tree)
		if err != nil {
			return
		}
		defer st.close()
		records := make(map[string]record)
		for _, name := range []string{"../../outside/canary", "../canary", s.outside + "/canary", "extra/canary", "lib/canary", "a/canary", "l/canary", "b/canary"} {
			if r, err := st.lstat(name); err == nil {
				records[name] = r
			}
		}
		identity := b.Identity
		if script.next()%2 == 0 {
			identity = strings.Repeat("0", 64)
		}
		os.Remove(stampPath)
		os.WriteFile(stampPath, newStamp(identity, records).encode(), 0o644)
	case 10:
		os.Remove(stampPath)
		os.Symlink(filepath.Join(s.outside, "canary"), stampPath)
	case 11: // the tree itself
		os.RemoveAll(s.tree)
		switch script.next() % 3 {
		case 1:
			os.Symlink(s.outside, s.tree)
		case 2:
			os.WriteFile(s.tree, []byte("x"), 0o644)
		}
	case 12:
		os.Remove(stampPath)
		if script.next()%2 == 0 {
			unix.Mkfifo(stampPath, 0o644)
		} else {
			os.Mkdir(stampPath, 0o755)
		}
	case 13: // a link to where all is as it should be, but which is outside
		if moved := filepath.Join(s.dir, "moved"); os.Rename(at, moved) == nil {
			os.Symlink(moved, at)
			s.before = s.listing(t)
		}
	}
}

// fileSum is the sha256 of a file.
func fileSum(t *testing.T, path string) string {
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	must(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// must ends the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
