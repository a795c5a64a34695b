package tree

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// heal puts right what is missing or changed in a tree that is there, file by file.
func (t *Tree) heal(ctx context.Context) error {
	d, err := t.diagnose(ctx)
	if err != nil {
		return err
	}
	if !d.damaged() && !d.stale {
		return nil // another process has done it
	}
	tmp, err := t.makeTemp()
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := t.replace(ctx, d, tmp); err != nil {
		return err
	}
	if err := t.writeStamp(t.path, tmp, d.plan, d.records); err != nil {
		return err
	}
	t.log.Debug("pyembed: put right", "tree", t.path, "what", d.String())
	return nil
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
	for _, name := range d.extra {
		if err := os.RemoveAll(below(t.path, name)); err != nil {
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

// makeDir makes sure that there is a real directory that others can't write.
func makeDir(path string) error {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.IsDir():
		return os.Chmod(path, 0o755)
	case err == nil:
		if err := os.Remove(path); err != nil {
			return err
		}
	case !os.IsNotExist(err):
		return err
	}
	return os.Mkdir(path, 0o755)
}

// move renames a file or link to where another, or a directory, may be.
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
