package tree

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pyembed.invalid/runtime/internal/manifest"
)

// extract writes the whole tree into a new sibling directory and renames it.
func (t *Tree) extract(ctx context.Context) (err error) {
	m, err := t.bundle.Manifest()
	if err != nil {
		return err
	}
	p, err := newPlan(m)
	if err != nil {
		return err
	}
	tmp, err := t.makeTemp()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	for _, dir := range p.dirs {
		if err := os.Mkdir(below(tmp, dir), 0o755); err != nil {
			return err
		}
	}
	if err := t.fill(ctx, m, p.files, func(i int) string { return below(tmp, p.files[i].name) }); err != nil {
		return err
	}
	for _, n := range p.links {
		if err := os.Symlink(n.entry.Symlink, below(tmp, n.name)); err != nil {
			return err
		}
	}
	if err := t.writeStamp(tmp, tmp, p, nil); err != nil {
		return err
	}
	if t.opt.Trial != nil {
		if err := t.opt.Trial(ctx, tmp); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := rename(tmp, t.path); err != nil {
		// Without locks another process may have been faster.
		if there, _ := t.there(); there && readIdentity(t.path) == t.bundle.Identity {
			os.RemoveAll(tmp)
			return nil
		}
		return err
	}
	t.log.Debug("pyembed: extracted", "tree", t.path, "files", len(p.files))
	return nil
}

// fill writes files to where dest says, and reports progress.
func (t *Tree) fill(ctx context.Context, m *manifest.Manifest, files []node, dest func(i int) string) error {
	jobs := make([]job, len(files))
	var done, total int64
	for i, n := range files {
		jobs[i] = job{src: m.Source(t.bundle.FS, n.entry), dest: dest(i), executable: n.entry.Executable()}
		total += n.entry.Size
	}
	if t.opt.Progress == nil {
		return fill(ctx, jobs, nil)
	}
	t.opt.Progress(0, total)
	return fill(ctx, jobs, func(n int64) {
		done += n
		t.opt.Progress(done, total)
	})
}

// writeStamp observes the entries of the plan that are not in known, below root, and
// writes the stamp through a new file in tmp.
func (t *Tree) writeStamp(root, tmp string, p *plan, known map[string]record) error {
	st, err := newStatter(root)
	if err != nil {
		return err
	}
	defer st.close()
	records := make(map[string]record, len(p.names))
	for name := range p.names {
		r, ok := known[name]
		if !ok {
			if r, err = st.lstat(name); err != nil {
				return err
			}
		}
		records[name] = r
	}
	fresh := filepath.Join(tmp, manifest.Reserved+"stamp-new")
	if err := writePiece(fresh, 0, newStamp(t.bundle.Identity, records).encode(), false, true); err != nil {
		return err
	}
	return rename(fresh, filepath.Join(root, stampName))
}

// makeTemp makes a directory for what is not published yet: beside the tree, or in
// a caller's directory, which may be a file system of its own.
func (t *Tree) makeTemp() (string, error) {
	for {
		var random [8]byte
		rand.Read(random[:])
		dir := t.Beside("tmp-" + hex.EncodeToString(random[:]))
		err := os.Mkdir(dir, 0o755)
		switch {
		case err == nil:
			return dir, nil
		case errors.Is(err, fs.ErrExist):
		case notWritable(err):
			return "", fmt.Errorf("%w: %w", ErrPlace, err)
		default:
			return "", err
		}
	}
}

// sweep removes temporary directories of processes that died. The lock is held, so
// nobody alive has one.
func (t *Tree) sweep() {
	prefix := t.Beside("tmp-")
	dir, prefix := filepath.Split(prefix)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			t.log.Debug("pyembed: remove what a dead process left", "dir", e.Name())
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

// below is the path of an entry in a directory.
func below(root, name string) string {
	return filepath.Join(root, filepath.FromSlash(name))
}
