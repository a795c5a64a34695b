package tree

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pyembed.invalid/runtime/internal/basedir"
	"pyembed.invalid/runtime/internal/lock"
	"pyembed.invalid/runtime/internal/manifest"
)

// A Pruning says which trees are to be removed from a base. Trees that somebody uses, or
// that hold a file which neither the bundle nor Python's bytecode cache put there, are
// never removed.
type Pruning struct {
	Name      string        // of the trees, without their hash; "" for all
	OlderThan time.Duration // since the tree was last used, give or take a day
	Most      int           // of trees to remove; 0 for no limit
	Logger    *slog.Logger
}

// Prune removes trees from base that have not been used for a while, and what is left of
// extractions and removals that did not end. It returns the paths of the trees. An error
// about one does not keep it from the others. When ctx is done it stops between two.
func (p Pruning) Prune(ctx context.Context, base string) (removed []string, err error) {
	if p.Logger == nil {
		p.Logger = slog.New(slog.DiscardHandler)
	}
	groups, err := siblings(base)
	if err != nil {
		return nil, err
	}
	running := sync.OnceValue(func() bool { return slices.ContainsFunc(groups, (*group).running) })
	var problems []error
	for _, g := range groups {
		if ctx.Err() != nil || p.Most > 0 && len(removed) == p.Most {
			break
		}
		if p.Name != "" && g.name() != p.Name {
			continue
		}
		gone, err := p.pruneOne(g, running)
		if err != nil {
			problems = append(problems, err)
		}
		if gone {
			p.Logger.Debug("pyembed: pruned", "tree", g.path)
			removed = append(removed, g.path)
		}
	}
	return removed, errors.Join(append(problems, ctx.Err())...)
}

// A group is what lies in a base for one tree.
type group struct {
	path        string // of the tree
	tree        bool   // it is there
	lock        bool   // its lock file is
	temporaries []string
	overlays    []string
}

// name is what the tree was called when it was opened.
func (g *group) name() string {
	name := filepath.Base(g.path)
	return name[:len(name)-len("-0123456789abcdef")]
}

// siblings lists what lies in base by tree, and nothing that has another kind of name or
// is not what it should be.
func siblings(base string) ([]*group, error) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, err
	}
	byPath := make(map[string]*group)
	for _, e := range entries {
		name, suffix := splitSuffix(e.Name())
		if i := strings.LastIndexByte(name, '-'); i <= 0 || !isHex16(name[i+1:]) {
			continue
		}
		path := filepath.Join(base, name)
		g := byPath[path]
		if g == nil {
			g = &group{path: path}
			byPath[path] = g
		}
		switch dir := e.IsDir(); {
		case dir && suffix == "":
			g.tree = true
		case dir && isTemporary(suffix):
			g.temporaries = append(g.temporaries, filepath.Join(base, e.Name()))
		case dir && isOverlay(suffix):
			g.overlays = append(g.overlays, filepath.Join(base, e.Name()))
		case suffix == "lock":
			info, err := e.Info()
			g.lock = err == nil && info.Mode().IsRegular() && info.Size() == 0
		}
	}
	groups := make([]*group, 0, len(byPath))
	for _, g := range byPath {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int { return strings.Compare(a.path, b.path) })
	return groups, nil
}

// splitSuffix cuts what says what a sibling is from the name of its tree.
func splitSuffix(name string) (tree, suffix string) {
	i := strings.LastIndexByte(name, '.')
	if rest := name[i+1:]; i > 0 && (rest == "lock" || isTemporary(rest) || isOverlay(rest)) {
		return name[:i], rest
	}
	return name, ""
}

// pruneOne removes a tree, if it is old and nobody uses it, or what a dead process left of
// one. running tells whether an interpreter in the base is in use.
func (p Pruning) pruneOne(g *group, running func() bool) (bool, error) {
	var old bool
	switch {
	case g.tree:
		if basedir.CheckOwn(g.path, false) != nil {
			return false, nil // it is not ours
		}
		old = p.old(g.path)
	case g.lock || len(g.overlays) > 0:
		old = p.allOld(append([]string{g.path + ".lock"}, g.overlays...))
	}
	if old {
		return p.discard(g, running)
	}
	var problems []error
	if g.lock && len(g.temporaries) > 0 {
		problems = append(problems, g.dropTemporaries())
	}
	if g.tree && len(g.overlays) > 0 {
		problems = append(problems, p.dropOverlays(g))
	}
	return false, errors.Join(problems...)
}

// old reports whether the tree at path was not used for a while, by the time of its lease
// or, if there is none, of its stamp. A time in the future, as after the clock was set
// back, begins anew.
func (p Pruning) old(path string) bool {
	used := LeaseOf(path)
	info, err := os.Lstat(used)
	if errors.Is(err, fs.ErrNotExist) {
		used = filepath.Join(path, stampName)
		info, err = os.Lstat(used)
	}
	return err == nil && info.Mode().IsRegular() && p.oldTime(used, info)
}

// allOld reports whether everything at paths that is there is old.
func (p Pruning) allOld(paths []string) bool {
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil && !p.oldTime(path, info) {
			return false
		}
	}
	return true
}

// oldTime reports whether info's time is long past.
func (p Pruning) oldTime(path string, info fs.FileInfo) bool {
	now := time.Now()
	age := now.Sub(info.ModTime())
	if age < -lock.UseGrain {
		os.Chtimes(path, now, now)
	}
	return age > p.OlderThan
}

