// Package basedir finds the directory below which trees are extracted.
//
// A base must not let another user plant code: it belongs to this user or to root,
// nobody else may write it, programs may be run from it, and no directory above it
// belongs to another user or lets others exchange it. Nor is anything created below
// another user's directory or followed through another user's link: root, who could,
// would lock a user out of ~/.cache. Directories that the caller names are used or are
// an error, whoever owns what is above them; of those that are only found, the first
// that will do is used.
//
// In a user namespace that does not map every user, those that it leaves out all show
// as one, the overflow user, to whom nothing is trusted. Where "/" itself shows that
// user, root is one of those left out, and directories above a base that show it are
// taken for root's, except in a directory that others may write.
//
// Not protected from are: root; a user whom the namespace leaves out and who owns a
// directory above the base, where root is left out too; for a process that runs as
// 65534 in a namespace that maps this number and leaves out others, those others; a
// user who may write a directory above one that the caller names; ACLs other than POSIX
// ACLs on Linux, such as those of NFS 4 and macOS. An overflow user whose number is not
// the usual 65534 is not noticed by a process that shows that number itself. On Windows
// and Plan 9 owners and modes are not looked at: the directories that are found there
// lie in the user's profile.
package basedir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// ErrNone is wrapped by the error that says which bases were tried, and by an error
// about an explicitly named one.
var ErrNone = errors.New("no usable directory to extract to")

// errRelative says that a path that the environment gives depends on where the process
// happens to be.
var errRelative = errors.New("the path is relative")

// Env names the environment variable that names a base explicitly.
const Env = "PYEMBED_CACHE_DIR"

// A Candidate is a directory that may become the base.
type Candidate struct {
	Path     string
	Explicit bool // named by the caller: used, or an error
	Sticky   bool // a directory like /tmp will do, because the tree is checked by itself
	Private  bool // nobody else's business: created 0700, may not be a link
	Err      error

	most int // how many directories at the end of Path may be created; 0: all
}

// Candidates lists where to look, in order. named is the caller's option, or "".
func Candidates(named string) []Candidate {
	if named == "" {
		if named = os.Getenv(Env); named != "" && !filepath.IsAbs(named) {
			return []Candidate{{Path: "$" + Env + "=" + named, Explicit: true, Err: errRelative}}
		}
	}
	if named != "" {
		path, err := filepath.Abs(named)
		return []Candidate{{Path: path, Explicit: true, Err: err}}
	}
	return []Candidate{
		inUserCache(os.UserCacheDir()),
		found(Candidate{Path: filepath.Join(os.TempDir(), tempName()), Private: true}),
	}
}

// inUserCache is the candidate in the user's cache directory, or what is wrong with
// that. A home directory is not created: some users' is meant not to exist.
func inUserCache(cache string, err error) Candidate {
	if err != nil {
		return Candidate{Path: "user cache directory", Err: err}
	}
	c := Candidate{Path: filepath.Join(cache, "pyembed")}
	if home, err := os.UserHomeDir(); err == nil {
		if in, err := filepath.Rel(home, c.Path); err == nil && filepath.IsLocal(in) {
			c.most = strings.Count(in, string(filepath.Separator)) + 1
		}
	}
	return found(c)
}

// found is a candidate of which the environment gives the path.
func found(c Candidate) Candidate {
	if !filepath.IsAbs(c.Path) {
		c.Err = errRelative
	}
	return c
}

// Prepare creates the base if need be and returns its real path, or says why it
// can't be trusted, and then leaves nothing that it created. Whether the base can be
// written is found out by writing.
func (c Candidate) Prepare() (string, error) {
	if c.Err != nil {
		return "", c.Err
	}
	if !filepath.IsAbs(c.Path) {
		return "", errRelative
	}
	return c.prepare()
}

// mode is what directories are created with: for others to read if the caller named
// them, else only for this user.
func (c Candidate) mode() os.FileMode {
	if c.Explicit {
		return 0o755
	}
	return 0o700
}

// limit is how many directories at the end of Path may be created; 0: all.
func (c Candidate) limit() int {
	if c.Private {
		return 1
	}
	return c.most
}

// triedError is what Tried returns.
type triedError struct {
	problems []error
}

// Tried joins what was wrong with each candidate to an error that wraps ErrNone and
// every one of the problems.
func Tried(problems []error) error {
	return &triedError{problems}
}

// Error names everything that was tried, and what to do.
func (e *triedError) Error() string {
	texts := make([]string, len(e.problems))
	for i, err := range e.problems {
		texts[i] = err.Error()
	}
	return ErrNone.Error() + ": tried " + strings.Join(texts, "; ") + "; WithCacheDir or $" + Env + " names another"
}

// Unwrap returns ErrNone and the problems.
func (e *triedError) Unwrap() []error {
	return append([]error{ErrNone}, e.problems...)
}
