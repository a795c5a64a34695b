//go:build !unix

package tree

import (
	"io"
	"os"
)

// readFile reads up to limit bytes of a file; nil if it can't.
func readFile(path string, limit int) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)))
	if err != nil {
		return nil
	}
	return data
}

// noDescriptor is not told from other errors here.
func noDescriptor(error) bool { return false }
