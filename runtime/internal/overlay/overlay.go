// Package overlay makes an isolated view of an extracted Python: a small directory whose
// interpreter is the tree's, but reads its settings from there instead of from the
// user's environment. Whoever executes it is isolated, as are the children that take
// sys.executable, so no variable and no flag has to be handed down.
//
// It looks like a virtual environment and has, on Unix:
//
//	pyvenv.cfg                                  no user site, and where the tree is
//	bin/python3                                 link to the tree's; python and python3.14 too
//	bin/python3._pth                            sys.path, and "import site"; one for each name
//	bin/lib                                     link to the tree's
//	lib/python3.14/site-packages/pyembed.pth    adds paths and packages
//	bin/boot/encodings                          links, only when no bytecode may be written
//
// and on Windows:
//
//	pyvenv.cfg
//	Scripts/python.exe                          hard link to the tree's, or a copy; DLLs too
//	Scripts/python._pth                         one for each program and for python314.dll
//	Lib/site-packages/pyembed.pth
//
// Why both pyvenv.cfg and ._pth, by CPython's Modules/getpath.py and Lib/site.py of 3.11
// to 3.14: a ._pth beside the executable (or, looked for first, beside python314.dll)
// sets isolated, safe_path and use_environment, and is all of sys.path, but it leaves
// no_user_site alone, so that site would still add the user's packages. A pyvenv.cfg
// with include-system-site-packages = false keeps those out, but alone it lets
// PYTHONPATH in. With the ._pth the directory of the executable becomes base_prefix,
// hence bin/lib: os.__file__, sysconfig and sys.path agree on it.
//
// A ._pth takes effect only after the interpreter has read its variables (such as
// PYTHONINSPECT and PYTHONWARNINGS), so whoever starts it must leave those out.
package overlay

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"pyembed.invalid/runtime/internal/basedir"
	"pyembed.invalid/runtime/internal/lock"
	"pyembed.invalid/runtime/internal/tree"
)

// A Spec says what an overlay is of. Paths are absolute and clean.
type Spec struct {
	Tree       string   // the extracted Python
	Line       string   // its version, such as 3.14
	Path       []string // directories for sys.path before the standard library
	Packages   []string // directories after it, whose .pth files are processed
	NoBytecode bool     // the interpreter and its children write none
}

// A Place says where an overlay may lie: what its path begins with, and that of what is
// not yet complete, <prefix>env-<hash16> and <prefix>tmp-<16 hex digits>. It is asked
// only when the places before it will not do.
type Place func() (prefix string, err error)

// attempts bounds how often an overlay is made: what others remove or have open for a
// moment is tried again.
const attempts = 10

// touchAfter is how old the modification time of an overlay in use may become.
const touchAfter = 24 * time.Hour

// Ensure makes sure that the overlay is in the first of the places that will do, exactly
// as it is to be, and returns the path of its directory.
func Ensure(s Spec, places []Place) (string, error) {
	have, err := look(runtime.GOOS, s)
	if err != nil {
		return "", err
	}
	entries, err := layout(runtime.GOOS, s, have)
	if err != nil {
		return "", err
	}
	name := "env-" + hash(entries)
	var problems []error
	for _, place := range places {
		prefix, err := place()
		if err == nil {
			err = ensure(prefix+name, prefix, entries)
		}
		if err == nil {
			return prefix + name, nil
		}
		problems = append(problems, err)
	}
	return "", fmt.Errorf("isolated environment of %s: %w", s.Tree, basedir.Tried(problems))
}

// Hold takes the lease of an overlay, which keeps it from being swept, or makes it anew if
// it was. There is no lease, nil, where none can be had, as on a read-only file system.
func Hold(s Spec, places []Place) (root string, lease *lock.Lease, err error) {
	for range attempts {
		if root, err = Ensure(s, places); err != nil {
			return "", nil, err
		}
		lease, err = lock.TakeLease(tree.LeaseOf(root))
		if err == nil || !errors.Is(err, lock.ErrHeld) && !errors.Is(err, fs.ErrNotExist) {
			return root, lease, nil
		}
	}
	return "", nil, fmt.Errorf("isolated environment of %s: %s is swept all the time", s.Tree, root)
}

// Exe is the path of the interpreter in the overlay at root.
func Exe(root, name string) string {
	return filepath.Join(root, exeDir(runtime.GOOS), name)
}

// hash is 16 hex digits that tell overlays with other entries apart.
func hash(entries []entry) string {
	h := sha256.New()
	fmt.Fprintf(h, "pyembed-overlay 1\n")
	for _, e := range entries {
		fmt.Fprintf(h, "%d %q %q\n", e.kind, e.name, e.content)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// ensure makes the overlay at root, or puts it right.
func ensure(root, prefix string, entries []entry) error {
	pause := time.Millisecond
	var problem error
	for range attempts {
		d, err := compare(root, entries)
		if err == nil {
			if d.right() {
				touch(root, time.Now())
				return nil
			}
			err = d.repair(root, prefix, entries)
		}
		if err != nil {
			if problem = err; !passing(err) {
				break
			}
			time.Sleep(pause)
			pause *= 2
		}
	}
	if problem == nil {
		problem = fmt.Errorf("%s is changed by somebody else all the time", root)
	}
	return problem
}

// passing reports whether an error may be gone at the next attempt: a sweep took our
// temporary directory, another process was faster, or a scanner has the file open.
func passing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || tree.Busy(err)
}

// touch says by the modification time that the overlay is in use, so that it is not
// swept. It may be on a read-only file system.
func touch(root string, now time.Time) {
	if info, err := os.Lstat(root); err == nil && now.Sub(info.ModTime()).Abs() > touchAfter {
		os.Chtimes(root, now, now)
	}
}
