// Package store joins where trees may lie (basedir) with what is in them (tree).
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pyembed.invalid/runtime/internal/basedir"
	"pyembed.invalid/runtime/internal/tree"
)

// hashLen is how many hex digits of a bundle's identity are in its tree's name; the
// stamp has all of them.
const hashLen = 16

// OpenNamed opens the bundle in <base>/<name>-<hash16>, in the first base that will
// do. base is the directory that the caller names, or "". In the error, which wraps
// basedir.ErrNone, are all that were tried.
func OpenNamed(ctx context.Context, b *tree.Bundle, base, name string, opt tree.Options) (*tree.Tree, error) {
	return open(ctx, b, basedir.Candidates(base), cleanName(name), opt)
}

// OpenHashed opens the bundle in <path>-<hash16>.
func OpenHashed(ctx context.Context, b *tree.Bundle, path string, opt tree.Options) (*tree.Tree, error) {
	path, err := filepath.Abs(path)
	// The directory above is often os.TempDir itself.
	base := basedir.Candidate{Path: filepath.Dir(path), Explicit: true, Sticky: true, Err: err}
	return open(ctx, b, []basedir.Candidate{base}, filepath.Base(path), opt)
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

// open tries the candidates in turn. What is wrong with the bundle, or with a disk
// that is full, is wrong everywhere and ends it.
func open(ctx context.Context, b *tree.Bundle, candidates []basedir.Candidate, name string, opt tree.Options) (*tree.Tree, error) {
	var problems []error
	for _, c := range candidates {
		base, err := c.Prepare()
		if err != nil {
			problems = append(problems, fmt.Errorf("%s (%w)", c.Path, err))
			continue
		}
		t, err := tree.Open(ctx, b, filepath.Join(base, name+"-"+b.Identity[:hashLen]), opt)
		if !errors.Is(err, tree.ErrPlace) {
			return t, err
		}
		problems = append(problems, fmt.Errorf("%s (%w)", c.Path, err))
	}
	return nil, basedir.Tried(problems)
}

// cleanName makes any name one element of a path. Names that become equal share a
// base name only: the hash keeps different trees apart, and equal trees are equal.
func cleanName(name string) string {
	const most = 100
	name = strings.Map(func(r rune) rune {
		switch {
		case '0' <= r && r <= '9', 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', strings.ContainsRune("._+-", r):
			return r
		default:
			return '_'
		}
	}, name)
	name = strings.TrimLeft(name[:min(len(name), most)], ".")
	if name == "" {
		return "files"
	}
	return name
}
