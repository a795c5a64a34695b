package tree

import (
	"context"
	"crypto/sha256"
	"hash"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"

	"pyembed.invalid/runtime/internal/payload"
)

// A job is one file to be written to dest, which must not exist.
type job struct {
	src        *payload.Source
	dest       string
	executable bool
}

// A task is a job, or one chunk of it.
type task struct {
	*job
	whole *chunked // nil for a job that is done in one go
	chunk int
	raw   int64 // offset of the chunk in the content
	off   int64 // offset of the chunk in the payload
}

// maxWorkers bounds the workers, and with the spare buffers the memory: more would wait
// for the file system.
const maxWorkers = 8

// spareBuffers is how many chunks may wait to be hashed without a worker waiting.
const spareBuffers = 2

// buffers are rooms for a chunk each, nil until it is first needed. A worker takes one
// before it takes a task: so the chunk that others wait for always has one.
type buffers chan []byte

// newBuffers makes n of them.
func newBuffers(n int) buffers {
	b := make(buffers, n)
	for range n {
		b <- nil
	}
	return b
}

// fill inflates and writes all jobs with as many workers as there are processors.
// When it fails, files may be left half written. progress, which may be nil, gets
// the number of bytes that were written, never two calls at a time.
func fill(ctx context.Context, jobs []job, progress func(n int64)) error {
	parent := ctx
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var mu sync.Mutex
	report := func(n int64) {
		if progress != nil && n > 0 {
			mu.Lock()
			defer mu.Unlock()
			progress(n)
		}
	}
	tasks := split(jobs)
	var next atomic.Int64
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(tasks), maxWorkers)
	rooms := newBuffers(workers + spareBuffers)
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w := worker{report: report, rooms: rooms}
			defer w.reader.Close()
			for {
				w.buf = <-rooms
				i := next.Add(1) - 1
				if i >= int64(len(tasks)) || ctx.Err() != nil {
					rooms <- w.buf
					return
				}
				if err := w.do(ctx, &tasks[i]); err != nil {
					cancel(err) // before others can take the room for a task that waits for ours
				}
				if w.buf != nil {
					rooms <- w.buf
				}
			}
		}()
	}
	wg.Wait()
	if err := parent.Err(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// split turns jobs into tasks: the chunks of large files first and in order, then
// the other files from large to small, so that no worker is left with a large one.
func split(jobs []job) []task {
	tasks := make([]task, 0, len(jobs))
	var rest []task
	for i := range jobs {
		j := &jobs[i]
		if !j.src.Parallel() {
			rest = append(rest, task{job: j})
			continue
		}
		whole := &chunked{job: j, sum: sha256.New(), done: make([][]byte, len(j.src.Chunks))}
		var raw, off int64
		for c, chunk := range j.src.Chunks {
			tasks = append(tasks, task{job: j, whole: whole, chunk: c, raw: raw, off: off})
			raw += chunk.Raw()
			off += chunk.Stored()
		}
	}
	sort.SliceStable(rest, func(a, b int) bool { return rest[a].src.Size > rest[b].src.Size })
	return append(tasks, rest...)
}

// A worker does one task at a time, with decoders and a buffer of its own.
type worker struct {
	reader payload.Reader
	rooms  buffers
	buf    []byte // of rooms; nil when it was handed on
	report func(n int64)
}

// do does a task.
func (w *worker) do(ctx context.Context, t *task) error {
	if t.whole != nil {
		return w.doChunk(t)
	}
	_, err := w.reader.Each(ctx, t.src, w.buffer(t.src.Size), func(off int64, piece []byte) error {
		if err := writePiece(t.dest, off, piece, t.executable, off == 0); err != nil {
			return err
		}
		w.report(int64(len(piece)))
		return nil
	})
	return err
}

// doChunk inflates and writes one chunk, and hands it over to be hashed.
func (w *worker) doChunk(t *task) error {
	buf := w.buffer(t.src.Chunks[t.chunk].Raw())
	if err := t.whole.create(); err != nil {
		return err
	}
	if err := w.reader.Chunk(t.src, t.chunk, t.off, buf); err != nil {
		return err
	}
	if err := writePiece(t.dest, t.raw, buf, t.executable, false); err != nil {
		return err
	}
	w.report(int64(len(buf)))
	w.buf = nil
	return t.whole.hash(t.chunk, buf, w.rooms)
}

// buffer is room for a file, or for a piece of a large one.
func (w *worker) buffer(size int64) []byte {
	want := int(max(1, min(size, payload.ChunkSize)))
	if cap(w.buf) < want {
		w.buf = make([]byte, max(want, 64<<10))
	}
	return w.buf[:want]
}

// chunked is a file whose chunks are written in any order. The digest needs them
// in order: whoever brings the next one hashes it and all that wait behind it. No more
// wait than there are rooms.
type chunked struct {
	*job
	once sync.Once
	err  error

	mu      sync.Mutex
	sum     hash.Hash
	done    [][]byte // chunks that are written but not hashed
	next    int      // the chunk to be hashed next
	hashing bool     // somebody is at it, without the mutex
}

// create makes the empty file once, whichever chunk comes first.
func (c *chunked) create() error {
	c.once.Do(func() { c.err = writePiece(c.dest, 0, nil, c.executable, true) })
	return c.err
}

// hash takes chunk i; after the last one it compares the digest. Chunks that are hashed
// go back to rooms.
func (c *chunked) hash(i int, buf []byte, rooms buffers) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[i] = buf
	if c.hashing {
		return nil
	}
	c.hashing = true
	for c.next < len(c.done) && c.done[c.next] != nil {
		piece := c.done[c.next]
		c.done[c.next] = nil
		c.mu.Unlock()
		c.sum.Write(piece)
		rooms <- piece
		c.mu.Lock()
		c.next++
	}
	c.hashing = false
	if c.next < len(c.done) {
		return nil
	}
	return c.src.CheckSum(c.sum)
}
