package payload_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"pyembed.invalid/runtime/internal/payload"
)

// TestVectors: Go and Python agree on which gzip payloads are right as a whole, and
// which have each chunk where the manifest says.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile("../../../tests/vectors/payload_chunks.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name           string
		Payload        []byte
		Size           int64
		SHA256         string
		Chunks         []payload.Chunk
		Whole, Members bool
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	var r payload.Reader
	defer r.Close()
	for _, c := range cases {
		s := source(payload.Gzip, nil, c.Payload)
		s.Size, s.SHA256, s.Chunks = c.Size, c.SHA256, c.Chunks
		content, err := read(&r, s)
		if right := err == nil; right != c.Whole || !right && !errors.Is(err, payload.Err) {
			t.Errorf("%s: as a whole: %v", c.Name, err)
		}
		var joined []byte
		var off int64
		members := true
		for i, chunk := range c.Chunks {
			buf := make([]byte, chunk.Raw())
			if err := r.Chunk(s, i, off, buf); err != nil {
				if members = false; !errors.Is(err, payload.Err) {
					t.Errorf("%s: chunk %d: %v", c.Name, i, err)
				}
			}
			joined = append(joined, buf...)
			off += chunk.Stored()
		}
		if members != c.Members || c.Whole && c.Members && !bytes.Equal(joined, content) {
			t.Errorf("%s: by chunks: %v", c.Name, members)
		}
	}
}
