package overlay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"pyembed.invalid/runtime/internal/basedir"
	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/tree"
)

// A difference is how an overlay on disk is not as it is to be.
type difference struct {
	missing bool // as a whole
	foreign bool // others can write what is there, or it is not a directory
	wrong   []entry
	extra   []string // paths of what does not belong there
}

// right reports whether there is no difference.
func (d *difference) right() bool {
	return !d.missing && !d.foreign && len(d.wrong)+len(d.extra) == 0
}

// compare looks at every entry, and at every other that is there: a sitecustomize.py or
// a .pth would be run. Only our own user and root may be able to write in it.
func compare(root string, entries []entry) (*difference, error) {
	if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) {
		return &difference{missing: true}, nil
	} else if err != nil {
		return nil, err
	}
	if basedir.CheckOwn(root, false) != nil {
		return &difference{foreign: true}, nil
	}
	d := &difference{}
	dirs, names := []string{"."}, make(map[string]bool, len(entries))
	bad := make(map[string]bool) // directories that are not right, and all below
	for _, e := range entries {
		names[e.name] = true
		if bad[path.Dir(e.name)] || !e.same(root) {
			d.wrong = append(d.wrong, e)
			bad[e.name] = true
		} else if e.kind == dir {
			dirs = append(dirs, e.name)
		}
	}
	for _, name := range dirs {
		there, err := os.ReadDir(below(root, name))
		if err != nil {
			return nil, err
		}
		for _, e := range there {
			if at := path.Join(name, e.Name()); !names[at] && at != manifest.LeaseName {
				d.extra = append(d.extra, filepath.Join(below(root, name), e.Name()))
			}
		}
	}
	return d, nil
}

// same reports whether the entry is on disk below root.
func (e *entry) same(root string) bool {
	at := below(root, e.name)
	switch e.kind {
	case dir:
		return basedir.CheckOwn(at, false) == nil
	case link:
		return linked(e.content, at)
	}
	info, err := os.Lstat(at)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(e.content)) || writable(info) {
		return false
	}
	data, err := os.ReadFile(at)
	return err == nil && string(data) == e.content
}

// repair puts right what is different. An overlay that is missing appears by a rename;
// in one that is there each entry is replaced, so that those who use it miss nothing.
func (d *difference) repair(root, prefix string, entries []entry) error {
	tmp, err := tree.MakeTemp(prefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if d.missing || d.foreign {
		fresh := filepath.Join(tmp, "env")
		if err := os.Mkdir(fresh, 0o755); err != nil {
			return err
		}
		for _, e := range entries {
			if err := e.make(below(fresh, e.name)); err != nil {
				return err
			}
		}
		if d.foreign {
			if err := os.Rename(root, filepath.Join(tmp, "old")); err != nil {
				return err
			}
		}
		return os.Rename(fresh, root)
	}
	for i, p := range d.extra {
		if err := os.Rename(p, filepath.Join(tmp, "extra"+strconv.Itoa(i))); err != nil {
			return err
		}
	}
	for i, e := range d.wrong {
		fresh := filepath.Join(tmp, strconv.Itoa(i))
		if err := e.make(fresh); err != nil {
			return err
		}
		if err := replace(fresh, below(root, e.name), filepath.Join(tmp, "old"+strconv.Itoa(i))); err != nil {
			return err
		}
	}
	return nil
}

// make creates the entry at a path where nothing is.
func (e *entry) make(at string) error {
	switch e.kind {
	case dir:
		return os.Mkdir(at, 0o755)
	case link:
		return makeLink(e.content, at)
	}
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(f, e.content); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// replace renames from to to. What is there and can't be replaced by a rename, as a
// directory, or on Windows a program that runs, is first renamed to aside.
func replace(from, to, aside string) error {
	err := os.Rename(from, to)
	if err == nil {
		return nil
	}
	if os.Rename(to, aside) != nil {
		return err
	}
	return os.Rename(from, to)
}

// below is the path of an entry.
func below(root, name string) string {
	return filepath.Join(root, filepath.FromSlash(name))
}

// copied reports whether two files have the same content.
func copied(one, two string) bool {
	a, err := os.Open(one)
	if err != nil {
		return false
	}
	defer a.Close()
	b, err := os.Open(two)
	if err != nil {
		return false
	}
	defer b.Close()
	bufA, bufB := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			return ended(errA) && ended(errB)
		}
	}
}

// ended reports whether io.ReadFull came to the end of its file.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// hardLinked reports whether at is the file target, or a copy of it.
func hardLinked(target, at string) bool {
	want, err := os.Lstat(target)
	if err != nil {
		return false
	}
	have, err := os.Lstat(at)
	if err != nil || !have.Mode().IsRegular() {
		return false
	}
	return os.SameFile(want, have) || have.Size() == want.Size() && copied(target, at)
}

// hardLink makes at a hard link to target or, where that is not possible, as on another
// file system, a copy of it.
func hardLink(target, at string) error {
	if os.Link(target, at) == nil {
		return nil
	}
	return copyFile(target, at)
}

// copyFile makes at a copy of target.
func copyFile(target, at string) error {
	from, err := os.Open(target)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return fmt.Errorf("copy %s: %w", target, err)
	}
	return to.Close()
}
