package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"pyembed.invalid/runtime/internal/basedir"
	"pyembed.invalid/runtime/internal/manifest"
)

// heal puts right what is missing or changed in a tree that is there. What somebody
// removes while it is being put right, before the stamp has it, is put right once more.
func (t *Tree) heal(ctx context.Context) (err error) {
	const most = 5
	for range most {
		if err = t.healOnce(ctx); !errors.Is(err, ErrPlace) || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// healOnce puts right what is missing or changed, file by file.
func (t *Tree) healOnce(ctx context.Context) error {
	d, err := t.diagnose(ctx)
	if err != nil {
		return err
	}
	if !d.damaged() && !d.stale {
		return nil // another process has done it
	}
	if t.opt.InPlace {
		if err := t.checkForeign(d); err != nil {
			return err
		}
	}
	tmp, err := t.makeTemp()
	if errors.Is(err, ErrPlace) && !d.damaged() {
		return nil // only the stamp is not right, and it can't be written
	}
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := t.replace(ctx, d, tmp); err != nil {
		return place(err)
	}
	if err := t.writeStamp(t.path, tmp, d.plan, d.records); err != nil {
		return place(err)
	}
	t.log.Debug("pyembed: put right", "tree", t.path, "what", d.String())
	return nil
}

// checkForeign fails if something in a directory of the caller's would go that the
// bundle does not replace name by name: a directory where a file or link belongs, or
// anything else where a directory belongs. What an earlier bundle put there, as the
// stamp says, and nobody has changed since may go, and so may a link in place of one
// of its directories: what the link leads to stays.
func (t *Tree) checkForeign(d *diagnosis) error {
	st, err := newStatter(t.path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPlace, err)
	}
	defer st.close()
	known := d.old.byName()
	for _, name := range d.dirs {
		r, err := st.lstat(name)
		if err != nil || r.kind == 'd' || !t.realDirs(path.Dir(name)) {
			continue
		}
		was, listed := known[name]
		if !listed || !r.same(was) && (r.kind != 'l' || was.kind != 'd') {
			return fmt.Errorf("%w: %s is in the way: a directory belongs there", ErrPlace, below(t.path, name))
		}
	}
	for _, nodes := range [][]node{d.files, d.links} {
		for _, n := range nodes {
			if r, err := st.lstat(n.name); err != nil || r.kind != 'd' || !t.realDirs(path.Dir(n.name)) {
				continue
			}
			foreign, err := t.firstForeign(st, n.name, known)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrPlace, err)
			}
			if foreign != "" {
				return fmt.Errorf("%w: %s is in the way: no directory belongs at %s", ErrPlace, foreign, below(t.path, n.name))
			}
		}
	}
	return nil
}

// firstForeign is the path of something in a directory, or the directory itself, that
// is not as the stamp says, "" if there is nothing. What Python caches does not count.
func (t *Tree) firstForeign(st *statter, dir string, known map[string]record) (foreign string, err error) {
	err = filepath.WalkDir(below(t.path, dir), func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(t.path, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if name != dir && entry.IsDir() && entry.Name() == manifest.BytecodeDir {
			return fs.SkipDir
		}
		r, err := st.lstat(name)
		if err != nil {
			return err
		}
		if was, listed := known[name]; !listed || r.kind != was.kind || r.kind != 'd' && !r.same(was) {
			foreign = p
			return fs.SkipAll
		}
		return nil
	})
	return foreign, err
}

// replace changes on disk what the diagnosis says. New files are complete in tmp
// before the first of them is moved into the tree.
func (t *Tree) replace(ctx context.Context, d *diagnosis, tmp string) error {
	m, err := t.bundle.Manifest()
	if err != nil {
		return err
	}
	fresh := func(i int) string { return filepath.Join(tmp, strconv.Itoa(i)) }
	if err := t.fill(ctx, m, d.files, fresh); err != nil {
		return err
	}
	for i, name := range d.extra {
		// At once: Python may be caching bytecode in a directory while it goes.
		err := rename(below(t.path, name), filepath.Join(tmp, "extra"+strconv.Itoa(i)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, name := range d.dirs {
		if err := makeDir(below(t.path, name)); err != nil {
			return err
		}
	}
	for i, n := range d.files {
		if err := move(fresh(i), below(t.path, n.name)); err != nil {
			return err
		}
	}
	for i, n := range d.links {
		link := filepath.Join(tmp, "link"+strconv.Itoa(i))
		if err := os.Symlink(n.entry.Symlink, link); err != nil {
			return err
		}
		if err := move(link, below(t.path, n.name)); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes sure that there is a real directory that others can't write. In a
// directory of the caller's, checkForeign has seen what may be removed for it.
func makeDir(path string) error {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.IsDir():
		if err := os.Chmod(path, 0o755); err != nil {
			return err
		}
		return basedir.CheckOwn(path, false)
	case err == nil:
		if err := os.Remove(path); err != nil {
			return err
		}
	case !os.IsNotExist(err):
		return err
	}
	return os.Mkdir(path, 0o755)
}

// move renames a file or link to where another, or a directory, may be. In a
// directory of the caller's, checkForeign has seen what may be removed for it.
func move(from, to string) error {
	if info, err := os.Lstat(to); err == nil && info.IsDir() {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	if err := rename(from, to); err != nil {
		return fmt.Errorf("put back %s: %w", to, err)
	}
	return nil
}
