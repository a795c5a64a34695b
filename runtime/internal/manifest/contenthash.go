package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sort"
)

// Hash is the content hash of entries, whose files must have their sha256.
// See the package comment for what it covers. It does not change entries.
func Hash(entries []Entry) string {
	sorted := make([]*Entry, len(entries))
	for i := range entries {
		sorted[i] = &entries[i]
	}
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Name < sorted[j].Name })
	h := sha256.New()
	io.WriteString(h, "pyembed-manifest-2\n")
	for _, e := range sorted {
		mode, digest := "644", e.SHA256
		switch kind := e.Kind(); {
		case kind == Dir:
			mode, digest = "755", "-"
		case kind == Link:
			sum := sha256.Sum256([]byte(e.Symlink))
			mode, digest = "777", hex.EncodeToString(sum[:])
		case e.Executable():
			mode = "755"
		}
		fmt.Fprintf(h, "%s %s %s %s\n", e.Kind(), mode, digest, e.Name)
	}
	return hex.EncodeToString(h.Sum(nil))
}