// dropTemporaries removes what dead processes left beside a tree that is not removed.
func (g *group) dropTemporaries() error {
	l, err := lock.Try(g.path+".lock", lock.Exclusive)
	if err != nil {
		return unlessInUse(err)
	}
	defer l.Unlock()
	var problems []error
	for _, dir := range g.temporaries {
		problems = append(problems, os.RemoveAll(dir))
	}
	return errors.Join(problems...)
}

// dropOverlays removes the old overlays of a tree that stays, if nobody uses the tree: which
// overlay somebody uses can't be told.
func (p Pruning) dropOverlays(g *group) error {
	old := slices.DeleteFunc(slices.Clone(g.overlays), func(path string) bool { return !p.allOld([]string{path}) })
	s := readStamp(g.path)
	if len(old) == 0 || s == nil {
		return nil
	}
	held, err := seize(g.path+".lock", LeaseOf(g.path))
	if err != nil {
		return unlessInUse(err)
	}
	defer held.release()
	if executing(g.path, s.executables()) {
		return nil
	}
	var problems []error
	for _, path := range old {
		_, err := dropOverlay(path)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// discard removes the group's tree and all that belongs to it, if it is a tree of ours
// that nobody uses, or what is there without a tree.
func (p Pruning) discard(g *group, running func() bool) (bool, error) {
	if !g.tree {
		return false, g.dropRests()
	}
	s := readStamp(g.path)
	if s == nil || !strings.HasSuffix(g.path, "-"+s.identity[:16]) {
		return false, nil
	}
	// A child that outlives its parent may be using packages: that can't be told of them.
	if !s.interpreter() && running() {
		return false, nil
	}
	held, err := seize(g.path+".lock", LeaseOf(g.path))
	if err != nil {
		return false, unlessInUse(err)
	}
	if foreign := s.foreign(g.path); foreign != "" {
		p.Logger.Debug("pyembed: not pruned", "tree", g.path, "foreign", foreign)
		held.release()
		return false, nil
	}
	if !p.old(g.path) || executing(g.path, s.executables()) {
		held.release()
		return false, nil
	}
	return removeAll(g.path, held)
}

// dropRests removes what is there without a tree: what killed processes left, overlays of
// a tree that lies elsewhere, unless somebody uses them, and the lock.
func (g *group) dropRests() error {
	held, err := seize(g.path+".lock", LeaseOf(g.path))
	if err != nil {
		return unlessInUse(err)
	}
	if _, err := os.Lstat(g.path); !errors.Is(err, fs.ErrNotExist) {
		held.release()
		return err // it was extracted since the listing
	}
	var problems []error
	left := false
	for _, path := range g.overlays {
		gone, err := dropOverlay(path)
		problems = append(problems, err)
		left = left || !gone
	}
	for _, path := range g.temporaries {
		problems = append(problems, os.RemoveAll(path))
	}
	if err := errors.Join(problems...); left || err != nil {
		held.release()
		return err
	}
	held.remove()
	return nil
}

// dropOverlay removes an overlay unless somebody has its lease.
func dropOverlay(path string) (gone bool, err error) {
	if info, err := os.Lstat(filepath.Join(path, "pyvenv.cfg")); err != nil || !info.Mode().IsRegular() {
		return false, nil // it is not ours
	}
	l, err := lock.Try(LeaseOf(path), lock.Exclusive)
	if err != nil {
		return false, unlessInUse(err)
	}
	if !renamesOpen {
		l.Unlock()
	}
	dir, name := filepath.Split(path)
	tree, _ := splitSuffix(name)
	trash := tempName(dir + tree + ".")
	err = rename(path, trash)
	if renamesOpen {
		l.Unlock()
	}
	if err != nil {
		return false, unlessInUse(err)
	}
	return true, os.RemoveAll(trash)
}

// running reports whether the group's tree has an interpreter that is in use, or that
// may be.
func (g *group) running() bool {
	s := readStamp(g.path)
	if s == nil || !s.interpreter() {
		return false
	}
	held, err := seize(g.path+".lock", LeaseOf(g.path))
	if err != nil {
		return true
	}
	defer held.release()
	return executing(g.path, s.executables())
}

// interpreter reports whether the tree is a Python.
func (s *stamp) interpreter() bool {
	return slices.ContainsFunc(s.index, func(e stamped) bool { return e.name == "bin/python3" || e.name == "python.exe" })
}

// executables lists the files of the stamp that may be executed.
func (s *stamp) executables() []string {
	var names []string
	for _, e := range s.index {
		if e.kind == 'f' && e.mode&0o111 != 0 && manifest.CheckName(e.name) == nil {
			names = append(names, e.name)
		}
	}
	return names
}

// isHalfBytecode reports whether a name is of bytecode that a Python which was killed did
// not finish: name.pyc.<number>.
func isHalfBytecode(name string) bool {
	return manifest.IsBytecode(strings.TrimRight(strings.TrimRight(name, "0123456789"), "."))
}

// foreign is a file in the tree at root that neither its bundle nor Python's bytecode
// cache put there, "" if there is none.
func (s *stamp) foreign(root string) (found string) {
	known := s.byName()
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		_, listed := known[name]
		switch {
		case listed, name == ".", strings.HasPrefix(name, manifest.Reserved):
		case e.IsDir() && e.Name() == manifest.BytecodeDir:
		case e.Type().IsRegular() && (manifest.IsBytecode(name) || isHalfBytecode(name)):
		default:
			found = p
			return fs.SkipAll
		}
		return nil
	})
	if err != nil && found == "" {
		return root
	}
	return found
}
