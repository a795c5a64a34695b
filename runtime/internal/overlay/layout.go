package overlay

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// A kind is what an entry is.
type kind int

const (
	dir kind = iota
	file
	link // to content; where there are no symbolic links, a hard link or a copy
)

// An entry is something in an overlay. Directories come before what is in them.
type entry struct {
	name    string // with /
	kind    kind
	content string
}

// A listing is what the layout depends on in the tree.
type listing struct {
	stdlib    string   // python3.14 or python3.14t, "" on Windows
	zipped    bool     // the standard library is in python314.zip
	programs  []string // interpreters and, on Windows, the DLLs beside them
	encodings []string // sources of the package that is imported before site
}

// exeDir is the overlay's directory with the interpreter: where site.py expects it, one
// below pyvenv.cfg.
func exeDir(goos string) string {
	if goos == "windows" {
		return "Scripts"
	}
	return "bin"
}

// stdlibDir is the standard library's directory in a tree.
func (l *listing) stdlibDir() string {
	if l.stdlib == "" {
		return "Lib"
	}
	return "lib/" + l.stdlib
}

// look lists what there is in the tree.
func look(goos string, s Spec) (*listing, error) {
	l := &listing{}
	var err error
	if goos == "windows" {
		l.programs, err = list(s.Tree, func(name string) bool {
			name = strings.ToLower(name)
			return strings.HasSuffix(name, ".dll") || name == "python.exe" || name == "pythonw.exe"
		})
	} else {
		if l.stdlib, err = findStdlib(s); err != nil {
			return nil, err
		}
		l.programs, err = list(filepath.Join(s.Tree, "bin"), func(name string) bool {
			return name == "python" || name == "python3" || name == l.stdlib
		})
	}
	if err != nil {
		return nil, err
	}
	stdlib := filepath.Join(s.Tree, filepath.FromSlash(l.stdlibDir()))
	_, err = os.Lstat(filepath.Join(stdlib, "os.py"))
	l.zipped = err != nil
	if s.NoBytecode && !l.zipped {
		l.encodings, err = list(filepath.Join(stdlib, "encodings"), func(name string) bool {
			return strings.HasSuffix(name, ".py")
		})
		if err != nil {
			return nil, err
		}
	}
	return l, nil
}

// findStdlib is the name of the standard library's directory: that of a free-threaded
// build ends in t.
func findStdlib(s Spec) (string, error) {
	if s.Line == "" {
		return "", fmt.Errorf("which Python line %s has is not known", s.Tree)
	}
	var err error
	for _, name := range []string{"python" + s.Line, "python" + s.Line + "t"} {
		if _, err = os.Lstat(filepath.Join(s.Tree, "lib", name)); err == nil {
			return name, nil
		}
	}
	return "", err
}

