package python

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"pyembed.invalid/runtime/internal/store"
	"pyembed.invalid/runtime/internal/tree"
)

// A VerifyLevel is how thoroughly Open checks an interpreter that is extracted already.
// Extraction itself always compares every byte with its digest. The zero value is the
// default; the numbers are in no order.
type VerifyLevel int

const (
	// VerifyStat, the default, compares type, size, mode and modification time of
	// every file with what they were when it was written. A file of another time is
	// read. What is missing or changed is put back, but not bytecode that Python cached.
	VerifyStat = VerifyLevel(tree.Stat)
	// VerifyStamp believes the stamp that was written last.
	VerifyStamp = VerifyLevel(tree.Stamp)
	// VerifyHash reads every file, puts back what differs, and removes what does not
	// belong there: cached bytecode, and whatever else was put into the tree.
	VerifyHash = VerifyLevel(tree.Hash)
)

// An Option changes what Open does.
type Option func(*config)

// config is what options set.
type config struct {
	name     string
	cacheDir string
	level    *VerifyLevel // nil: what $PYEMBED_VERIFY says
	isolated bool
	packages []string
	bundles  []fs.FS // of packages
	line     *string
	logger   *slog.Logger
	progress func(done, total int64)
	noSweep  bool
}

// String is the level's name, as in $PYEMBED_VERIFY.
func (l VerifyLevel) String() string {
	return tree.Level(l).String()
}

// WithName names the directory that is extracted to: <name>-<hash>, where what is not an
// ASCII letter, a digit, _, + or - becomes _. The default, also for "", is python. Bundles
// that differ never share a directory, whatever their names.
func WithName(name string) Option {
	return func(c *config) {
		if name != "" {
			c.name = name
		}
	}
}

// WithCacheDir names the directory to extract below. It is created if need be. Open
// fails, and wraps ErrNoUsableDir, if other users can write it, if it belongs to
// another user, or if programs can't be run from it. Without it, $PYEMBED_CACHE_DIR
// is held to the same rule, and must be absolute; then pyembed in os.UserCacheDir and a
// directory of this user's in os.TempDir are tried. It holds for WithPackagesFS and
// ScriptContext too, not for embed_util.NewEmbeddedFiles, which knows only the variable.
func WithCacheDir(dir string) Option {
	return func(c *config) { c.cacheDir = dir }
}

// WithVerify sets how thoroughly an extracted interpreter is checked. Without it,
// $PYEMBED_VERIFY says so: stamp, stat, hash, or nothing for the default. Any other value
// makes Open fail before it extracts anything.
func WithVerify(level VerifyLevel) Option {
	return func(c *config) { c.level = &level }
}

// WithIsolation keeps what the user has for other Pythons out of commands: Python's
// variables, the user's site directory and the current directory are not seen by the
// interpreter, nor by what a script starts with sys.executable, and no variable is
// handed down to keep it so.
//
// The directory of a script is not looked in for modules either, as by python -I: add it
// with AddPythonPath, or use ScriptContext.
func WithIsolation() Option {
	return func(c *config) { c.isolated = true }
}

// WithPackages is WithIsolation with directories of packages, each like a site-packages:
// after the standard library, and with its .pth files processed. It adds to those of
// earlier options. Open fails if one is not a directory.
func WithPackages(dirs ...string) Option {
	return func(c *config) {
		c.isolated = true
		c.packages = append(c.packages, dirs...)
	}
}

// WithPackagesFS is WithPackages for bundles of packages, which are extracted as the
// interpreter is: to the same directory, looked at as thoroughly, and gone with Cleanup.
func WithPackagesFS(bundles ...fs.FS) Option {
	return func(c *config) {
		c.isolated = true
		c.bundles = append(c.bundles, bundles...)
	}
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
	return openWith(ctx, data, c, func(b *tree.Bundle, opt tree.Options) (*tree.Tree, error) {
		return store.OpenNamed(ctx, b, c.cacheDir, c.name, opt)
	})
}

// treeOptions are the options for a tree that c and the environment ask for.
func (c *config) treeOptions() (tree.Options, error) {
	opt := tree.Options{Logger: c.logger, NoSweep: c.noSweep}
	if c.level == nil {
		var err error
		opt.Level, err = tree.LevelFromEnv(os.Getenv)
		return opt, err
	}
	if *c.level < VerifyStat || *c.level > VerifyHash {
		return opt, fmt.Errorf("unknown verification level %d", *c.level)
	}
	opt.Level = tree.Level(*c.level)
	return opt, nil
}

// openWith opens the Python in data with one of store's functions.
func openWith(ctx context.Context, data fs.FS, c config, open func(*tree.Bundle, tree.Options) (*tree.Tree, error)) (*EmbeddedPython, error) {
	if data == nil {
		return nil, errNoPython()
	}
	opt, err := c.treeOptions()
	if err != nil {
		return nil, err
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
	whole := opt
	whole.Progress, whole.Trial = c.progress, trial
	t, err := open(b, whole)
	if err != nil {
		return nil, err
	}
	line := sync.OnceValues(func() (string, error) { return lineOf(b) })
	packages, err := c.openBundles(ctx, opt)
	if err != nil {
		t.Release()
		return nil, err
	}
	isolated, err := newIsolation(c, line, t)
	if err != nil {
		release(append(packages, t))
		return nil, err
	}
	p := &interpreter{home: t.Path(), own: true, isolation: isolated, nocache: opt.Level == tree.Hash}
	return &EmbeddedPython{files: t, packages: packages, line: line, config: c, scriptOptions: opt, own: p, Python: p}, nil
}

// openBundles extracts the bundles of packages, and adds their directories to c.
func (c *config) openBundles(ctx context.Context, opt tree.Options) (trees []*tree.Tree, err error) {
	for _, bundle := range c.bundles {
		t, err := c.openBundle(ctx, bundle, opt)
		if err != nil {
			release(trees)
			return nil, fmt.Errorf("WithPackagesFS: %w", err)
		}
		trees = append(trees, t)
		c.packages = append(c.packages, t.Path())
	}
	return trees, nil
}

// openBundle extracts one bundle of packages.
func (c *config) openBundle(ctx context.Context, bundle fs.FS, opt tree.Options) (*tree.Tree, error) {
	if bundle == nil {
		return nil, errNoPackages()
	}
	b, err := tree.NewBundle(bundle)
	if err != nil {
		return nil, err
	}
	return store.OpenNamed(ctx, b, c.cacheDir, c.name+"-packages", opt)
}

// release gives trees back.
func release(trees []*tree.Tree) {
	for _, t := range trees {
		t.Release()
	}
}
