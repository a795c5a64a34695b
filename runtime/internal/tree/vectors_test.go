package tree

import (
	"encoding/json"
	"os"
	"testing"
)

// A stampVector is a case of tests/vectors/stamps.json, which a reader in the Python
// tests is held to as well; without an identity the text is no stamp.
//
// A stamp is UTF-8 text. Its first line is "pyembed-stamp 1". The second is the
// identity of the tree's bundle, 64 bytes. Then each entry has a line of five fields
// with one space between them: the kind, one byte: d, f or l for a directory, file or
// link; the mode as the system gives it, hexadecimal, of at most 32 bits; the size in
// bytes and the time of the last change in nanoseconds since 1970, both decimal, of at
// most 64 bits with their sign; the name, which is all the rest of the line. The last
// line is "end " and the number of entries, decimal. Every line ends with a line feed,
// and nothing follows the last one.
type stampVector struct {
	Name, Text, Identity string
	Entries              []struct {
		Name, Kind  string
		Mode        uint32
		Size, MTime int64
	}
}

// stampVectors reads the cases.
func stampVectors(t testing.TB) []stampVector {
	t.Helper()
	data, err := os.ReadFile("../../../tests/vectors/stamps.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []stampVector
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// TestStampVectors: stamps mean what the vectors say, and are written byte for byte so.
func TestStampVectors(t *testing.T) {
	for _, c := range stampVectors(t) {
		got := parseStamp(c.Text)
		if c.Identity == "" {
			if got != nil {
				t.Errorf("%s: taken for a stamp", c.Name)
			}
			continue
		}
		records := make(map[string]record)
		for _, e := range c.Entries {
			records[e.Name] = record{kind: e.Kind[0], mode: e.Mode, size: e.Size, mtime: e.MTime}
		}
		if got == nil || got.identity != c.Identity || len(got.index) != len(records) {
			t.Errorf("%s: read as %+v", c.Name, got)
			continue
		}
		for _, e := range got.index {
			if want, ok := records[e.name]; !ok || e.record != want {
				t.Errorf("%s: %q is %+v, want %+v", c.Name, e.name, e.record, want)
			}
		}
		if text := string(newStamp(c.Identity, records).encode()); text != c.Text {
			t.Errorf("%s: written as %q, want %q", c.Name, text, c.Text)
		}
	}
}
