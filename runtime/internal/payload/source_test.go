package payload_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"runtime"
	"slices"
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
	enc, err := zstd.NewWriter(nil, zstd.WithZeroFrames(true))
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

// frame is a zstd frame by hand (RFC 8878): a header that asks for the window of
// 1<<windowLog bytes, or says the content's size if windowLog is 0, and one RLE block.
func frame(windowLog int, size uint32, block int) []byte {
	out := []byte{0x28, 0xb5, 0x2f, 0xfd}
	if windowLog > 0 {
		out = append(out, 0, byte(windowLog-10)<<3)
	} else {
		out = binary.LittleEndian.AppendUint32(append(out, 0xa0), size)
	}
	head := uint32(block)<<3 | 1<<1 | 1 // the size, RLE, the last one
	return append(out, byte(head), byte(head>>8), byte(head>>16), 'x')
}

// TestFrames: a zstd payload is refused at once when it holds another number of bytes
// than the manifest says, or asks for more memory than its content can need, in its
// first frame or in a later one.
func TestFrames(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 1000)
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0}, "skip"...)
	for name, c := range map[string]struct {
		stored []byte
		right  bool
	}{
		"one frame":                     {frame(0, 1000, 1000), true},
		"no size":                       {frame(20, 0, 1000), true},
		"two frames":                    {append(frame(20, 0, 600), frame(20, 0, 400)...), true},
		"another size":                  {frame(0, 1001, 1000), false},
		"less than it says":             {frame(0, 1000, 999), false},
		"a window of 2 MiB":             {frame(21, 0, 1000), false},
		"a window of 128 MiB":           {frame(27, 0, 1000), false},
		"a segment of 4 GiB":            {frame(0, 1<<32-1, 1000), false},
		"a window of 128 MiB later":     {append(frame(20, 0, 600), frame(27, 0, 400)...), false},
		"a segment of 4 GiB later":      {append(frame(20, 0, 1000), frame(0, 1<<32-1, 0)...), false},
		"more in a later frame":         {append(frame(0, 1000, 1000), frame(0, 1, 1)...), false},
		"a skippable frame at first":    {append(slices.Clone(skippable), frame(0, 1000, 1000)...), false},
		"only a skippable frame":        {skippable, false},
		"nothing":                       {nil, false},
		"a cut header":                  {frame(0, 1000, 1000)[:6], false},
		"a cut block":                   {frame(0, 1000, 1000)[:12], false},
		"something behind it":           {append(frame(0, 1000, 1000), 0), false},
		"a dictionary":                  {append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x01, 10 << 3, 7}, frame(20, 0, 1000)[6:]...), false},
		"a skippable frame of 4 GiB":    {append(frame(0, 1000, 1000), 0x50, 0x2a, 0x4d, 0x18, 255, 255, 255, 255), false},
		"a block of the reserved type":  {append(frame(20, 0, 1000)[:6], 7, 0, 0), false},
		"a raw block longer than there": {append(frame(20, 0, 1000)[:6], 0x41, 0x1f, 0, 'x'), false},
	} {
		var r payload.Reader
		var got []byte
		var err error
		allocated := allocation(func() { got, err = read(&r, source(payload.Zstd, content, c.stored)) })
		r.Close()
		if c.right && (err != nil || !bytes.Equal(got, content)) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if !c.right && (!errors.Is(err, payload.Err) || len(got) >= len(content)) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if name == "another size" && !strings.Contains(err.Error(), "holds 1001 bytes") {
			t.Errorf("%s: it is found too late: %v", name, err)
		}
		if allocated > 8<<20 {
			t.Errorf("%s: %d bytes were allocated", name, allocated)
		}
	}
}

// TestMembers: what a gzip header may hold beside the content costs no memory to
// speak of, and nothing but members may follow a member.
func TestMembers(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 1000)
	whole := gz(t, content)
	header := func(flags byte, rest ...byte) []byte { // instead of the ten bytes of a plain header
		return append(append([]byte{0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255}, rest...), whole[10:]...)
	}
	empty := gz(t, nil)
	for name, c := range map[string]struct {
		stored []byte
		right  bool
	}{
		"extra field":              {header(1<<2, append([]byte{255, 255}, make([]byte, 65535)...)...), true},
		"name and comment":         {header(1<<3|1<<4, append(bytes.Repeat([]byte{0xe9}, 500), 0, 'c', 0)...), true},
		"empty members":            {append(slices.Clone(whole), bytes.Repeat(empty, 1000)...), true},
		"cut extra field":          {header(1<<2, 255, 255), false},
		"name that is too long":    {header(1<<3, append(bytes.Repeat([]byte("n"), 100_000), 0)...), false},
		"name without an end":      {header(1 << 3)[:10], false},
		"nothing":                  {nil, false},
		"zeros behind it":          {append(slices.Clone(whole), make([]byte, 16)...), false},
		"another content behind":   {append(slices.Clone(whole), whole...), false},
		"a cut member behind":      {append(slices.Clone(whole), empty[:12]...), false},
		"reserved bits in a flag":  {header(1 << 6), false},
		"another method":           {append([]byte{0x1f, 0x8b, 9}, whole[3:]...), false},
		"another sum":              {append(append([]byte{}, whole[:len(whole)-8]...), 1, 2, 3, 4, 232, 3, 0, 0), false},
		"another size in its end":  {append(append([]byte{}, whole[:len(whole)-4]...), 1, 2, 3, 4), false},
		"a member of a large file": {gz(t, make([]byte, 16<<20)), false},
	} {
		var r payload.Reader
		var got []byte
		var err error
		allocated := allocation(func() { got, err = read(&r, source(payload.Gzip, content, c.stored)) })
		if c.right && (err != nil || !bytes.Equal(got, content)) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if !c.right && (!errors.Is(err, payload.Err) || len(got) >= len(content)) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if allocated > 1<<20 {
			t.Errorf("%s: %d bytes were allocated", name, allocated)
		}
	}
}

// TestWindow: a frame of a large file may have the window that libzstd gives it at
// level 22, whole content or 128 MiB.
func TestWindow(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	for _, single := range []bool{true, false} {
		enc, err := zstd.NewWriter(nil, zstd.WithSingleSegment(single), zstd.WithWindowSize(8<<20))
		if err != nil {
			t.Fatal(err)
		}
		var r payload.Reader
		if got, err := read(&r, source(payload.Zstd, content, enc.EncodeAll(content, nil))); err != nil || !bytes.Equal(got, content) {
			t.Errorf("single segment %v: %d bytes, %v", single, len(got), err)
		}
		r.Close()
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
