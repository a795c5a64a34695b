package payload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math/bits"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// minWindow and maxWindow are between what zstd frames may ask for, in bytes; see
// window. Level 22 of zstd uses at most 128 MiB.
const (
	minWindow = 1 << 20
	maxWindow = 128 << 20
)

// A Source is one file's payload and what its manifest promises about it.
type Source struct {
	FS     fs.FS
	Path   string  // of the payload in FS
	Codec  Codec   // None for a stored file
	Size   int64   // of the content, in bytes
	Stored int64   // of the payload, in bytes; -1 when the manifest does not say
	Chunks []Chunk // gzip members, for a payload that has several
	SHA256 string  // of the content in hex; "" when the manifest does not say
}

// errorf wraps Err and names the payload.
func (s *Source) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", Err, s.Path, fmt.Errorf(format, args...))
}

// open opens the payload and compares its size with the manifest's.
func (s *Source) open() (fs.File, error) {
	f, err := s.FS.Open(s.Path)
	if err != nil {
		return nil, s.errorf("%w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, s.errorf("%w", err)
	}
	if !info.Mode().IsRegular() {
		f.Close()
		return nil, s.errorf("not a regular file")
	}
	if s.Stored >= 0 && info.Size() != s.Stored {
		f.Close()
		return nil, s.errorf("%d bytes, want %d", info.Size(), s.Stored)
	}
	return f, nil
}

// A Reader inflates payloads, one at a time, and keeps its decoders between them.
// The zero value is ready; Close frees what it holds.
type Reader struct {
	gz gzip.Reader
	zs *zstd.Decoder

	stored []byte       // a gzip payload or member, see readAhead
	ahead  bytes.Reader // of stored
}

// Close frees the decoders.
func (r *Reader) Close() {
	if r.zs != nil {
		r.zs.Close()
		r.zs = nil
	}
}

// readAhead reads size bytes of gzip and gives them as the kind of reader for which the
// decoder has its fastest loop: inflating takes a fifth less. What is larger than a
// chunk, which no payload of pyembed-gen is, is left as it is.
func (r *Reader) readAhead(src io.Reader, size int64) (io.Reader, error) {
	if size < 0 || size > ChunkSize {
		return src, nil
	}
	if int64(cap(r.stored)) < size {
		r.stored = make([]byte, max(1<<16, 1<<bits.Len64(uint64(size))))
	}
	r.stored = r.stored[:size]
	if _, err := io.ReadFull(src, r.stored); err != nil {
		return nil, noEOF(err)
	}
	r.ahead.Reset(r.stored)
	return &r.ahead, nil
}

// decoder returns what inflates src with codec. src is stored bytes long, or of unknown
// length if that is negative, and should hold size bytes.
func (r *Reader) decoder(codec Codec, src io.Reader, stored, size int64) (io.Reader, error) {
	switch codec {
	case Gzip:
		src, err := r.readAhead(src, stored)
		if err != nil {
			return nil, err
		}
		if err := r.gz.Reset(src); err != nil {
			return nil, noEOF(err)
		}
		return &r.gz, nil
	case Zstd:
		return r.unzstd(src, size)
	case None:
		return src, nil
	default:
		return nil, fmt.Errorf("unknown codec %q", codec)
	}
}

// unzstd looks at the header of a zstd frame before it decodes: a frame says how
// much memory it wants, and gets no more than its content can be worth.
func (r *Reader) unzstd(src io.Reader, size int64) (io.Reader, error) {
	start := make([]byte, zstd.HeaderMaxSize)
	n, err := io.ReadFull(src, start)
	if err != nil && err != io.ErrUnexpectedEOF {
		return nil, noEOF(err)
	}
	var head zstd.Header
	if err := head.Decode(start[:n]); err != nil {
		return nil, err
	}
	switch {
	case head.Skippable:
		return nil, errors.New("no zstd frame at the start")
	case head.HasFCS && head.FrameContentSize != uint64(size):
		return nil, fmt.Errorf("the zstd frame holds %d bytes, want %d", head.FrameContentSize, size)
	}
	if r.zs == nil {
		// One goroutine, and no more memory than a window and a block.
		r.zs, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
	}
	// The option holds for every frame of the payload.
	in := io.MultiReader(bytes.NewReader(start[:n]), src)
	if err := r.zs.ResetWithOptions(in, zstd.WithDecoderMaxWindow(window(size))); err != nil {
		return nil, err
	}
	return r.zs, nil
}

// window is how large the window of a frame with size bytes of content may be. An
// encoder that knows the size, as ours does, asks for at most the next power of two.
func window(size int64) uint64 {
	return min(max(minWindow, uint64(1)<<bits.Len64(uint64(size))), maxWindow)
}

// Each inflates the whole payload through buf, which must not be empty, and calls
// emit for every bufferful in order. The last piece is only handed to emit after
// the size and the digest of all have been found right; a file that fits buf is
// therefore seen whole and right, or not at all. An empty file has one empty piece.
// It returns the content's sha256 in hex.
func (r *Reader) Each(ctx context.Context, s *Source, buf []byte, emit func(off int64, piece []byte) error) (string, error) {
	f, err := s.open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	in, err := r.decoder(s.Codec, f, s.Stored, s.Size)
	if err != nil {
		return "", s.errorf("%w", err)
	}
	sum := sha256.New()
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		piece := buf[:min(int64(len(buf)), s.Size-off)]
		if n, err := io.ReadFull(in, piece); err != nil {
			return "", s.errorf("after %d of %d bytes: %w", off+int64(n), s.Size, noEOF(err))
		}
		sum.Write(piece)
		last := off+int64(len(piece)) == s.Size
		if last {
			if err := atEnd(in); err != nil {
				return "", s.errorf("after %d bytes: %w", s.Size, err)
			}
			if err := s.checkSum(sum); err != nil {
				return "", err
			}
		}
		if err := emit(off, piece); err != nil {
			return "", err
		}
		if last {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		off += int64(len(piece))
	}
}

// Chunk inflates member i, which starts off bytes into the payload, into buf, whose
// length must be the member's raw size. The digest of a whole file is its caller's.
func (r *Reader) Chunk(s *Source, i int, off int64, buf []byte) error {
	f, err := s.open()
	if err != nil {
		return err
	}
	defer f.Close()
	at, err := readerAt(f, s)
	if err != nil {
		return err
	}
	chunk := s.Chunks[i]
	in, err := r.decoder(Gzip, io.NewSectionReader(at, off, chunk.Stored()), chunk.Stored(), chunk.Raw())
	if err != nil {
		return s.errorf("chunk %d: %w", i, err)
	}
	if _, err := io.ReadFull(in, buf); err != nil {
		return s.errorf("chunk %d: %w", i, noEOF(err))
	}
	if err := atEnd(in); err != nil {
		return s.errorf("chunk %d: %w", i, err)
	}
	return nil
}

// Parallel reports whether the members of s can be inflated apart: there are
// several, and the file system lets a file be read at an offset.
func (s *Source) Parallel() bool {
	if s.Codec != Gzip || len(s.Chunks) < 2 {
		return false
	}
	f, err := s.open()
	if err != nil {
		return false
	}
	defer f.Close()
	_, ok := f.(io.ReaderAt)
	return ok
}

// readerAt is f as an io.ReaderAt, as embed.FS and os.DirFS give it.
func readerAt(f fs.File, s *Source) (io.ReaderAt, error) {
	at, ok := f.(io.ReaderAt)
	if !ok {
		return nil, s.errorf("%T can't be read at an offset", f)
	}
	return at, nil
}

// checkSum compares a finished digest with the manifest's, if it has one.
func (s *Source) checkSum(sum hash.Hash) error {
	if s.SHA256 == "" {
		return nil
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != s.SHA256 {
		return s.errorf("content has sha256 %s, want %s", got, s.SHA256)
	}
	return nil
}

// CheckSum is checkSum for a caller that hashed chunks itself.
func (s *Source) CheckSum(sum hash.Hash) error { return s.checkSum(sum) }

// atEnd makes sure that nothing follows, and lets a decoder check its trailer.
func atEnd(in io.Reader) error {
	var one [1]byte
	switch n, err := io.ReadFull(in, one[:]); {
	case n > 0:
		return errors.New("more content than the manifest says")
	case err != io.EOF:
		return err
	default:
		return nil
	}
}

// noEOF keeps io.EOF from escaping as if it were a clean end.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Deflate gives raw as a gzip payload, in members of ChunkSize when it is larger,
// with the sizes of the members. The bytes depend on the version of the compressor.
func Deflate(raw []byte) ([]byte, []Chunk, error) {
	var out bytes.Buffer
	var chunks []Chunk
	for rest := raw; ; {
		piece := rest[:min(len(rest), ChunkSize)]
		before := out.Len()
		gz, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
		if err != nil {
			return nil, nil, err
		}
		if _, err := gz.Write(piece); err != nil {
			return nil, nil, err
		}
		if err := gz.Close(); err != nil {
			return nil, nil, err
		}
		chunks = append(chunks, Chunk{int64(len(piece)), int64(out.Len() - before)})
		if rest = rest[len(piece):]; len(rest) == 0 {
			break
		}
	}
	if len(chunks) == 1 {
		chunks = nil
	}
	return out.Bytes(), chunks, nil
}
