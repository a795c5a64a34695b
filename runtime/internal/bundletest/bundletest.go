// Package bundletest makes trees and bundles for the tests of this module.
package bundletest

import (
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"pyembed.invalid/runtime/embed_util"
	"pyembed.invalid/runtime/internal/manifest"
)

// Files is a tree by name: a string is a file's content; see Program, Link and Dir.
type Files map[string]any

// A Program is the content of an executable file.
type Program string

// A Link is the target of a symbolic link.
type Link string

// Dir is a directory without files.
type Dir struct{}

// Small has one of everything: a program, links to it and to a directory, a script,
// an empty file, an empty directory, and a name that Go's embed does not carry.
func Small() Files {
	return Files{
		"bin/python3.14":         Program("#!/bin/sh\necho \"$0 $*\"\n"),
		"bin/python3":            Link("python3.14"),
		"lib/python3.14/os.py":   "import sys\nimport sys\nimport sys\nimport sys\nimport sys\n",
		"lib/python3.14/aux.py":  "aux",
		"lib/python3.14/x.py":    "",
		"lib/python3.14/empty":   Dir{},
		"lib/python":             Link("python3.14"),
		"lib/python3.14/a/b.txt": "deep",
	}
}

// Write writes the tree to dir.
func Write(t testing.TB, dir string, files Files) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch c := content.(type) {
		case string:
			check(t, os.WriteFile(path, []byte(c), 0o644))
		case []byte:
			check(t, os.WriteFile(path, c, 0o644))
		case Program:
			check(t, os.WriteFile(path, []byte(c), 0o755))
		case Link:
			check(t, os.Symlink(string(c), path))
		case Dir:
			check(t, os.MkdirAll(path, 0o755))
		default:
			t.Fatalf("%s: %T", name, content)
		}
	}
}

// Gzip makes a gzip bundle of the tree and returns its directory.
func Gzip(t testing.TB, files Files) string {
	t.Helper()
	src, out := t.TempDir(), filepath.Join(t.TempDir(), "bundle")
	Write(t, src, files)
	check(t, embed_util.CopyForEmbed(out, src))
	return out
}

// Zstd makes a zstd bundle of the tree, one frame a file.
func Zstd(t testing.TB, files Files) string {
	t.Helper()
	out := Gzip(t, files)
	enc, err := zstd.NewWriter(nil)
	check(t, err)
	Edit(t, out, func(m *manifest.Manifest) {
		for i := range m.Files {
			e := &m.Files[i]
			if !e.Compressed {
				continue
			}
			from := m.Source(os.DirFS(out), e).Path
			f, err := os.Open(filepath.Join(out, from))
			check(t, err)
			gz, err := gzip.NewReader(f)
			check(t, err)
			raw, err := io.ReadAll(gz)
			check(t, err)
			f.Close()
			frame := enc.EncodeAll(raw, nil)
			stored := int64(len(frame))
			e.Stored, e.Chunks = &stored, nil
			to := e.Path
			if to == "" {
				to = e.Name + ".zst"
				check(t, os.Remove(filepath.Join(out, from)))
			}
			check(t, os.WriteFile(filepath.Join(out, to), frame, 0o644))
		}
		m.Codec = "zstd"
	})
	return out
}

// Legacy turns a gzip bundle without `path` into go-embed-python's format: no
// version, no digests, modes as they come from a checkout with umask 002.
func Legacy(t testing.TB, bundle string) {
	t.Helper()
	type entry struct {
		Name       string      `json:"name"`
		Size       int64       `json:"size"`
		Mode       fs.FileMode `json:"perm"`
		Symlink    string      `json:"symlink,omitempty"`
		Compressed bool        `json:"compressed,omitempty"`
	}
	var old struct {
		ContentHash string  `json:"contentHash"`
		Files       []entry `json:"files"`
	}
	data, err := os.ReadFile(filepath.Join(bundle, manifest.FileName))
	check(t, err)
	check(t, json.Unmarshal(data, &old))
	for i := range old.Files {
		if old.Files[i].Mode.IsRegular() {
			old.Files[i].Mode |= 0o020
		}
	}
	data, err = json.MarshalIndent(old, "", "  ")
	check(t, err)
	check(t, os.WriteFile(filepath.Join(bundle, manifest.FileName), data, 0o644))
}

// Edit changes the manifest of a bundle, without checking what comes out. The
// contentHash is made to fit.
func Edit(t testing.TB, bundle string, change func(m *manifest.Manifest)) {
	t.Helper()
	path := filepath.Join(bundle, manifest.FileName)
	data, err := os.ReadFile(path)
	check(t, err)
	var m manifest.Manifest
	check(t, json.Unmarshal(data, &m))
	change(&m)
	m.ContentHash = manifest.Hash(m.Files)
	data, err = m.Encode()
	check(t, err)
	check(t, os.WriteFile(path, data, 0o644))
}

// Same makes sure that dir holds exactly the tree, apart from what the extraction
// keeps for itself.
func Same(t testing.TB, dir string, files Files) {
	t.Helper()
	want := t.TempDir()
	Write(t, want, files)
	have, wanted := listing(t, dir), listing(t, want)
	for name, text := range wanted {
		if have[name] != text {
			t.Errorf("%s is %.60q, want %.60q", name, have[name], text)
		}
	}
	for name := range have {
		if _, ok := wanted[name]; !ok {
			t.Errorf("%s is there, but not in the tree", name)
		}
	}
}

// listing describes every entry of dir in a string.
func listing(t testing.TB, dir string) map[string]string {
	t.Helper()
	list := make(map[string]string)
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || strings.HasPrefix(rel, manifest.Reserved) {
			return err
		}
		switch d.Type() {
		case fs.ModeDir:
			list[rel] = "dir"
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			list[rel] = "link to " + target
			return err
		default:
			info, err := d.Info()
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			list[rel] = "file: " + string(data)
			if info.Mode()&0o100 != 0 {
				list[rel] = "program: " + string(data)
			}
			return err
		}
		return nil
	}))
	return list
}

// check ends the test on an error.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
