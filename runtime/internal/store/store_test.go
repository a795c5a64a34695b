package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pyembed.invalid/runtime/internal/basedir"
	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/payload"
	"pyembed.invalid/runtime/internal/store"
	"pyembed.invalid/runtime/internal/tree"
)

// open opens the bundle in a base.
func open(t testing.TB, bundle, base string, opt tree.Options) *tree.Tree {
	t.Helper()
	tr, err := tryOpen(context.Background(), bundle, base, opt)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// tryOpen is open for those who expect an error.
func tryOpen(ctx context.Context, bundle, base string, opt tree.Options) (*tree.Tree, error) {
	b, err := tree.NewBundle(os.DirFS(bundle))
	if err != nil {
		return nil, err
	}
	return store.OpenNamed(ctx, b, base, "python", opt)
}

// newBase is a directory that will do as a base, whatever the umask.
func newBase(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "base")
	must(t, os.Mkdir(dir, 0o755))
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// large is content that does not fit one chunk. It repeats itself, so that the tests
// do not spend their time compressing.
func large(size int) []byte {
	block := make([]byte, 10007)
	x := uint32(1)
	for i := range block {
		x = x*1664525 + 1013904223
		block[i] = byte(x >> 24)
	}
	return bytes.Repeat(block, size/len(block)+1)[:size]
}

// TestExtract: every format gives the same tree.
func TestExtract(t *testing.T) {
	files := bt.Small()
	files["lib/large.so"] = large(9<<20 + 5)
	files["bin/large"] = bt.Program(large(4<<20 + 1))
	legacy := bt.Files{}
	for name, content := range files {
		if !strings.Contains(name, "aux") {
			legacy[name] = content
		}
	}
	for _, c := range []struct {
		name   string
		files  bt.Files
		bundle func() string
	}{
		{"gzip", files, func() string { return bt.Gzip(t, files) }},
		{"zstd", files, func() string { return bt.Zstd(t, files) }},
		{"go-embed-python", legacy, func() string {
			b := bt.Gzip(t, legacy)
			bt.Legacy(t, b)
			return b
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bundle := c.bundle()
			for _, level := range []tree.Level{tree.Stat, tree.Stamp, tree.Hash} {
				tr := open(t, bundle, newBase(t), tree.Options{Level: level})
				bt.Same(t, tr.Path(), c.files)
			}
		})
	}
}

// TestChunks: the large files of TestExtract really have chunks.
func TestChunks(t *testing.T) {
	bundle := bt.Gzip(t, bt.Files{"large": large(9 << 20)})
	bt.Edit(t, bundle, func(m *manifest.Manifest) {
		if n := len(m.Files[0].Chunks); n != 3 {
			t.Errorf("%d chunks, want 3", n)
		}
	})
}

// TestName: the directory is named by the first 16 digits of the contentHash.
func TestName(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Small()), newBase(t)
	var hash string
	bt.Edit(t, bundle, func(m *manifest.Manifest) { hash = m.ContentHash })
	tr := open(t, bundle, base, tree.Options{})
	if want := filepath.Join(base, "python-"+hash[:16]); tr.Path() != want {
		t.Errorf("%s, want %s", tr.Path(), want)
	}
}

