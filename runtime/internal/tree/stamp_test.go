package tree

import (
	"strings"
	"testing"
)

// TestStamp: a stamp reads back as it was written, and no part of one passes for a
// whole one.
func TestStamp(t *testing.T) {
	identity := strings.Repeat("0a", 32)
	s := newStamp(identity, map[string]record{
		"bin":         {kind: 'd', mode: 0o40755},
		"bin/a b":     {kind: 'f', mode: 0o100755, size: 1 << 40, mtime: 1700000000123456789},
		"bin/ leads":  {kind: 'f', mode: 0o100644, mtime: -1},
		"bin/python3": {kind: 'l', mode: 0o120777, size: 10},
	})
	text := string(s.encode())
	back := parseStamp(text)
	if back == nil || back.identity != identity || len(back.index) != 4 {
		t.Fatalf("%q reads back as %v", text, back)
	}
	for i := range s.index {
		if s.index[i] != back.index[i] {
			t.Errorf("%v reads back as %v", s.index[i], back.index[i])
		}
	}
	for n := range len(text) {
		if parseStamp(text[:n]) != nil {
			t.Errorf("the first %d of %d bytes are taken for a stamp", n, len(text))
		}
	}
	for _, bad := range []string{
		text + "x",
		strings.Replace(text, "end 4", "end 3", 1),
		strings.Replace(text, "stamp 1", "stamp 2", 1),
		strings.Replace(text, "f ", "file ", 1),
		strings.Replace(text, " -1 ", " x ", 1),
	} {
		if parseStamp(bad) != nil {
			t.Errorf("taken for a stamp: %q", bad)
		}
	}
}
