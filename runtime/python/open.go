package python

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"

	"pyembed.invalid/runtime/internal/store"
	"pyembed.invalid/runtime/internal/tree"
)

// A VerifyLevel is how thoroughly Open looks at an interpreter that is extracted
// already. Extraction itself always compares every byte with its digest.
type VerifyLevel int

const (
	// VerifyStat, the default, compares type, size, mode and modification time of
	// every file with what they were when it was written. A file of another time is
	// read. What is missing or changed is put back.
	VerifyStat = VerifyLevel(tree.Stat)
	// VerifyStamp believes the stamp that was written last.
	VerifyStamp = VerifyLevel(tree.Stamp)
	// VerifyHash reads every file, puts back what differs, and removes what does not
	// belong there, cached bytecode included.
	VerifyHash = VerifyLevel(tree.Hash)
)

// An Option changes what Open does.
type Option func(*config)

// config is what options set.
type config struct {
	name     string
	cacheDir string
	level    VerifyLevel
	isolated bool
	line     *string
	logger   *slog.Logger
	progress func(done, total int64)
}

// WithName names the directory that is extracted to: <name>-<hash>. The default is
// python. Bundles that differ never share a directory, whatever their names.
func WithName(name string) Option {
	return func(c *config) { c.name = name }
}

// WithCacheDir names the directory to extract below. It is created if need be. Open
// fails, and wraps ErrNoUsableDir, if other users can write it, if it belongs to
// another user, or if programs can't be run from it. Without it, $PYEMBED_CACHE_DIR
// is held to the same rule; then pyembed in os.UserCacheDir and a directory of this
// user's in os.TempDir are tried.
func WithCacheDir(dir string) Option {
	return func(c *config) { c.cacheDir = dir }
}

// WithVerify sets how thoroughly an extracted interpreter is looked at.
func WithVerify(level VerifyLevel) Option {
	return func(c *config) { c.level = level }
}

// WithIsolation keeps the user's environment out of commands: inherited PYTHON
// variables are dropped, and the interpreter is started with -I. When AddPythonPath
// was called, which -I would ignore, PYTHONSAFEPATH and PYTHONNOUSERSITE take its
// place (Python 3.10 does not know the former).
func WithIsolation() Option {
	return func(c *config) { c.isolated = true }
}

// WithPythonLine makes Open fail, and wrap ErrPythonLine, unless the bundle has this
// line, such as 3.14: so an upgrade of a module can't swap it unnoticed.
func WithPythonLine(line string) Option {
	return func(c *config) { c.line = &line }
}

// WithLogger makes Open tell the logger, at level debug, what it writes and removes.
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) { c.logger = logger }
}

// WithProgress has f called while files are written, with the number of bytes that
// are written so far and in all: never when there is nothing to write, never two
// calls at a time, but from any goroutine.
func WithProgress(f func(done, total int64)) Option {
	return func(c *config) { c.progress = f }
}

// Open extracts the Python in data, unless it is extracted already, and returns it.
// When data is nil, as it is on a platform that nothing was generated for, the error
// wraps ErrUnsupportedPlatform. When ctx is done before the tree is complete, nothing
// of it stays.
func Open(ctx context.Context, data fs.FS, opts ...Option) (*EmbeddedPython, error) {
	c := config{name: "python"}
	for _, opt := range opts {
		opt(&c)
	}
	if c.level < VerifyStat || c.level > VerifyHash {
		return nil, fmt.Errorf("unknown verification level %d", c.level)
	}
	return openWith(data, c, func(b *tree.Bundle) (*tree.Tree, error) {
		return store.OpenNamed(ctx, b, c.cacheDir, c.name, tree.Options{Level: tree.Level(c.level), Logger: c.logger, Progress: c.progress})
	})
}

// openWith opens the Python in data with one of store's functions.
func openWith(data fs.FS, c config, open func(*tree.Bundle) (*tree.Tree, error)) (*EmbeddedPython, error) {
	if data == nil {
		return nil, errNoPython()
	}
	b, err := tree.NewBundle(data)
	if err != nil {
		return nil, err
	}
	if c.line != nil {
		if err := checkLine(b, *c.line); err != nil {
			return nil, err
		}
	}
	t, err := open(b)
	if err != nil {
		return nil, err
	}
	p := &interpreter{home: t.Path(), own: true, isolated: c.isolated, nocache: c.level == VerifyHash}
	return &EmbeddedPython{files: t, own: p, Python: p}, nil
}