// TestHeal: whatever happens to a tree, the next use puts it right, at the level
// that can see it.
func TestHeal(t *testing.T) {
	bundle := bt.Gzip(t, bt.Small())
	at := filepath.Join
	for _, c := range []struct {
		name   string
		level  tree.Level
		damage func(dir string) error
	}{
		{"file removed", tree.Stat, func(d string) error { return os.Remove(at(d, "lib/python3.14/os.py")) }},
		{"file truncated", tree.Stat, func(d string) error { return os.Truncate(at(d, "lib/python3.14/os.py"), 3) }},
		{"file replaced by a link", tree.Stat, func(d string) error {
			must(t, os.Rename(at(d, "bin/python3.14"), at(d, "bin/other")))
			defer os.Rename(at(d, "bin/other"), at(t.TempDir(), "other"))
			return os.Symlink("other", at(d, "bin/python3.14"))
		}},
		{"file replaced by a directory", tree.Stat, func(d string) error {
			must(t, os.Remove(at(d, "lib/python3.14/os.py")))
			return os.MkdirAll(at(d, "lib/python3.14/os.py/x"), 0o755)
		}},
		{"program not executable", tree.Stat, func(d string) error { return os.Chmod(at(d, "bin/python3.14"), 0o644) }},
		{"file writable by others", tree.Stat, func(d string) error { return os.Chmod(at(d, "lib/python3.14/os.py"), 0o666) }},
		{"directory removed", tree.Stat, func(d string) error { return os.RemoveAll(at(d, "lib/python3.14")) }},
		{"directory replaced by a file", tree.Stat, func(d string) error {
			must(t, os.RemoveAll(at(d, "lib/python3.14/a")))
			return os.WriteFile(at(d, "lib/python3.14/a"), nil, 0o644)
		}},
		{"directory replaced by a link", tree.Stat, func(d string) error {
			must(t, os.Rename(at(d, "lib/python3.14/a"), at(t.TempDir(), "a")))
			return os.Symlink(t.TempDir(), at(d, "lib/python3.14/a"))
		}},
		{"directory replaced by a link to an equal one", tree.Stat, func(d string) error { return outside(t, at(d, "lib/python3.14/a")) }},
		{"directory with directories replaced by a link to an equal one", tree.Stat, func(d string) error { return outside(t, at(d, "lib")) }},
		{"directory with links replaced by a link to an equal one", tree.Hash, func(d string) error { return outside(t, at(d, "bin")) }},
		{"directory writable by others", tree.Stat, func(d string) error { return os.Chmod(at(d, "lib/python3.14"), 0o777) }},
		{"link removed", tree.Stat, func(d string) error { return os.Remove(at(d, "bin/python3")) }},
		{"link changed", tree.Stat, func(d string) error {
			must(t, os.Remove(at(d, "bin/python3")))
			return os.Symlink("/bin/python", at(d, "bin/python3"))
		}},
		{"byte changed, size kept", tree.Stat, func(d string) error {
			return os.WriteFile(at(d, "lib/python3.14/aux.py"), []byte("axu"), 0o644)
		}},
		{"byte changed, size and time kept", tree.Hash, func(d string) error {
			path := at(d, "lib/python3.14/aux.py")
			info, err := os.Stat(path)
			must(t, err)
			must(t, os.WriteFile(path, []byte("axu"), 0o644))
			return os.Chtimes(path, info.ModTime(), info.ModTime())
		}},
		{"file planted", tree.Hash, func(d string) error {
			return os.WriteFile(at(d, "lib/python3.14/sitecustomize.py"), []byte("evil"), 0o644)
		}},
		{"bytecode planted", tree.Hash, func(d string) error {
			must(t, os.Mkdir(at(d, "lib/python3.14/__pycache__"), 0o755))
			return os.WriteFile(at(d, "lib/python3.14/__pycache__/os.cpython-314.pyc"), []byte("evil"), 0o644)
		}},
		{"stamp removed", tree.Stamp, func(d string) error { return os.Remove(at(d, ".pyembed-stamp")) }},
		{"stamp removed, file changed", tree.Stamp, func(d string) error {
			must(t, os.WriteFile(at(d, "lib/python3.14/aux.py"), []byte("axu"), 0o644))
			return os.Remove(at(d, ".pyembed-stamp"))
		}},
		{"stamp truncated", tree.Stat, func(d string) error { return os.Truncate(at(d, ".pyembed-stamp"), 200) }},
		{"stamp empty", tree.Stat, func(d string) error { return os.Truncate(at(d, ".pyembed-stamp"), 0) }},
		{"everything removed", tree.Stat, os.RemoveAll},
		{"everything removed but the directory", tree.Stat, func(d string) error {
			must(t, os.RemoveAll(d))
			return os.Mkdir(d, 0o755)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := newBase(t)
			dir := open(t, bundle, base, tree.Options{}).Path()
			must(t, c.damage(dir))
			open(t, bundle, base, tree.Options{Level: c.level})
			bt.Same(t, dir, bt.Small())
			written := int64(0)
			open(t, bundle, base, tree.Options{Progress: func(done, _ int64) { written = done }})
			if written != 0 {
				t.Errorf("the use after that wrote %d bytes", written)
			}
			if left := entries(t, base); len(left) != 2 {
				t.Errorf("beside the tree there is %v", left)
			}
		})
	}
}

