package manifest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/payload"
)

const digest = "2c624232cdd221771294dfbb310aca000a0df6ac8b66b696d90ef06fdefb64a3"

func dir(name string) manifest.Entry {
	return manifest.Entry{Name: name, Mode: fs.ModeDir | 0o755}
}

func file(name string) manifest.Entry {
	stored := int64(1)
	return manifest.Entry{Name: name, Mode: 0o644, Size: 1, SHA256: digest, Stored: &stored}
}

func link(name, target string) manifest.Entry {
	return manifest.Entry{Name: name, Mode: fs.ModeSymlink, Symlink: target}
}

// gzipped is a file of one chunk more than a chunk's size, changed by change.
func gzipped(change func(e *manifest.Entry)) manifest.Entry {
	stored := int64(300)
	e := manifest.Entry{Name: "a", Mode: 0o644, Size: payload.ChunkSize + 1, SHA256: digest, Compressed: true, Stored: &stored,
		Chunks: []payload.Chunk{{payload.ChunkSize, 200}, {1, 100}}}
	change(&e)
	return e
}

// encode gives a files.json whose contentHash fits.
func encode(t *testing.T, m *manifest.Manifest) []byte {
	t.Helper()
	m.ContentHash = manifest.Hash(m.Files)
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestHostile: no manifest is accepted that could write outside the tree, that is
// ambiguous, or that could ask for memory without bound.
func TestHostile(t *testing.T) {
	for name, entries := range map[string][]manifest.Entry{
		"absolute name":                        {file("/etc/passwd")},
		"name that goes up":                    {file("../a")},
		"name that goes up inside":             {file("a/../../b")},
		"name that goes up and comes back":     {file("a/../b")},
		"name of the tree":                     {dir(".")},
		"empty name":                           {file("")},
		"empty element":                        {file("a//b")},
		"element .":                            {file("./a")},
		"trailing slash":                       {dir("a/")},
		"line break in a name":                 {file("a\nfile 644 x b")},
		"NUL in a name":                        {file("a\x00b")},
		"DEL in a name":                        {file("a\x7fb")},
		"name of the stamp":                    {file(".pyembed-stamp")},
		"below the extraction's own names":     {dir(".pyembed-x"), file(".pyembed-x/a")},
		"twice":                                {file("a"), file("a")},
		"file and directory":                   {file("a"), dir("a")},
		"below a file":                         {file("a"), file("a/b")},
		"far below a file":                     {file("a"), file("a/b/c")},
		"below a link":                         {dir("d"), link("l", "d"), file("l/x")},
		"below a link in another case":         {dir("d"), link("l", "d"), file("L/x")},
		"link below a link":                    {dir("d"), link("l", "d"), link("l/x", "y")},
		"absolute link":                        {link("a", "/etc")},
		"link that leaves the tree":            {link("a", "..")},
		"deep link that leaves the tree":       {link("a/b/c", "../../../x")},
		"link that goes up after a link":       {dir("p"), dir("p/q"), dir("top"), link("p/q/l", "../../top"), link("x", "p/q/l/../../y")},
		"link that goes up after another link": {dir("d"), dir("d/e"), link("d/p", ".."), link("d/e/x", "../p/../y")},
		"link that goes down and up":           {link("a", "b/..")},
		"empty link":                           {link("a", "")},
		"negative size":                        {{Name: "a", Mode: 0o644, Size: -1, SHA256: digest}},
		"sizes that overflow":                  {{Name: "a", Mode: 0o644, Size: 1 << 62, SHA256: digest}, {Name: "b", Mode: 0o644, Size: 1 << 62, SHA256: digest}},
		"sizes that a directory takes back":    {{Name: "a", Mode: 0o644, Size: 1 << 61, SHA256: digest}, {Name: "b", Mode: fs.ModeDir, Size: -1 << 61}, {Name: "c", Mode: 0o644, Size: 1<<62 - 1, SHA256: digest}, {Name: "d", Mode: 0o644, Size: 1<<62 - 1, SHA256: digest}},
		"no digest":                            {{Name: "a", Mode: 0o644}},
		"digest that is not hex":               {{Name: "a", Mode: 0o644, SHA256: strings.Repeat("z", 64)}},
		"digest in capitals":                   {{Name: "a", Mode: 0o644, SHA256: strings.ToUpper(digest)}},
		"device":                               {{Name: "a", Mode: fs.ModeDevice, SHA256: digest}},
		"pipe":                                 {{Name: "a", Mode: fs.ModeNamedPipe, SHA256: digest}},
		"directory that is a link":             {{Name: "a", Mode: fs.ModeDir | fs.ModeSymlink, Symlink: "b"}},
		"payload path that goes up":            {{Name: "a", Mode: 0o644, SHA256: digest, Path: "../a"}},
		"stored size of another file":          {gzipped(func(e *manifest.Entry) { e.Compressed, e.Chunks = false, nil })},
		"negative stored size":                 {gzipped(func(e *manifest.Entry) { *e.Stored = -1 })},
		"chunks without stored size":           {gzipped(func(e *manifest.Entry) { e.Stored = nil })},
		"chunks of a stored file":              {gzipped(func(e *manifest.Entry) { e.Compressed, *e.Stored = false, e.Size })},
		"chunks that miss content":             {gzipped(func(e *manifest.Entry) { e.Size++ })},
		"chunks that miss some of the payload": {gzipped(func(e *manifest.Entry) { *e.Stored++ })},
		"chunks of more than there is":         {gzipped(func(e *manifest.Entry) { e.Size-- })},
		"huge chunk":                           {gzipped(func(e *manifest.Entry) { e.Chunks = []payload.Chunk{{payload.ChunkSize + 1, 300}} })},
		"negative chunk": {gzipped(func(e *manifest.Entry) {
			e.Chunks[0], e.Chunks[1] = payload.Chunk{-1, 200}, payload.Chunk{payload.ChunkSize + 2, 100}
		})},
		"empty chunk": {gzipped(func(e *manifest.Entry) { e.Chunks = append(e.Chunks, payload.Chunk{}) })},
	} {
		m := &manifest.Manifest{Version: manifest.Version, Codec: payload.Gzip, Files: entries}
		if _, err := manifest.Parse(encode(t, m)); !errors.Is(err, manifest.Err) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// TestFriendly: what interpreters and packages have is accepted.
func TestFriendly(t *testing.T) {
	for name, entries := range map[string][]manifest.Entry{
		"nothing":                       nil,
		"file without its directory":    {file("a/b/c")},
		"link beside":                   {link("bin/python3", "python3.14")},
		"link up and down":              {link("share/terminfo/t/x", "../a/y")},
		"link to the tree":              {link("a/b", "..")},
		"link that leads to itself":     {link("a", "./a")},
		"link to nothing":               {link("a", "b/c")},
		"names that differ in case":     {dir("A"), file("A/x"), dir("a"), file("a/x")},
		"dots in names":                 {file("..a"), file("b.."), file("...")},
		"file beside a longer name":     {file("a"), file("a.b/c")},
		"payload elsewhere, in chunks":  {gzipped(func(e *manifest.Entry) { e.Path = payload.Escaped(e.Name) })},
		"setuid, which is not honoured": {{Name: "a", Mode: fs.ModeSetuid | 0o755, SHA256: digest}},
	} {
		m := &manifest.Manifest{Version: manifest.Version, Codec: payload.Gzip, Files: entries}
		if _, err := manifest.Parse(encode(t, m)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestModes: only the owner's right to execute is taken over.
func TestModes(t *testing.T) {
	for mode, want := range map[fs.FileMode]fs.FileMode{
		0o664: 0o644, 0o666: 0o644, 0o600: 0o644, 0: 0o644, 0o655: 0o644,
		0o777: 0o755, 0o700: 0o755, fs.ModeSetuid | 0o4755: 0o755, fs.ModeDir: 0o755,
	} {
		e := manifest.Entry{Mode: mode}
		if got := e.Perm(); got != want {
			t.Errorf("%v: %v, want %v", mode, got, want)
		}
	}
}

// TestVersions: unknown keys are ignored, unknown versions are an error that says
// what to do, and a wrong contentHash is an error.
func TestVersions(t *testing.T) {
	empty := manifest.Hash(nil)
	for text, want := range map[string]string{
		`{"contentHash": "` + empty + `", "version": 2, "codec": "gzip", "new": [1], "files": []}`: "",
		`{"contentHash": "x", "files": [{"name": "a", "size": 0, "perm": 420, "new": {}}]}`:        "",
		`{"contentHash": "` + empty + `", "version": 3, "files": []}`:                              "version 3",
		`{"contentHash": "` + empty + `", "version": 3, "files": {"a": 1}}`:                        "version 3",
		`{"contentHash": "` + empty + `", "version": 1, "files": []}`:                              "version 1",
		`{"contentHash": "` + empty + `", "version": 2, "codec": "xz", "files": []}`:               "xz",
		`{"contentHash": "` + digest + `", "version": 2, "files": []}`:                             "contentHash",
		`{"contentHash": `: "files.json",
		``:                 "files.json",
		`[]`:               "files.json",
		`{"contentHash": "` + digest + `", "version": 2, "contentHash": "` + empty + `", "files": []}`: "twice",
		`{"contentHash": "` + digest + `", "version": 2, "CONTENTHASH": "` + empty + `", "files": []}`: "twice",
		`{"contentHash": "` + empty + `", "version": 2, "version": 0, "files": []}`:                    "twice",
	} {
		_, err := manifest.Parse([]byte(text))
		kind := manifest.Err
		if strings.HasPrefix(want, "version") {
			kind = manifest.ErrFormat
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (!errors.Is(err, kind) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error is %v, want one about %s", text, err, want)
		}
	}
}

// TestEncode: contentHash comes first, one entry takes one line, and it reads back.
func TestEncode(t *testing.T) {
	m := &manifest.Manifest{Version: 2, Codec: payload.Gzip, Origin: &manifest.Origin{Python: "3.14.9"},
		Files: []manifest.Entry{file("a"), dir("b"), link("c", "a"), gzipped(func(e *manifest.Entry) { e.Name = "d" })}}
	data := encode(t, m)
	if want := fmt.Sprintf(`{"contentHash":"%s","version":2,`, m.ContentHash); !strings.HasPrefix(string(data), want) {
		t.Errorf("it begins with %.100s", data)
	}
	if lines := strings.Count(string(data), "\n"); lines != 1+4+1 {
		t.Errorf("%d lines", lines)
	}
	back, err := manifest.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(back)
	if first, _ := json.Marshal(m); string(again) != string(first) {
		t.Errorf("%s\nreads back as %s", first, again)
	}
}
