package overlay

import (
	"fmt"
	"strings"
	"testing"
)

// text writes entries one a line, without what pyembed.pth says.
func text(entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		content := e.content
		if strings.HasSuffix(e.name, ".pth") {
			content = ""
		}
		fmt.Fprintf(&b, "%s %s %q\n", [...]string{"dir", "file", "link"}[e.kind], e.name, content)
	}
	return b.String()
}

// TestLayout: what each platform's overlay consists of.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name, goos string
		spec       Spec
		have       listing
		want       string
	}{
		{"unix", "linux", Spec{Tree: "/t # ü", Line: "3.14"}, listing{stdlib: "python3.14", programs: []string{"python", "python3"}}, `
file pyvenv.cfg "home = /t # ü/bin\ninclude-system-site-packages = false\n"
dir bin ""
link bin/lib "/t # ü/lib"
dir lib ""
dir lib/python3.14 ""
dir lib/python3.14/site-packages ""
file lib/python3.14/site-packages/pyembed.pth ""
link bin/python "/t # ü/bin/python"
file bin/python._pth "lib/python3.14\nlib/python3.14/lib-dynload\nimport site\n"
link bin/python3 "/t # ü/bin/python3"
file bin/python3._pth "lib/python3.14\nlib/python3.14/lib-dynload\nimport site\n"
`},
		{"unix without bytecode", "darwin", Spec{Tree: "/t", Line: "3.13", NoBytecode: true},
			listing{stdlib: "python3.13t", programs: []string{"python3"}, encodings: []string{"__init__.py", "utf_8.py"}}, `
file pyvenv.cfg "home = /t/bin\ninclude-system-site-packages = false\n"
dir bin ""
link bin/lib "/t/lib"
dir lib ""
dir lib/python3.13t ""
dir lib/python3.13t/site-packages ""
file lib/python3.13t/site-packages/pyembed.pth ""
dir bin/boot ""
dir bin/boot/encodings ""
file bin/boot/encodings/__pycache__ ""
link bin/boot/encodings/__init__.py "/t/lib/python3.13t/encodings/__init__.py"
link bin/boot/encodings/utf_8.py "/t/lib/python3.13t/encodings/utf_8.py"
link bin/python3 "/t/bin/python3"
file bin/python3._pth "boot\nlib/python3.13t\nlib/python3.13t/lib-dynload\nimport site\n"
`},
		{"unix with the library in an archive", "linux", Spec{Tree: "/t", Line: "3.14"},
			listing{stdlib: "python3.14", zipped: true, programs: []string{"python3"}}, `
file pyvenv.cfg "home = /t/bin\ninclude-system-site-packages = false\n"
dir bin ""
link bin/lib "/t/lib"
dir lib ""
dir lib/python3.14 ""
dir lib/python3.14/site-packages ""
file lib/python3.14/site-packages/pyembed.pth ""
link bin/python3 "/t/bin/python3"
file bin/python3._pth "lib/python314.zip\nlib/python3.14/lib-dynload\nimport site\n"
`},
		{"windows", "windows", Spec{Tree: `C:\t ü`, Line: "3.14"},
			listing{programs: []string{"python.exe", "python3.dll", "python314.dll", "pythonw.exe", "vcruntime140.dll"}}, `
file pyvenv.cfg "home = C:\\t ü\ninclude-system-site-packages = false\n"
dir Scripts ""
dir Lib ""
dir Lib/site-packages ""
file Lib/site-packages/pyembed.pth ""
link Scripts/python.exe "C:\\t ü\\python.exe"
file Scripts/python._pth "C:\\t ü\\DLLs\r\nC:\\t ü\\Lib\r\nimport site\r\n"
link Scripts/python3.dll "C:\\t ü\\python3.dll"
link Scripts/python314.dll "C:\\t ü\\python314.dll"
file Scripts/python314._pth "C:\\t ü\\DLLs\r\nC:\\t ü\\Lib\r\nimport site\r\n"
link Scripts/pythonw.exe "C:\\t ü\\pythonw.exe"
file Scripts/pythonw._pth "C:\\t ü\\DLLs\r\nC:\\t ü\\Lib\r\nimport site\r\n"
link Scripts/vcruntime140.dll "C:\\t ü\\vcruntime140.dll"
`},
		{"windows without bytecode, in an archive", "windows", Spec{Tree: `C:\t`, Line: "3.14", NoBytecode: true},
			listing{zipped: true, programs: []string{"PYTHON.EXE"}, encodings: []string{"utf_8.py"}}, `
file pyvenv.cfg "home = C:\\t\ninclude-system-site-packages = false\n"
dir Scripts ""
dir Lib ""
dir Lib/site-packages ""
file Lib/site-packages/pyembed.pth ""
dir Scripts/boot ""
dir Scripts/boot/encodings ""
file Scripts/boot/encodings/__pycache__ ""
link Scripts/boot/encodings/utf_8.py "C:\\t\\Lib\\encodings\\utf_8.py"
link Scripts/PYTHON.EXE "C:\\t\\PYTHON.EXE"
file Scripts/PYTHON._pth "boot\r\nC:\\t\\DLLs\r\nC:\\t\\python314.zip\r\nimport site\r\n"
`},
	} {
		entries, err := layout(c.goos, c.spec, &c.have)
		if got := "\n" + text(entries); err != nil || got != c.want {
			t.Errorf("%s: %v %s", c.name, err, got)
		}
	}
}