// outside moves a directory to another place and leaves a link to it.
func outside(t testing.TB, dir string) error {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(dir))
	must(t, os.Rename(dir, to))
	return os.Symlink(to, dir)
}

// TestHealMode: a directory that others can write is one that they can't afterwards.
func TestHealMode(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Small()), newBase(t)
	dir := filepath.Join(open(t, bundle, base, tree.Options{}).Path(), "lib/python3.14")
	for _, level := range []tree.Level{tree.Stat, tree.Hash} {
		for _, stamp := range []bool{true, false} {
			must(t, os.Chmod(dir, 0o777))
			if !stamp {
				must(t, os.Remove(filepath.Join(dir, "../../.pyembed-stamp")))
			}
			open(t, bundle, base, tree.Options{Level: level})
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("level %d, stamp %v: %v %v", level, stamp, info.Mode(), err)
			}
		}
	}
}

// TestHealKeepsOthers: only what is damaged is written, so running programs keep
// their files and a use costs what is wrong.
func TestHealKeepsOthers(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Small()), newBase(t)
	dir := open(t, bundle, base, tree.Options{}).Path()
	program := filepath.Join(dir, "bin/python3.14")
	before, err := os.Stat(program)
	must(t, err)
	must(t, os.Remove(filepath.Join(dir, "lib/python3.14/aux.py")))
	var total int64
	open(t, bundle, base, tree.Options{Progress: func(_, n int64) { total = n }})
	if total != int64(len("aux")) {
		t.Errorf("%d bytes were written, want 3", total)
	}
	after, err := os.Stat(program)
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("the program is another file")
	}
}

// TestForeignFilesStay: below level hash a tree keeps what Python caches in it.
func TestForeignFilesStay(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Small()), newBase(t)
	dir := open(t, bundle, base, tree.Options{}).Path()
	must(t, os.Mkdir(filepath.Join(dir, "lib/__pycache__"), 0o755))
	open(t, bundle, base, tree.Options{})
	if _, err := os.Stat(filepath.Join(dir, "lib/__pycache__")); err != nil {
		t.Error(err)
	}
}

// TestProgress: it ends at the total, grows, and is silent when nothing is written.
func TestProgress(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Files{"a": large(9 << 20), "b": "b"}), newBase(t)
	var last, calls int64
	progress := func(done, total int64) {
		if calls++; done < last || total != 9<<20+1 {
			t.Errorf("%d of %d after %d", done, total, last)
		}
		last = done
	}
	open(t, bundle, base, tree.Options{Progress: progress})
	if last != 9<<20+1 {
		t.Errorf("ended at %d", last)
	}
	calls = 0
	open(t, bundle, base, tree.Options{Progress: progress})
	if calls != 0 {
		t.Errorf("%d calls at a warm start", calls)
	}
}

