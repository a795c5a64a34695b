package tree

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"pyembed.invalid/runtime/internal/manifest"
)

// stampName is the stamp's name at the root of a tree. It is written last, so a
// tree that has one was complete. It is text:
//
//	pyembed-stamp 1
//	<identity>
//	<kind> <mode> <size> <mtime> <name>     one line for every entry
//	end <number of entries>
//
// with the mode in hexadecimal as the system gave it, and the mtime in nanoseconds.
const stampName = manifest.Reserved + "stamp"

// stampMagic is the first line; another number means another format.
const stampMagic = "pyembed-stamp 1\n"

// A stamp is what was observed right after a tree was written.
type stamp struct {
	identity string
	index    []stamped
}

// stamped is one line of the index.
type stamped struct {
	name string
	record
}

// maxStamp bounds what is read as a stamp, in bytes: more than any tree that a Go
// program can embed needs.
const maxStamp = 64 << 20

// readIdentity reads only the identity, "" if there is no stamp that says one.
func readIdentity(root string) string {
	head := readFile(filepath.Join(root, stampName), len(stampMagic)+65)
	identity, ok := strings.CutPrefix(string(head), stampMagic)
	if !ok || len(identity) != 65 || identity[64] != '\n' {
		return ""
	}
	return identity[:64]
}

// readStamp reads the stamp of a tree; nil if there is none that is whole.
func readStamp(root string) *stamp {
	return parseStamp(string(readFile(filepath.Join(root, stampName), maxStamp)))
}

// parseStamp is nil for anything but a whole stamp.
func parseStamp(text string) *stamp {
	text, ok := strings.CutPrefix(text, stampMagic)
	if !ok || len(text) < 65 || text[64] != '\n' {
		return nil
	}
	s := &stamp{identity: text[:64], index: make([]stamped, 0, strings.Count(text, "\n"))}
	for text = text[65:]; ; {
		line, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return nil
		}
		if count, ok := strings.CutPrefix(line, "end "); ok {
			if rest != "" || count != strconv.Itoa(len(s.index)) {
				return nil
			}
			return s
		}
		entry, ok := parseStamped(line)
		if !ok {
			return nil
		}
		s.index = append(s.index, entry)
		text = rest
	}
}

// parseStamped reads one line of the index.
func parseStamped(line string) (stamped, bool) {
	kind, line, _ := strings.Cut(line, " ")
	mode, line, _ := strings.Cut(line, " ")
	size, line, _ := strings.Cut(line, " ")
	mtime, name, ok := strings.Cut(line, " ")
	if !ok || kind != "d" && kind != "f" && kind != "l" || name == "" {
		return stamped{}, false
	}
	m, err1 := strconv.ParseUint(mode, 16, 32)
	n, err2 := strconv.ParseInt(size, 10, 64)
	t, err3 := strconv.ParseInt(mtime, 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return stamped{}, false
	}
	return stamped{name: name, record: record{kind: kind[0], mode: uint32(m), size: n, mtime: t}}, true
}

// encode gives the stamp's text.
func (s *stamp) encode() []byte {
	var b bytes.Buffer
	b.WriteString(stampMagic)
	b.WriteString(s.identity)
	b.WriteByte('\n')
	for _, e := range s.index {
		fmt.Fprintf(&b, "%c %x %d %d %s\n", e.kind, e.mode, e.size, e.mtime, e.name)
	}
	fmt.Fprintf(&b, "end %d\n", len(s.index))
	return b.Bytes()
}

// newStamp makes the stamp of a tree of which records were observed.
func newStamp(identity string, records map[string]record) *stamp {
	s := &stamp{identity: identity, index: make([]stamped, 0, len(records))}
	for name, r := range records {
		s.index = append(s.index, stamped{name: name, record: r})
	}
	sort.Slice(s.index, func(i, j int) bool { return s.index[i].name < s.index[j].name })
	return s
}

// byName is the index as a map; it is empty for a stamp that is nil.
func (s *stamp) byName() map[string]record {
	if s == nil {
		return nil
	}
	m := make(map[string]record, len(s.index))
	for _, e := range s.index {
		m[e.name] = e.record
	}
	return m
}
