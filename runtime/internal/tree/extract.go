package tree

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pyembed.invalid/runtime/internal/manifest"
)

// extract writes the whole tree into a new sibling directory and renames it.
func (t *Tree) extract(ctx context.Context) error {
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
	published := false
	defer func() {
		if !published {
			os.RemoveAll(tmp)
		}
	}()
	if err := t.build(ctx, tmp, m, p); err != nil {
		return place(err)
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
			return nil
		}
		return place(err)
	}
	published, t.fresh = true, true
	t.log.Debug("pyembed: extracted", "tree", t.path, "files", len(p.files))
	return nil
}

// build writes the whole tree, and its stamp last, into the empty directory tmp.
func (t *Tree) build(ctx context.Context, tmp string, m *manifest.Manifest, p *plan) error {
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
	return t.writeStamp(tmp, tmp, p, nil)
}

// fill writes files to where dest says, and reports progress.
func (t *Tree) fill(ctx context.Context, m *manifest.Manifest, files []node, dest func(i int) string) error {
	jobs := make([]job, len(files))
	var done, total int64
	for i, n := range files {
		jobs[i] = job{src: m.Source(t.bundle.FS, n.entry), dest: dest(i), executable: n.entry.Executable()}
		total += n.entry.Size
	}
	if t.opt.Progress == nil || len(files) == 0 {
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
	dir, err := MakeTemp(t.Beside(""))
	return dir, place(err)
}

// MakeTemp makes a directory with a temporary name that begins with start: if its maker
// dies, a sweep knows it by that.
func MakeTemp(start string) (string, error) {
	for {
		dir := tempName(start)
		if err := os.Mkdir(dir, 0o755); !errors.Is(err, fs.ErrExist) {
			return dir, err
		}
	}
}

// tempName is a new temporary name that begins with start.
func tempName(start string) string {
	var random [8]byte
	rand.Read(random[:])
	return start + "tmp-" + hex.EncodeToString(random[:])
}

// dropTemporaries removes what processes left that died. The lock is held, so nobody
// alive has such a directory.
func (t *Tree) dropTemporaries() {
	dir, start := filepath.Split(t.Beside(""))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), start); ok && isTemporary(rest) {
			t.log.Debug("pyembed: remove what a dead process left", "dir", e.Name())
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

// isTemporary reports whether what follows a tree's path belongs to a temporary
// directory, of a tree that is being written or of one that is being removed.
func isTemporary(suffix string) bool {
	kind, random, _ := strings.Cut(suffix, "-")
	return kind == "tmp" && isHex16(random)
}

// isOverlay reports whether what follows a tree's path belongs to a directory that was
// made for users of the tree (package overlay).
func isOverlay(suffix string) bool {
	kind, hash, _ := strings.Cut(suffix, "-")
	return kind == "env" && isHex16(hash)
}

// isHex16 reports whether s is 16 hex digits.
func isHex16(s string) bool {
	return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == ""
}

// below is the path of an entry in a directory.
func below(root, name string) string {
	return filepath.Join(root, filepath.FromSlash(name))
}
