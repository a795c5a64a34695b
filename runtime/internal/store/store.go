// Package store joins where trees may lie (basedir) with what is in them (tree).
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pyembed.invalid/runtime/internal/basedir"
	"pyembed.invalid/runtime/internal/tree"
)

// hashLen is how many hex digits of a bundle's identity are in its tree's name; the
// stamp has all of them.
const hashLen = 16

// What a sweep may do: it runs when a tree was extracted, which an upgrade of a program
// does, so that old versions do not pile up, and must not be felt beside that.
const (
	// SweepAge is the time without use after which a tree is swept.
	SweepAge  = 7 * 24 * time.Hour
	sweepTime = 250 * time.Millisecond
	sweepMost = 8 // trees
)

// OpenNamed opens the bundle in <base>/<name>-<hash16>, in the first base that will
// do. base is the directory that the caller names, or "". In the error, which wraps
// basedir.ErrNone, are all that were tried.
func OpenNamed(ctx context.Context, b *tree.Bundle, base, name string, opt tree.Options) (*tree.Tree, error) {
	t, err := open(ctx, b, basedir.Candidates(base), cleanName(name), opt)
	if err == nil {
		sweep(ctx, t, "", opt)
	}
	return t, err
}

// OpenHashed opens the bundle in <path>-<hash16>.
func OpenHashed(ctx context.Context, b *tree.Bundle, path string, opt tree.Options) (*tree.Tree, error) {
	path, err := filepath.Abs(path)
	// The directory above is often os.TempDir itself.
	base := basedir.Candidate{Path: filepath.Dir(path), Explicit: true, Sticky: true, Err: err}
	name := filepath.Base(path)
	t, err := open(ctx, b, []basedir.Candidate{base}, name, opt)
	if err == nil && basedir.CheckOwn(filepath.Dir(t.Path()), false) == nil {
		sweep(ctx, t, name, opt)
	}
	return t, err
}

// sweep removes old trees beside one that was extracted just now: those with a name, or
// all if it is "". What can't be removed stays until another time.
func sweep(ctx context.Context, t *tree.Tree, name string, opt tree.Options) {
	base := filepath.Dir(t.Path())
	if !t.Fresh() || opt.NoSweep || basedir.Network(base) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	pruning := tree.Pruning{Name: name, OlderThan: SweepAge, Most: sweepMost, Logger: opt.Logger}
	if _, err := pruning.Prune(ctx, base); err != nil && opt.Logger != nil {
		opt.Logger.Debug("pyembed: sweep", "base", base, "err", err)
	}
}

// Prune removes trees that have not been used for olderThan from the base that the caller
// names, or else from all that are found. It returns their paths.
func Prune(ctx context.Context, base string, olderThan time.Duration, log *slog.Logger) (removed []string, err error) {
	var problems []error
	for _, c := range basedir.Candidates(base) {
		if _, err := os.Lstat(c.Path); err != nil {
			continue
		}
		path, err := c.Prepare()
		if err == nil && basedir.Network(path) {
			err = errors.New("it may be on a network file system, where locks of other machines may not be seen")
		}
		if err == nil {
			var gone []string
			gone, err = tree.Pruning{OlderThan: olderThan, Logger: log}.Prune(ctx, path)
			removed = append(removed, gone...)
		} else if !c.Explicit {
			continue // nothing of ours is there
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("prune %s: %w", c.Path, err))
		}
	}
	return removed, errors.Join(problems...)
}

// OpenExact opens the bundle in exactly the directory dir, beside what else is in it.
func OpenExact(ctx context.Context, b *tree.Bundle, dir string, opt tree.Options) (_ *tree.Tree, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if _, statErr := os.Stat(dir); errors.Is(statErr, fs.ErrNotExist) {
		defer func() {
			if err != nil {
				os.Remove(dir)
			}
		}()
	}
	base := basedir.Candidate{Path: dir, Explicit: true}
	real, err := base.Prepare()
	if err != nil {
		return nil, basedir.Tried([]error{err})
	}
	opt.InPlace = true
	t, err := tree.Open(ctx, b, real, opt)
	if errors.Is(err, tree.ErrPlace) {
		err = basedir.Tried([]error{err})
	}
	return t, err
}

// open tries the candidates in turn. What is wrong with the bundle is wrong everywhere
// and ends it.
func open(ctx context.Context, b *tree.Bundle, candidates []basedir.Candidate, name string, opt tree.Options) (*tree.Tree, error) {
	var problems []error
	name += "-" + b.Identity[:hashLen]
	for _, c := range withTreeFirst(b, candidates, name) {
		base, err := c.Prepare()
		if err != nil {
			problems = append(problems, problem(c, err))
			continue
		}
		t, err := tree.Open(ctx, b, filepath.Join(base, name), opt)
		if !errors.Is(err, tree.ErrPlace) {
			return t, err
		}
		problems = append(problems, problem(c, err))
	}
	return nil, basedir.Tried(problems)
}

// problem is what was wrong with a candidate.
func problem(c basedir.Candidate, err error) error {
	if strings.Contains(err.Error(), c.Path) {
		return err
	}
	return fmt.Errorf("%s (%w)", c.Path, err)
}

// withTreeFirst puts the first candidate that has the tree at the front: where the first
// of all is a full disk, or one that runs no programs, not every start must find out.
func withTreeFirst(b *tree.Bundle, candidates []basedir.Candidate, name string) []basedir.Candidate {
	if len(candidates) == 1 {
		return candidates
	}
	i := slices.IndexFunc(candidates, func(c basedir.Candidate) bool {
		return c.Err == nil && tree.Extracted(b, filepath.Join(c.Path, name))
	})
	if i <= 0 {
		return candidates
	}
	ordered := append([]basedir.Candidate{candidates[i]}, candidates[:i]...)
	return append(ordered, candidates[i+1:]...)
}

// cleanName makes any name one element of a path, without a dot, which begins what
// belongs to a tree. Names that become equal share a
// base name only: the hash keeps different trees apart, and equal trees are equal.
func cleanName(name string) string {
	const most = 100
	name = strings.Map(func(r rune) rune {
		switch {
		case '0' <= r && r <= '9', 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', strings.ContainsRune("_+-", r):
			return r
		default:
			return '_'
		}
	}, name)
	if name == "" {
		return "files"
	}
	return name[:min(len(name), most)]
}
