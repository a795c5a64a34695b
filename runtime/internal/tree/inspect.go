package tree

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/payload"
)

// right reports whether the tree passes its level, as far as can be told without
// the lock. Only level hash parses the manifest.
func (t *Tree) right(ctx context.Context) (bool, error) {
	switch t.opt.Level {
	case Stamp:
		return readIdentity(t.path) == t.bundle.Identity, nil
	case Stat:
		s := readStamp(t.path)
		return s != nil && s.identity == t.bundle.Identity && t.unchanged(s), nil
	default:
		d, err := t.diagnose(ctx)
		if err != nil {
			return false, err
		}
		return !d.damaged() && !d.stale, nil
	}
}

// unchanged reports whether every entry is as the stamp says. Bytecode in a bundle is no
// more than a start: Python replaces what it finds to be stale.
func (t *Tree) unchanged(s *stamp) bool {
	st, err := newStatter(t.path)
	if err != nil {
		return false
	}
	defer st.close()
	same := func(part []stamped) bool {
		for i := range part {
			if r, err := st.lstat(part[i].name); (err != nil || !r.same(part[i].record)) && !manifest.IsBytecode(part[i].name) {
				return false
			}
		}
		return true
	}
	// A system call for each entry is nearly all that a warm start does.
	const most, least = 4, 64
	parts := max(1, min(runtime.GOMAXPROCS(0), most, len(s.index)/least))
	results := make(chan bool, parts)
	for i := 1; i < parts; i++ {
		go func() { results <- same(s.index[len(s.index)*i/parts : len(s.index)*(i+1)/parts]) }()
	}
	results <- same(s.index[:len(s.index)/parts])
	right := true
	for range parts {
		right = <-results && right
	}
	return right
}

// A diagnosis is how a tree differs from its manifest.
type diagnosis struct {
	plan    *plan
	old     *stamp            // as it is on disk, of any bundle; may be nil
	records map[string]record // of the entries that are right
	dirs    []string          // missing, or something else
	files   []node            // missing or changed
	links   []node            // missing or changed
	extra   []string          // not in the manifest, and to be removed
	stale   bool              // the stamp must be written anew
}

// damaged reports whether something on disk must change, apart from the stamp.
func (d *diagnosis) damaged() bool {
	return len(d.dirs)+len(d.files)+len(d.links)+len(d.extra) > 0
}

// String counts what is wrong.
func (d *diagnosis) String() string {
	return fmt.Sprintf("%d missing or changed, %d foreign", len(d.dirs)+len(d.files)+len(d.links), len(d.extra))
}

// diagnose compares the tree with the manifest. An entry that is as the stamp says
// is believed below level hash; else its content is read.
func (t *Tree) diagnose(ctx context.Context) (*diagnosis, error) {
	m, err := t.bundle.Manifest()
	if err != nil {
		return nil, err
	}
	p, err := newPlan(m)
	if err != nil {
		return nil, err
	}
	st, err := newStatter(t.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlace, err)
	}
	defer st.close()
	old := readStamp(t.path)
	d := &diagnosis{plan: p, old: old, records: make(map[string]record, len(p.names))}
	var known map[string]record
	if d.stale = old == nil || old.identity != t.bundle.Identity; !d.stale {
		known = old.byName()
	}
	bad := d.checkDirs(st, known)
	var read []node
	for _, n := range p.files {
		if bad[path.Dir(n.name)] {
			d.files = append(d.files, n)
			continue
		}
		r, err := st.lstat(n.name)
		was, stamped := known[n.name]
		if stamped && t.opt.Level != Hash && manifest.IsBytecode(n.name) {
			d.records[n.name] = was
			continue
		}
		switch {
		case err != nil || r.kind != 'f' || r.size != n.entry.Size,
			stamped && r.mode != was.mode,
			!stamped && !modeFits(r.mode, n.entry.Executable()):
			d.files = append(d.files, n)
			continue
		case !stamped || !r.same(was):
			d.stale = true
			read = append(read, n)
		case t.opt.Level == Hash:
			read = append(read, n)
		}
		d.records[n.name] = r
	}
	d.checkLinks(t.path, st, known, bad)
	if err := t.readAll(ctx, m, read, d); err != nil {
		return nil, err
	}
	if err := t.findExtra(d); err != nil {
		return nil, err
	}
	return d, nil
}

