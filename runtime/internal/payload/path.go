package payload

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Name is an entry's name and the suffix that its codec adds to it.
type Name struct {
	Name   string
	Suffix string
}

// Paths decides the `path` key of every entry that has a payload. The result has
// "" for an entry whose payload lies at its name plus suffix, and an escaped path,
// `_/` and the sha256 of the name in hex, for one whose natural payload path Go's
// embed or a module zip would refuse, skip or misread.
//
// An entry is escaped when any element of its natural path is unsafe (see
// unsafeElement), when the path is files.json or below it, when its first element
// is `_`, or when the path or a parent of it collides: two different prefixes that
// are equal under Unicode simple folding, two entries with one path, or one path
// that is both a file and a parent. Every member of a colliding group is escaped,
// so the outcome does not depend on the order of the entries; natural paths that
// are escaped for another reason count in the groups too.
func Paths(names []Name) []string {
	paths := make([]string, len(names))
	collides := collisions(names)
	for i, n := range names {
		natural := n.Name + n.Suffix
		if unsafePath(natural) || collides[i] {
			paths[i] = Escaped(n.Name)
		}
	}
	return paths
}

// Escaped is the payload path of an entry whose own name can't be one.
func Escaped(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "_/" + hex.EncodeToString(sum[:])
}

// unsafePath reports whether a payload path is one that Go can't carry.
func unsafePath(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	if first == "_" || Fold(first) == "files.json" {
		return true
	}
	for _, elem := range strings.Split(path, "/") {
		if unsafeElement(elem) {
			return true
		}
	}
	return false
}

// windowsDevices can't be file names on Windows, whatever follows their first dot.
var windowsDevices = map[string]bool{
	"con": true, "prn": true, "aux": true, "nul": true,
	"com1": true, "com2": true, "com3": true, "com4": true, "com5": true,
	"com6": true, "com7": true, "com8": true, "com9": true,
	"lpt1": true, "lpt2": true, "lpt3": true, "lpt4": true, "lpt5": true,
	"lpt6": true, "lpt7": true, "lpt8": true, "lpt9": true,
}

// unsafeElement reports whether Go refuses, skips or misreads a path element:
// golang.org/x/mod/module.CheckFilePath refuses it, cmd/go's embed or module/zip
// leave it out (version control, vendor, nested modules), or go list would take
// it for source.
func unsafeElement(elem string) bool {
	if elem == "" || strings.HasSuffix(elem, ".") || !utf8.ValidString(elem) {
		return true
	}
	for _, r := range elem {
		if !fileNameRune(r) {
			return true
		}
	}
	fold := Fold(elem)
	device, _, _ := strings.Cut(fold, ".")
	switch {
	case windowsDevices[device]:
		return true
	case fold == "vendor", fold == "go.mod", fold == ".hg", fold == ".bzr", fold == ".svn":
		return true
	case strings.HasPrefix(fold, ".git"), strings.HasSuffix(elem, ".go"):
		return true
	}
	return false
}

// fileNameRune is the character rule of module.CheckFilePath: ASCII letters and
// digits, most ASCII punctuation, the space, and every Unicode letter.
func fileNameRune(r rune) bool {
	if r >= utf8.RuneSelf {
		return unicode.IsLetter(r)
	}
	return '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' ||
		strings.ContainsRune("!#$%&()+,-.=@[]^_{}~ ", r)
}

// collisions reports which names have a path, or a parent of one, that an
// archive which folds case could not keep apart.
func collisions(names []Name) []bool {
	type group struct {
		path         string // the first spelling seen
		files        int
		parent, many bool
	}
	groups := make(map[string]*group)
	see := func(path string, file bool) {
		fold := Fold(path)
		g := groups[fold]
		if g == nil {
			g = &group{path: path}
			groups[fold] = g
		}
		g.many = g.many || g.path != path
		if file {
			g.files++
		} else {
			g.parent = true
		}
	}
	for _, n := range names {
		natural := n.Name + n.Suffix
		eachParent(natural, func(parent string) { see(parent, false) })
		see(natural, true)
	}
	collides := make([]bool, len(names))
	for i, n := range names {
		bad := func(path string) {
			g := groups[Fold(path)]
			collides[i] = collides[i] || g.many || g.files > 1 || g.files > 0 && g.parent
		}
		natural := n.Name + n.Suffix
		eachParent(natural, bad)
		bad(natural)
	}
	return collides
}

// eachParent calls f with every directory above path, the outermost first.
func eachParent(path string, f func(parent string)) {
	for i := range len(path) {
		if path[i] == '/' {
			f(path[:i])
		}
	}
}

// Fold maps a string to the one that stands for all that equal it under Unicode
// simple folding, as golang.org/x/mod/zip does for its collision check.
func Fold(s string) string {
	simple := true
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			simple = false
			break
		}
	}
	if simple {
		return s
	}
	return strings.Map(foldRune, s)
}

// foldRune is the least rune of r's folding orbit, with A-Z given as a-z.
func foldRune(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			r = next
			break
		}
		r = next
	}
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}
