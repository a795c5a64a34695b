package python

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"pyembed.invalid/runtime/internal/basedir"
	"pyembed.invalid/runtime/internal/lock"
	"pyembed.invalid/runtime/internal/overlay"
	"pyembed.invalid/runtime/internal/tree"
)

// isolation is what an isolated interpreter needs besides its tree: overlays of it, one
// for each list of directories that commands were made with.
type isolation struct {
	packages []string
	prefix   string                 // of what lies beside the tree
	line     func() (string, error) // the tree's Python line

	mu   sync.Mutex
	made map[string]*lock.Lease // overlays; nil after cleanup
}

// newIsolation prepares the isolation that c asks for; nil if it asks for none.
func newIsolation(c config, line func() (string, error), t *tree.Tree) (*isolation, error) {
	if !c.isolated {
		return nil, nil
	}
	packages := make([]string, len(c.packages))
	for i, dir := range c.packages {
		if dir == "" {
			return nil, errors.New("WithPackages: a directory without a name (what was extracted to it is cleaned up?)")
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("WithPackages: %w", err)
		}
		if info, err := os.Stat(abs); err != nil {
			return nil, fmt.Errorf("WithPackages: %w", err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("WithPackages: %s is not a directory", abs)
		}
		packages[i] = abs
	}
	return &isolation{made: make(map[string]*lock.Lease), packages: packages, prefix: t.Beside(""), line: line}, nil
}

// overlay makes sure that there is an overlay of the tree with path before the standard
// library, and returns the path of the interpreter in it.
func (i *isolation) overlay(home string, path []string, nocache bool) (string, error) {
	line, err := i.line()
	if err != nil {
		return "", err
	}
	s := overlay.Spec{Tree: home, Line: line, Packages: i.packages, NoBytecode: nocache}
	for _, dir := range path {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", err
		}
		s.Path = append(s.Path, abs)
	}
	root, lease, err := overlay.Hold(s, i.places(home))
	if err != nil {
		return "", err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.made[root]; ok || i.made == nil {
		lease.Release()
	} else {
		i.made[root] = lease
	}
	return overlay.Exe(root, exeName), nil
}

// places are where an overlay may lie: beside the tree or, as that may be part of an
// image that can't be written, below the first directory that will do for trees.
func (i *isolation) places(home string) []overlay.Place {
	places := []overlay.Place{func() (string, error) { return i.prefix, nil }}
	for _, c := range basedir.Candidates("") {
		places = append(places, func() (string, error) {
			base, err := c.Prepare()
			if err != nil {
				return "", fmt.Errorf("%s (%w)", c.Path, err)
			}
			return filepath.Join(base, filepath.Base(home)+"."), nil
		})
	}
	return places
}

// cleanup removes the overlays that were made here of a tree that is gone. Those beside
// it went with it.
func (i *isolation) cleanup(home string) error {
	if i == nil {
		return nil
	}
	_, err := os.Lstat(filepath.Join(home, exeDir, exeName))
	i.mu.Lock()
	defer i.mu.Unlock()
	var problems []error
	for root, lease := range i.made {
		lease.Release()
		if err != nil { // else others use the tree, and perhaps the overlay
			problems = append(problems, os.RemoveAll(root))
		}
	}
	i.made = nil
	return errors.Join(problems...)
}

// hasSafePath reports whether a line's interpreter knows -P, which came with 3.11.
func hasSafePath(line string) bool {
	minor, err := strconv.Atoi(strings.TrimPrefix(line, "3."))
	return err == nil && minor >= 11
}

// checkListed fails if a directory can't be named in a list such as PYTHONPATH.
func checkListed(dir string) error {
	if strings.ContainsRune(dir, os.PathListSeparator) {
		return fmt.Errorf("%s can't be in PYTHONPATH on %s, because of its %q; use WithIsolation", dir, runtime.GOOS, os.PathListSeparator)
	}
	return nil
}