// checkDirs records the directories and gives the set of those that are not right,
// with all below them: what can be seen there may be behind a link.
func (d *diagnosis) checkDirs(st *statter, known map[string]record) (bad map[string]bool) {
	bad = make(map[string]bool)
	for _, name := range d.plan.dirs {
		r, err := st.lstat(name)
		was, stamped := known[name]
		if bad[path.Dir(name)] || err != nil || r.kind != 'd' {
			bad[name] = true
			d.dirs = append(d.dirs, name)
			continue
		}
		if stamped && r.mode != was.mode || !stamped && realLinks && r.mode&otherWrite != 0 {
			d.dirs = append(d.dirs, name) // its permission is put right
			continue
		}
		d.stale = d.stale || !stamped
		d.records[name] = r
	}
	return bad
}

// checkLinks records the links, whose content is their target.
func (d *diagnosis) checkLinks(root string, st *statter, known map[string]record, bad map[string]bool) {
	for _, n := range d.plan.links {
		r, err := st.lstat(n.name)
		if bad[path.Dir(n.name)] || err != nil || r.kind != 'l' {
			d.links = append(d.links, n)
			continue
		}
		if was, stamped := known[n.name]; !stamped || !r.same(was) {
			d.stale = true
		}
		target, err := os.Readlink(filepath.Join(root, filepath.FromSlash(n.name)))
		if err != nil || target != n.entry.Symlink {
			d.links = append(d.links, n)
			continue
		}
		d.records[n.name] = r
	}
}

// readAll compares the content of files with the manifest, in parallel, and moves
// those that differ from the records to the damaged ones.
func (t *Tree) readAll(ctx context.Context, m *manifest.Manifest, nodes []node, d *diagnosis) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	var failed error
	for range min(runtime.GOMAXPROCS(0), len(nodes)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var in payload.Reader
			defer in.Close()
			buf := make([]byte, 256<<10)
			for i := next.Add(1) - 1; i < int64(len(nodes)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				n := nodes[i]
				same, err := t.sameContent(ctx, m, n, &in, buf)
				mu.Lock()
				if err != nil && failed == nil {
					failed = err
				}
				if !same {
					delete(d.records, n.name)
					d.files = append(d.files, n)
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return failed
}

// sameContent reports whether a file has the content that the manifest says. For a
// manifest without digests the payload tells. The error is about the payload.
func (t *Tree) sameContent(ctx context.Context, m *manifest.Manifest, n node, in *payload.Reader, buf []byte) (bool, error) {
	want := n.entry.SHA256
	if want == "" {
		var err error
		if want, err = in.Each(ctx, m.Source(t.bundle.FS, n.entry), buf, func(int64, []byte) error { return nil }); err != nil {
			return false, err
		}
	}
	f, err := os.Open(filepath.Join(t.path, filepath.FromSlash(n.name)))
	if err != nil {
		return false, nil
	}
	defer f.Close()
	h := sha256.New()
	// A file that grows meanwhile has another digest one byte after its end.
	if _, err := io.CopyBuffer(h, io.LimitReader(f, n.entry.Size+1), buf); err != nil {
		return false, nil
	}
	return hex.EncodeToString(h.Sum(nil)) == want, nil
}

// findExtra lists what is to be removed. In a tree of its own at level hash that is
// everything that the manifest does not name: a planted .pyc or sitecustomize.py
// runs beside intact files. In a directory of the caller's it is only what an
// earlier bundle put there and nobody has changed since.
func (t *Tree) findExtra(d *diagnosis) error {
	if t.opt.InPlace {
		if d.old != nil && d.old.identity != t.bundle.Identity {
			d.extra = t.leftOver(d.plan, d.old)
		}
		return nil
	}
	if t.opt.Level != Hash {
		return nil
	}
	err := filepath.WalkDir(t.path, func(p string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || p == t.path {
			return err
		}
		name, err := filepath.Rel(t.path, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.plan.names[name] || strings.HasPrefix(name, manifest.Reserved) {
			return nil
		}
		d.extra = append(d.extra, name)
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPlace, err)
	}
	return nil
}

// leftOver lists the files and links of an older stamp that the plan does not name
// and that are as they were. What is seen through a link lies outside and stays.
func (t *Tree) leftOver(p *plan, old *stamp) []string {
	st, err := newStatter(t.path)
	if err != nil {
		return nil
	}
	defer st.close()
	var names []string
	for _, e := range old.index {
		if p.names[e.name] || e.kind == 'd' || manifest.CheckName(e.name) != nil {
			continue
		}
		if r, err := st.lstat(e.name); err == nil && r.same(e.record) && t.realDirs(path.Dir(e.name)) {
			names = append(names, e.name)
		}
	}
	return names
}
