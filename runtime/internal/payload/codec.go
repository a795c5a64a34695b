// Package payload is the bytes of a bundle: where the payload of an entry lies,
// how it is compressed, and how it is read back within the bounds and to the
// digest that its manifest promises.
//
// It knows nothing of trees or of the manifest's own rules; the caller gives it a
// Source for each file. It never reads more of a payload than the Source allows,
// and never returns success for content that does not match the digest.
package payload

import (
	"errors"
	"fmt"
)

// ErrCorrupt is wrapped by every error about a bundle that is not what it should be.
var ErrCorrupt = errors.New("corrupt bundle")

// Err is wrapped by every error about a payload that is missing, damaged,
// or not what its manifest says.
var Err = fmt.Errorf("%w: payload does not match its manifest (it was damaged before the build; pyembed-gen verify finds where)", ErrCorrupt)

// A Codec is how compressed payloads of a bundle are compressed.
type Codec string

// The codecs of bundle format version 2.
const (
	Gzip Codec = "gzip"
	Zstd Codec = "zstd"
	None Codec = "none"
)

// Valid reports whether c is a codec that this package reads.
func (c Codec) Valid() bool {
	return c == Gzip || c == Zstd || c == None
}

// Suffix is what a compressed payload's path has after the entry's name.
func (c Codec) Suffix() string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	default:
		return ""
	}
}

// ChunkSize is the number of input bytes in one gzip member of a large file.
const ChunkSize = 4 << 20

// A Chunk is one gzip member of a payload: raw and stored size in bytes.
type Chunk [2]int64

// Raw is the number of bytes that the member inflates to.
func (c Chunk) Raw() int64 { return c[0] }

// Stored is the number of bytes that the member takes in the payload.
func (c Chunk) Stored() int64 { return c[1] }
