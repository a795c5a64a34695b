// Package basedir finds the directory below which trees are extracted.
//
// A base must not let another user plant code: it belongs to this user or to root,
// nobody else may write it, programs may be run from it, and no directory above it
// belongs to another user or lets others exchange it. Directories that the caller names are used or are an
// error; of those that are only found, the first that will do is used. On Windows
// and Plan 9 owners and modes are not looked at: the directories that are found
// there lie in the user's profile.
package basedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrNone is wrapped by the error that says which bases were tried, and by an error
// about an explicitly named one.
var ErrNone = errors.New("no usable directory to extract to")

// Env names the environment variable that names a base explicitly.
const Env = "PYEMBED_CACHE_DIR"

// A Candidate is a directory that may become the base.
type Candidate struct {
	Path     string
	Explicit bool // named by the caller: used, or an error
	Sticky   bool // a directory like /tmp will do, because the tree is checked by itself
	Private  bool // nobody else's business: created 0700, may not be a link
	Err      error
}

// Candidates lists where to look, in order. named is the caller's option, or "".
func Candidates(named string) []Candidate {
	if named == "" {
		named = os.Getenv(Env)
	}
	if named != "" {
		path, err := filepath.Abs(named)
		return []Candidate{{Path: path, Explicit: true, Err: err}}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "user cache directory"
	}
	return []Candidate{
		{Path: filepath.Join(cache, "pyembed"), Err: err},
		{Path: filepath.Join(os.TempDir(), tempName()), Private: true},
	}
}

// Prepare creates the base if need be and returns its real path, or says why it
// can't be trusted. Whether it can be written is found out by writing.
func (c Candidate) Prepare() (string, error) {
	if c.Err != nil {
		return "", c.Err
	}
	if err := c.create(); err != nil {
		return "", err
	}
	if c.Private {
		if info, err := os.Lstat(c.Path); err != nil {
			return "", err
		} else if !info.IsDir() {
			return "", fmt.Errorf("%s is not a directory", c.Path)
		}
	}
	path, err := filepath.EvalSymlinks(c.Path)
	if err != nil {
		return "", err
	}
	if err := CheckOwn(path, c.Sticky); err != nil {
		return "", err
	}
	if !c.Explicit {
		if err := checkAbove(path); err != nil {
			return "", err
		}
	}
	if noexec(path) {
		return "", fmt.Errorf("%s is mounted noexec", path)
	}
	return path, nil
}

// create makes the directory: for others to read if the caller named it, else
// only for this user. An existing one is left as it is.
func (c Candidate) create() error {
	if _, err := os.Stat(c.Path); err == nil {
		return nil
	}
	switch {
	case c.Private:
		if err := os.Mkdir(c.Path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return nil
	case c.Explicit:
		return os.MkdirAll(c.Path, 0o755)
	default:
		return os.MkdirAll(c.Path, 0o700)
	}
}

// Tried joins what was wrong with each candidate to an error that wraps ErrNone.
func Tried(problems []error) error {
	texts := make([]string, len(problems))
	for i, err := range problems {
		texts[i] = err.Error()
	}
	return fmt.Errorf("%w: tried %s; name one with WithCacheDir or $%s", ErrNone, strings.Join(texts, "; "), Env)
}
