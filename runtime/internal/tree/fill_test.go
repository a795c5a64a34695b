package tree

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"pyembed.invalid/runtime/internal/payload"
)

// A slowFS has one file of which the start can't be read before all other rooms are in
// use.
type slowFS struct {
	fstest.MapFS
	others *atomic.Int64
	enough int64
	full   chan struct{}
}

type slowFile struct {
	fs.File
	*bytes.Reader
	fsys *slowFS
}

func (s *slowFS) Open(name string) (fs.File, error) {
	f, err := s.MapFS.Open(name)
	return &slowFile{File: f, Reader: bytes.NewReader(s.MapFS[name].Data), fsys: s}, err
}

func (f *slowFile) Read(p []byte) (int, error) { return f.Reader.Read(p) }

func (f *slowFile) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		<-f.fsys.full
	} else if f.fsys.others.Add(1) == f.fsys.enough {
		close(f.fsys.full)
	}
	return f.Reader.ReadAt(p, off)
}

// TestFillFails: when a chunk is damaged for which all others wait, fill ends, whoever is
// next to take a room.
func TestFillFails(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	const chunks = 16
	data, sizes, err := payload.Deflate(make([]byte, chunks*payload.ChunkSize))
	if err != nil {
		t.Fatal(err)
	}
	data[sizes[0].Stored()-1]++ // the size at the end of the first member
	for range 20 {
		fsys := &slowFS{
			MapFS:  fstest.MapFS{"x.gz": {Data: data}},
			others: new(atomic.Int64),
			enough: 1 + spareBuffers,
			full:   make(chan struct{}),
		}
		src := &payload.Source{
			FS: fsys, Path: "x.gz", Codec: payload.Gzip,
			Size: chunks * payload.ChunkSize, Stored: int64(len(data)), Chunks: sizes,
		}
		err := fill(context.Background(), []job{{src: src, dest: filepath.Join(t.TempDir(), "x")}}, nil)
		if !errors.Is(err, payload.ErrCorrupt) {
			t.Fatalf("error is %v", err)
		}
		if n := fsys.others.Load(); n > chunks/2 {
			t.Errorf("%d chunks were read after the damage", n)
		}
	}
}