// list gives the names in a directory that want wants, sorted.
func list(dir string, want func(name string) bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if want(e.Name()) && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// layout is what an overlay consists of. It reads nothing, so every platform's can be
// made on any.
func layout(goos string, s Spec, have *listing) ([]entry, error) {
	if goos == "windows" {
		return layoutWindows(s, have)
	}
	return layoutUnix(s, have)
}

// layoutUnix names nothing of the tree in ._pth files, which know no quoting: their
// lines are relative, and lead there through bin/lib.
func layoutUnix(s Spec, have *listing) ([]entry, error) {
	// getpath.py reads lines up to \n, site.py up to \r too, and as strict UTF-8.
	if strings.ContainsAny(s.Tree, "\n\r") || !utf8.ValidString(s.Tree) {
		return nil, fmt.Errorf("%q: pyvenv.cfg can't have a path with line breaks or that is not UTF-8", s.Tree)
	}
	site := "lib/" + have.stdlib + "/site-packages"
	entries := []entry{
		{"pyvenv.cfg", file, config(s.Tree + "/bin")},
		{"bin", dir, ""},
		{"bin/lib", link, s.Tree + "/lib"},
		{"lib", dir, ""},
		{"lib/" + have.stdlib, dir, ""},
		{site, dir, ""},
		{site + "/pyembed.pth", file, startup(s, "")},
	}
	lines := []string{"lib/" + have.stdlib, "lib/" + have.stdlib + "/lib-dynload", "import site"}
	if have.zipped {
		lines[0] = "lib/" + strings.ReplaceAll(have.stdlib, ".", "") + ".zip"
	}
	if len(have.encodings) > 0 {
		lines = slices.Insert(lines, 0, "boot")
		entries = append(entries, boot("bin/boot", have, func(name string) string {
			return s.Tree + "/lib/" + have.stdlib + "/encodings/" + name
		})...)
	}
	for _, name := range have.programs {
		entries = append(entries,
			entry{"bin/" + name, link, s.Tree + "/bin/" + name},
			entry{"bin/" + name + "._pth", file, strings.Join(lines, "\n") + "\n"})
	}
	return entries, nil
}

// layoutWindows names the tree in ._pth files, as there are no links to directories
// that everybody may make.
func layoutWindows(s Spec, have *listing) ([]entry, error) {
	if strings.ContainsAny(s.Tree, "#\n\r") || !utf8.ValidString(s.Tree) {
		return nil, fmt.Errorf("%q: ._pth files can't have a path with # or line breaks or that is not Unicode", s.Tree)
	}
	entries := []entry{
		{"pyvenv.cfg", file, config(s.Tree)},
		{"Scripts", dir, ""},
		{"Lib", dir, ""},
		{"Lib/site-packages", dir, ""},
		{"Lib/site-packages/pyembed.pth", file, startup(s, s.Tree)},
	}
	lines := []string{s.Tree + `\DLLs`, s.Tree + `\Lib`, "import site"}
	if have.zipped {
		lines[1] = s.Tree + `\python` + strings.ReplaceAll(s.Line, ".", "") + ".zip"
	}
	if len(have.encodings) > 0 {
		lines = slices.Insert(lines, 0, "boot")
		entries = append(entries, boot("Scripts/boot", have, func(name string) string {
			return s.Tree + `\Lib\encodings\` + name
		})...)
	}
	for _, name := range have.programs {
		entries = append(entries, entry{"Scripts/" + name, link, s.Tree + `\` + name})
		stem, ext := strings.ToLower(name[:len(name)-4]), strings.ToLower(name[len(name)-4:])
		if ext == ".exe" || strings.HasPrefix(stem, "python") && stem != "python3" {
			entries = append(entries, entry{"Scripts/" + name[:len(name)-4] + "._pth", file, strings.Join(lines, "\r\n") + "\r\n"})
		}
	}
	return entries, nil
}

// config is the content of pyvenv.cfg. home is the directory with the tree's
// interpreter: the venv module and, on Windows, multiprocessing get sys._base_executable
// from it.
func config(home string) string {
	return "home = " + home + "\ninclude-system-site-packages = false\n"
}

// boot is a package encodings of its own beside which no bytecode can be written, as a
// file has the name of the directory for it. It is the one package that is imported,
// and then cached, before pyembed.pth is read.
func boot(at string, have *listing, source func(name string) string) []entry {
	entries := []entry{{at, dir, ""}, {at + "/encodings", dir, ""}, {at + "/encodings/__pycache__", file, ""}}
	for _, name := range have.encodings {
		entries = append(entries, entry{at + "/encodings/" + name, link, source(name)})
	}
	return entries
}

// program is what Python runs at its start, before the caller's code. It runs twice, as
// site reads a virtual environment's .pth files twice.
const program = `
import os, site, sys
at = 0
for p in map(os.fsdecode, PATH):
    if p not in sys.path:
        sys.path.insert(at, p)
        at += 1
for p in map(os.fsdecode, PACKAGES):
    if p not in sys.path:
        site.addsitedir(p)
`

// noBytecode goes before program: packages may import something by their .pth files.
const noBytecode = `
import sys
sys.dont_write_bytecode = True
`

// realHome goes before program where no link stands for the standard library: prefix
// and modules that are part of the interpreter are said to be where they would be.
const realHome = `
import os, sys
home = os.fsdecode(HOME)
old, new = sys._stdlib_dir, os.path.join(home, "Lib")
for m in list(sys.modules.values()):
    f = getattr(m, "__file__", None)
    if f and old and f.startswith(old + os.sep):
        m.__file__ = new + f[len(old):]
sys.base_prefix = sys.base_exec_prefix = home
sys._stdlib_dir = new
`

// startup is the content of pyembed.pth: a line that begins with import is executed (up to
// Python 3.17, says PEP 829). Paths are in it as bytes, which any locale and version of
// Python reads alike.
func startup(s Spec, home string) string {
	code := strings.NewReplacer("PATH", literals(s.Path), "PACKAGES", literals(s.Packages)).Replace(program)
	if home != "" {
		code = strings.Replace(realHome, "HOME", literal(home), 1) + code
	}
	if s.NoBytecode {
		code = noBytecode + code
	}
	return "import sys; exec(" + literal(code) + ", {})\n"
}

// literals is a Python list of bytes.
func literals(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = literal(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// literal is Python's bytes literal of s, in printable ASCII.
func literal(s string) string {
	var b strings.Builder
	b.WriteString("b'")
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\'' || c == '\\' || c < ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