// TestRefused: paths that the interpreter's own files can't name are an error.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ goos, tree, want string }{
		{"linux", "/two\nlines", "line breaks"},
		{"linux", "/re\rturn", "line breaks"},
		{"linux", "/latin-\xe9", "UTF-8"},
		{"windows", `C:\a#b`, "#"},
	} {
		_, err := layout(c.goos, Spec{Tree: c.tree, Line: "3.14"}, &listing{stdlib: "python3.14"})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.tree)) {
			t.Errorf("%q: %v", c.tree, err)
		}
	}
}

// TestStartup: pyembed.pth is one line of ASCII, whatever the paths.
func TestStartup(t *testing.T) {
	got := startup(Spec{Path: []string{"/ü"}, Packages: []string{"/it's\n", `C:\x`}, NoBytecode: true}, "")
	line, rest, _ := strings.Cut(got, "\n")
	if rest != "" || !strings.HasPrefix(line, "import sys; exec(b'") {
		t.Errorf("%q", got)
	}
	for i := range len(line) {
		if line[i] < ' ' || line[i] > '~' {
			t.Errorf("byte %#x in %q", line[i], line)
		}
	}
	// A literal in a literal: its backslashes and quotes are escaped once more.
	for _, part := range []string{`b\x27/\x5cxc3\x5cxbc\x27`, `b\x27/it\x5cx27s\x5cn\x27`, `b\x27C:\x5cx5cx\x27`, `dont_write_bytecode = True`} {
		if !strings.Contains(line, part) {
			t.Errorf("%q is not in %q", part, line)
		}
	}
	if strings.Contains(line, "base_prefix") {
		t.Error("the prefix is changed where a link stands for it")
	}
	if !strings.Contains(startup(Spec{}, `C:\t`), `home = os.fsdecode(b\x27C:\x5cx5ct\x27)`) {
		t.Error("the prefix is not changed where no link stands for it")
	}
}

// TestHash: overlays that differ in anything have different names.
func TestHash(t *testing.T) {
	have := &listing{stdlib: "python3.14", programs: []string{"python3"}}
	seen := make(map[string]int)
	for i, s := range []Spec{
		{Tree: "/t"}, {Tree: "/u"}, {Tree: "/t", Path: []string{"/a"}}, {Tree: "/t", Packages: []string{"/a"}},
		{Tree: "/t", NoBytecode: true}, {Tree: "/t", Path: []string{"/a", "/b"}}, {Tree: "/t", Path: []string{"/b", "/a"}},
	} {
		entries, err := layout("linux", s, have)
		if err != nil {
			t.Fatal(err)
		}
		name := hash(entries)
		if before, ok := seen[name]; ok || len(name) != 16 {
			t.Errorf("%d and %d are %s", before, i, name)
		}
		seen[name] = i
	}
}
