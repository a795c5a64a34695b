package tree

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// FuzzStamp: whatever the bytes, nothing panics, memory is proportional to the input,
// and what is taken for a stamp is the same stamp when it is written again.
func FuzzStamp(f *testing.F) {
	for _, c := range stampVectors(f) {
		f.Add(c.Text)
	}
	for _, kind := range []string{"?", "x", "\x80", "d f"} {
		f.Add(stampMagic + strings.Repeat("0a", 32) + "\n" + kind + " 41ed 0 0 a\nend 1\n")
	}
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		var s *stamp
		if got, most := allocated(func() { s = parseStamp(text) }), uint64(500*len(text)+1<<20); got > most {
			t.Errorf("%d bytes were allocated for %d", got, len(text))
		}
		if err := os.WriteFile(filepath.Join(root, stampName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		identity := readIdentity(root)
		if s == nil {
			return
		}
		if len(s.identity) != 64 || identity != s.identity {
			t.Errorf("the identity is %q, and %q when read alone", s.identity, identity)
		}
		for _, e := range s.index {
			if e.name == "" || strings.Contains(e.name, "\n") {
				t.Errorf("an entry has the name %q", e.name)
			}
			if !strings.ContainsRune("dfl?", rune(e.kind)) {
				return // it fits no entry, and nothing writes it
			}
		}
		back := parseStamp(string(s.encode()))
		if back == nil || back.identity != s.identity || !slices.Equal(back.index, s.index) {
			t.Errorf("%q reads back as %+v", s.encode(), back)
		}
		if known := s.byName(); len(known) > len(s.index) {
			t.Errorf("%d entries have %d names", len(s.index), len(known))
		}
	})
}

// allocated is how many bytes f allocates, whether they are still used or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