// TestGoroutines: many goroutines may open a bundle at a time, and get one tree.
func TestGoroutines(t *testing.T) {
	files := bt.Small()
	files["large"] = large(9 << 20)
	bundle, base := bt.Gzip(t, files), newBase(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			tr, err := tryOpen(context.Background(), bundle, base, tree.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(tr.Path(), "large")); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if left := entries(t, base); len(left) != 2 {
		t.Errorf("beside the tree there is %v", left)
	}
}

// TestCancelled: an extraction that is cancelled in the middle leaves nothing.
func TestCancelled(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Files{"a": large(12 << 20), "b": "b"}), newBase(t)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := tryOpen(ctx, bundle, base, tree.Options{Progress: func(done, _ int64) {
		if done > 0 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if left := entries(t, base); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
	if _, err := tryOpen(ctx, bundle, base, tree.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
}

// TestDeadExtraction: what a killed process left is removed by the next extraction.
func TestDeadExtraction(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Small()), newBase(t)
	b, err := tree.NewBundle(os.DirFS(bundle))
	must(t, err)
	left := filepath.Join(base, "python-"+b.Identity[:16]+".tmp-0123456789abcdef")
	must(t, os.MkdirAll(filepath.Join(left, "bin"), 0o755))
	open(t, bundle, base, tree.Options{})
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestDamagedPayload: content that is not what the manifest says is an error, and
// nothing is published.
func TestDamagedPayload(t *testing.T) {
	files := bt.Files{"a.txt": strings.Repeat("abc", 1000), "large": large(9 << 20), "stored": "s"}
	good := bt.Gzip(t, files)
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, bundle string)
	}{
		{"payload missing", func(t *testing.T, b string) { must(t, os.Remove(filepath.Join(b, "a.txt.gz"))) }},
		{"payload truncated", func(t *testing.T, b string) { must(t, os.Truncate(filepath.Join(b, "a.txt.gz"), 20)) }},
		{"payload truncated, size unknown", func(t *testing.T, b string) {
			must(t, os.Truncate(filepath.Join(b, "a.txt.gz"), 20))
			bt.Edit(t, b, func(m *manifest.Manifest) { m.Files[0].Stored = nil })
		}},
		{"payload garbled", func(t *testing.T, b string) { garble(t, filepath.Join(b, "large.gz"), 30000) }},
		{"stored payload of other content", func(t *testing.T, b string) { garble(t, filepath.Join(b, "stored"), 0) }},
		{"digest of another content", func(t *testing.T, b string) {
			bt.Edit(t, b, func(m *manifest.Manifest) { m.Files[0].SHA256 = m.Files[1].SHA256 })
		}},
		{"digest of another content, in chunks", func(t *testing.T, b string) {
			bt.Edit(t, b, func(m *manifest.Manifest) { m.Files[1].SHA256 = m.Files[0].SHA256 })
		}},
		{"more content than the size says", func(t *testing.T, b string) {
			bt.Edit(t, b, func(m *manifest.Manifest) { m.Files[0].Size-- })
		}},
		{"less content than the size says", func(t *testing.T, b string) {
			bt.Edit(t, b, func(m *manifest.Manifest) { m.Files[0].Size += 10 << 20 })
		}},
		{"chunk larger than said", func(t *testing.T, b string) {
			bt.Edit(t, b, func(m *manifest.Manifest) {
				m.Files[1].Chunks[0][0]--
				m.Files[1].Chunks[2][0]++
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bundle, base := t.TempDir(), newBase(t)
			must(t, os.CopyFS(bundle, os.DirFS(good)))
			c.damage(t, bundle)
			if _, err := tryOpen(context.Background(), bundle, base, tree.Options{}); !errors.Is(err, payload.Err) {
				t.Errorf("error is %v", err)
			}
			if left := entries(t, base); len(left) != 0 {
				t.Errorf("there is %v", left)
			}
		})
	}
}

// garble changes one byte of a file.
func garble(t *testing.T, path string, at int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	data[at] ^= 1
	must(t, os.WriteFile(path, data, 0o644))
}

// entries are the names in a directory.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestInPlace: a directory of the caller's is filled beside what is in it, and an
// upgrade removes what the earlier bundle left unchanged.
func TestInPlace(t *testing.T) {
	dir := newBase(t)
	openExact := func(files bt.Files) *tree.Tree {
		tr, err := openExact(t, dir, files)
		must(t, err)
		return tr
	}
	must(t, os.Mkdir(filepath.Join(dir, "lib"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "lib/mine"), []byte("mine"), 0o644))
	openExact(bt.Files{"lib/a": "1", "lib/b": "1", "lib/c": "1"}).Release()
	must(t, os.WriteFile(filepath.Join(dir, "lib/c"), []byte("changed"), 0o644))
	tr := openExact(bt.Files{"lib/a": "2", "d/e": "2"})
	bt.Same(t, dir, bt.Files{"lib/mine": "mine", "lib/a": "2", "lib/c": "changed", "d/e": "2"})

	must(t, os.Mkdir(filepath.Join(dir, "d/__pycache__"), 0o755))
	remove(t, tr)
	bt.Same(t, dir, bt.Files{"lib/mine": "mine", "lib/c": "changed"})
}

// openExact opens a bundle of files in exactly dir.
func openExact(t testing.TB, dir string, files bt.Files) (*tree.Tree, error) {
	t.Helper()
	b, err := tree.NewBundle(os.DirFS(bt.Gzip(t, files)))
	must(t, err)
	return store.OpenExact(context.Background(), b, dir, tree.Options{})
}

// TestInPlaceForeign: what is in the way of a bundle in a directory of the caller's is
// an error before anything is changed, unless an earlier bundle put it there.
func TestInPlaceForeign(t *testing.T) {
	none := func(string) error { return nil }
	for _, c := range []struct {
		name   string
		before bt.Files // the caller's
		first  bt.Files // an earlier bundle, if any
		change func(dir string) error
		files  bt.Files
		want   string   // what the error names; "" for none
		after  bt.Files // if there is no error
	}{
		{"directory for a file", bt.Files{"config/deep/precious": "p"}, nil, none,
			bt.Files{"a": "a", "config": "c"}, "config", nil},
		{"empty directory for a file", bt.Files{"config": bt.Dir{}}, nil, none, bt.Files{"config": "c"}, "config", nil},
		{"directory for a link", bt.Files{"d/config/precious": "p"}, nil, none,
			bt.Files{"d/a": "a", "d/config": bt.Link("a")}, "d/config", nil},
		{"file for a directory", bt.Files{"lib": "mine"}, nil, none, bt.Files{"a": "a", "lib/a.py": "a"}, "lib", nil},
		{"link for a directory", bt.Files{"real/a.py": "mine", "lib": bt.Link("real")}, nil, none,
			bt.Files{"lib/a.py": "a"}, "lib", nil},
		{"file for a file", bt.Files{"lib/a.py": "mine", "lib/b.py": "mine"}, nil, none,
			bt.Files{"lib/a.py": "a"}, "", bt.Files{"lib/a.py": "a", "lib/b.py": "mine"}},
		{"upgrade", nil, bt.Files{"lib/deep/x": "1", "conf": "1", "link": bt.Link("conf")}, func(d string) error {
			must(t, os.Mkdir(filepath.Join(d, "lib/deep/__pycache__"), 0o755))
			return os.WriteFile(filepath.Join(d, "lib/deep/__pycache__/x.pyc"), nil, 0o644)
		}, bt.Files{"lib": "2", "conf/a": "2", "link/b": "2"}, "", bt.Files{"lib": "2", "conf/a": "2", "link/b": "2"}},
		{"upgrade, a file in the directory", nil, bt.Files{"lib/deep/x": "1", "a": "1"}, func(d string) error {
			return os.WriteFile(filepath.Join(d, "lib/deep/mine"), nil, 0o644)
		}, bt.Files{"lib": "2", "a": "2"}, "lib/deep/mine", nil},
		{"upgrade, a file in the directory changed", nil, bt.Files{"lib/x": "1", "a": "1"}, func(d string) error {
			return os.WriteFile(filepath.Join(d, "lib/x"), []byte("mine"), 0o644)
		}, bt.Files{"lib": "2", "a": "2"}, "lib/x", nil},
		{"upgrade, the file changed", nil, bt.Files{"conf": "1", "a": "1"}, func(d string) error {
			return os.WriteFile(filepath.Join(d, "conf"), []byte("mine"), 0o644)
		}, bt.Files{"conf/x": "2", "a": "2"}, "conf", nil},
		{"file replaced by a directory", nil, bt.Files{"conf": "1", "a": "1"}, func(d string) error {
			must(t, os.Remove(filepath.Join(d, "conf")))
			return os.Mkdir(filepath.Join(d, "conf"), 0o755)
		}, bt.Files{"conf": "1", "a": "1"}, "conf", nil},
		{"directory replaced by a file", nil, bt.Files{"lib/a": "1"}, func(d string) error {
			must(t, os.RemoveAll(filepath.Join(d, "lib")))
			return os.WriteFile(filepath.Join(d, "lib"), []byte("mine"), 0o644)
		}, bt.Files{"lib/a": "1"}, "lib", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, was := newBase(t), t.TempDir()
			bt.Write(t, dir, c.before)
			if c.first != nil {
				tr, err := openExact(t, dir, c.first)
				must(t, err)
				tr.Release()
			}
			must(t, c.change(dir))
			must(t, os.CopyFS(was, os.DirFS(dir)))
			tr, err := openExact(t, dir, c.files)
			if c.want == "" {
				must(t, err)
				tr.Release()
				bt.Same(t, dir, c.after)
				return
			}
			if !errors.Is(err, basedir.ErrNone) || !strings.Contains(err.Error(), filepath.Join(dir, c.want)+" is in the way") {
				t.Errorf("error is %v", err)
			}
			out, err := exec.Command("diff", "-r", "--no-dereference", was, dir).CombinedOutput()
			if err != nil {
				t.Errorf("something changed: %v: %s", err, out)
			}
		})
	}
}

// TestInPlaceLink: an upgrade and a removal touch nothing behind a link that has taken
// the place of a directory.
func TestInPlaceLink(t *testing.T) {
	first := bt.Files{"lib/old.py": "1", "lib/deep/old.py": "1", "a": "1"}
	for _, c := range []struct {
		name  string
		then  func(t *testing.T, dir string, tr *tree.Tree)
		after bt.Files
	}{
		{"upgrade without the directory", func(t *testing.T, dir string, tr *tree.Tree) {
			_, err := openExact(t, dir, bt.Files{"a": "2"})
			must(t, err)
		}, bt.Files{"a": "2", "lib": bt.Link("../elsewhere/lib")}},
		{"upgrade with the directory", func(t *testing.T, dir string, tr *tree.Tree) {
			_, err := openExact(t, dir, bt.Files{"lib/new.py": "2"})
			must(t, err)
		}, bt.Files{"lib/new.py": "2"}},
		{"removal", func(t *testing.T, dir string, tr *tree.Tree) { remove(t, tr) },
			bt.Files{"lib": bt.Link("../elsewhere/lib")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := newBase(t)
			tr, err := openExact(t, dir, first)
			must(t, err)
			elsewhere := filepath.Join(dir, "../elsewhere")
			must(t, os.Mkdir(elsewhere, 0o755))
			must(t, os.Rename(filepath.Join(dir, "lib"), filepath.Join(elsewhere, "lib")))
			must(t, os.Symlink("../elsewhere/lib", filepath.Join(dir, "lib")))
			files := bt.Files{"lib/__pycache__/old.pyc": "", "lib/deep/__pycache__/old.pyc": ""}
			bt.Write(t, elsewhere, files)
			files["lib/old.py"], files["lib/deep/old.py"] = "1", "1"
			c.then(t, dir, tr)
			bt.Same(t, elsewhere, files)
			bt.Same(t, dir, c.after)
		})
	}
}

// TestInPlaceCancelled: a directory that was made for an extraction that fails goes,
// one that was there stays as it was.
func TestInPlaceCancelled(t *testing.T) {
	b, err := tree.NewBundle(os.DirFS(bt.Gzip(t, bt.Small())))
	must(t, err)
	base := newBase(t)
	old := filepath.Join(base, "old")
	must(t, os.Mkdir(old, 0o755))
	for _, dir := range []string{old, filepath.Join(base, "new")} {
		ctx, cancel := context.WithCancel(context.Background())
		opt := tree.Options{Progress: func(int64, int64) { cancel() }}
		if _, err := store.OpenExact(ctx, b, dir, opt); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	}
	bt.Same(t, base, bt.Files{"old": bt.Dir{}})
	if left := entries(t, old); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}

// TestRemove: a tree goes when the last who uses it removes it.
func TestRemove(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Small()), newBase(t)
	first := open(t, bundle, base, tree.Options{})
	second := open(t, bundle, base, tree.Options{})
	remove(t, first)
	bt.Same(t, second.Path(), bt.Small())
	remove(t, second)
	if left := entries(t, base); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
	open(t, bundle, base, tree.Options{})
	bt.Same(t, second.Path(), bt.Small())
}

// TestNamedBase: a base that the caller names is used or is an error.
func TestNamedBase(t *testing.T) {
	bundle := bt.Gzip(t, bt.Small())
	t.Setenv(basedir.Env, newBase(t))
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o644))
	_, err := tryOpen(context.Background(), bundle, file, tree.Options{})
	if !errors.Is(err, basedir.ErrNone) || !strings.Contains(err.Error(), file) {
		t.Errorf("error is %v", err)
	}
	tr := open(t, bundle, "", tree.Options{})
	if filepath.Dir(tr.Path()) != os.Getenv(basedir.Env) {
		t.Errorf("%s is not in $%s", tr.Path(), basedir.Env)
	}
}
