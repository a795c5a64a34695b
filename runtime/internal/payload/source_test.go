package payload_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"

	"pyembed.invalid/runtime/internal/payload"
)

// source is a payload in memory, with all that a manifest says of it.
func source(codec payload.Codec, content, stored []byte) *payload.Source {
	sum := sha256.Sum256(content)
	return &payload.Source{
		FS: fstest.MapFS{"p": {Data: stored}}, Path: "p", Codec: codec,
		Size: int64(len(content)), Stored: int64(len(stored)), SHA256: hex.EncodeToString(sum[:]),
	}
}

func gz(t *testing.T, content []byte) []byte {
	t.Helper()
	data, _, err := payload.Deflate(content)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func zst(t *testing.T, content []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll(content, nil)
}

// read inflates with a small buffer, so that there are several pieces.
func read(r *payload.Reader, s *payload.Source) ([]byte, error) {
	var got []byte
	_, err := r.Each(context.Background(), s, make([]byte, 1000), func(off int64, piece []byte) error {
		if off != int64(len(got)) {
			return errors.New("pieces out of order")
		}
		got = append(got, piece...)
		return nil
	})
	return got, err
}

// TestEach: every codec gives back the content, and one Reader serves all in turn.
func TestEach(t *testing.T) {
	var r payload.Reader
	defer r.Close()
	for _, content := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("abc"), 1000), make([]byte, 1000), make([]byte, 5<<20)} {
		for _, s := range []*payload.Source{
			source(payload.None, content, content),
			source(payload.Gzip, content, gz(t, content)),
			source(payload.Zstd, content, zst(t, content)),
			source(payload.Gzip, content, gz(t, content)),
		} {
			if got, err := read(&r, s); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s, %d bytes: got %d, %v", s.Codec, len(content), len(got), err)
			}
		}
	}
}

// TestBounds: nothing is emitted beyond the size, and what does not fit the manifest
// is an error before its last piece is emitted.
func TestBounds(t *testing.T) {
	content := bytes.Repeat([]byte("abc"), 1000)
	bomb := make([]byte, 8<<20)
	for name, s := range map[string]*payload.Source{
		"gzip bomb":       with(source(payload.Gzip, bomb, gz(t, bomb)), func(s *payload.Source) { s.Size = 10 }),
		"zstd bomb":       with(source(payload.Zstd, bomb, zst(t, bomb)), func(s *payload.Source) { s.Size = 10 }),
		"stored too long": with(source(payload.None, content, content), func(s *payload.Source) { s.Size--; s.Stored = -1 }),
		"too short":       with(source(payload.Gzip, content, gz(t, content)), func(s *payload.Source) { s.Size++ }),
		"other digest":    with(source(payload.Gzip, content, gz(t, content)), func(s *payload.Source) { s.SHA256 = strings.Repeat("0", 64) }),
		"other size":      with(source(payload.Gzip, content, gz(t, content)), func(s *payload.Source) { s.Stored++ }),
		"not gzip":        source(payload.Gzip, content, content),
		"not zstd":        source(payload.Zstd, content, content),
		"trailing bytes":  source(payload.Gzip, content, append(gz(t, content), "xx"...)),
		"cut trailer":     source(payload.Gzip, content, gz(t, content)[:len(gz(t, content))-4]),
		"missing":         with(source(payload.None, content, content), func(s *payload.Source) { s.Path = "q" }),
		"directory":       with(source(payload.None, content, content), func(s *payload.Source) { s.Path = "."; s.Stored = -1 }),
		"unknown codec":   source("xz", content, content),
	} {
		var r payload.Reader
		got, err := read(&r, s)
		if !errors.Is(err, payload.Err) {
			t.Errorf("%s: error is %v", name, err)
		}
		if int64(len(got)) >= max(1, s.Size) {
			t.Errorf("%s: %d bytes were emitted", name, len(got))
		}
		r.Close()
	}
}

func with(s *payload.Source, change func(*payload.Source)) *payload.Source {
	change(s)
	return s
}

// TestChunk: each member of a large file can be inflated by itself, and all of them
// are one valid gzip file.
func TestChunk(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 9<<16)
	data, chunks, err := payload.Deflate(content)
	if err != nil || len(chunks) != 3 {
		t.Fatal(len(chunks), err)
	}
	s := source(payload.Gzip, content, data)
	s.Chunks = chunks
	var r payload.Reader
	if got, err := read(&r, s); err != nil || !bytes.Equal(got, content) {
		t.Errorf("as a whole: %v", err)
	}
	if !s.Parallel() {
		t.Error("it can't be read in parallel")
	}
	raw, off := int64(0), int64(0)
	for i, c := range chunks {
		buf := make([]byte, c.Raw())
		if err := r.Chunk(s, i, off, buf); err != nil || !bytes.Equal(buf, content[raw:raw+c.Raw()]) {
			t.Errorf("chunk %d: %v", i, err)
		}
		if err := r.Chunk(s, i, off, buf[:len(buf)-1]); !errors.Is(err, payload.Err) {
			t.Errorf("chunk %d of another size: %v", i, err)
		}
		raw, off = raw+c.Raw(), off+c.Stored()
	}
}
