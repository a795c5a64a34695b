//go:build unix

package basedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// maxLinks is how many links a path may lead through, as in Linux.
const maxLinks = 40

// tempName is this user's directory below os.TempDir.
func tempName() string {
	return "pyembed-" + strconv.Itoa(os.Geteuid())
}

// thisUser judges for this process.
func thisUser() *judge {
	return &judge{euid: uint32(os.Geteuid()), users: overflowUser, groups: overflowGroup, acl: hasACL}
}

// CheckOwn makes sure that dir belongs to this user or to root, and that nobody
// else can create or replace something in it. With sticky, a directory where
// everyone may create but only the owner may replace is accepted.
func CheckOwn(dir string, sticky bool) error {
	e, err := lstat(dir)
	if err != nil {
		return err
	}
	if !e.mode.IsDir() {
		return &fs.PathError{Op: "use", Path: dir, Err: syscall.ENOTDIR}
	}
	return thisUser().base(dir, e, sticky)
}

// lstat says what is at a path.
func lstat(path string) (entry, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return entry{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return entry{mode: info.Mode(), uid: st.Uid, gid: st.Gid}, nil
}

// A place is a directory and what lstat shows of it.
type place struct {
	path string
	entry
}

// A walk follows a candidate's path from "/" as the kernel does, looks once at each
// directory and link on the way, and creates what is missing at the end.
type walk struct {
	*judge
	c        Candidate
	dirs     []place  // the real path so far, from "/" on
	rest     []string // names still to follow
	named    int      // how many of them, at the end, are the candidate's and not a link's
	links    int      // how many were followed
	made     []string // what was created
	stranger *place   // another user's, below which nothing is created
}

// prepare does what Prepare says, for an absolute path.
func (c Candidate) prepare() (string, error) {
	return c.prepareAs(thisUser())
}

// prepareAs is prepare on behalf of the judge's user.
func (c Candidate) prepareAs(j *judge) (string, error) {
	names := elements(c.Path)
	w := &walk{judge: j, c: c, rest: names, named: len(names)}
	path, err := w.run()
	if err != nil {
		for _, dir := range slices.Backward(w.made) {
			_ = syscall.Rmdir(dir)
		}
		return "", err
	}
	return path, nil
}

// elements are the names in a path. strings.FieldsFunc would do, but its first call costs
// a process as much as all the system calls of a walk.
func elements(path string) []string {
	names := make([]string, 0, 1+strings.Count(path, "/"))
	for rest, more := path, true; more; {
		var name string
		if name, rest, more = strings.Cut(rest, "/"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// run goes to the end of the path and judges what is there.
func (w *walk) run() (string, error) {
	top, err := lstat("/")
	if err != nil {
		return "", err
	}
	if err := w.enter(place{"/", top}); err != nil {
		return "", err
	}
	for len(w.rest) > 0 {
		if err := w.step(); err != nil {
			return "", err
		}
	}
	base := w.here()
	if err := w.base(base.path, base.entry, w.c.Sticky); err != nil {
		return "", err
	}
	if len(w.made) == 0 && noexec(base.path) {
		return "", noexecError(base.path)
	}
	return base.path, nil
}

// here is the directory that the walk has reached.
func (w *walk) here() place {
	return w.dirs[len(w.dirs)-1]
}

// step follows the next name.
func (w *walk) step() error {
	name := w.rest[0]
	switch {
	case name == "..": // of a link
		w.dirs = w.dirs[:max(len(w.dirs)-1, 1)]
		w.pass()
		return nil
	case name == ".":
		w.pass()
		return nil
	}
	path := filepath.Join(w.here().path, name)
	e, err := lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := w.create(path); err != nil {
			return err
		}
		e, err = lstat(path)
	}
	if err != nil {
		return err
	}
	switch {
	case e.mode&fs.ModeSymlink != 0:
		return w.follow(path, e)
	case !e.mode.IsDir():
		return &fs.PathError{Op: "use", Path: path, Err: syscall.ENOTDIR}
	default:
		w.pass()
		return w.enter(place{path, e})
	}
}

// pass drops the name that was followed.
func (w *walk) pass() {
	w.rest = w.rest[1:]
	w.named = min(w.named, len(w.rest))
}

// enter goes on to a directory. If it is one above the base, its owner, and those who
// may write it, can exchange what is below.
func (w *walk) enter(p place) error {
	if len(w.rest) > 0 {
		if err := w.above(p); err != nil {
			return err
		}
	}
	w.dirs = append(w.dirs, p)
	return nil
}

// above judges a directory above the base. Below what the caller names, anybody may own
// directories, and those who may write them are trusted.
func (w *walk) above(p place) error {
	switch trusted := w.trusted(p.entry); {
	case !trusted && w.c.Explicit:
		w.shun(p)
		return nil
	case !trusted:
		return fmt.Errorf("%s lies below %s, which belongs to %s", w.c.Path, p.path, w.name(p.uid))
	case !w.c.Explicit && !p.sticky() && w.othersWrite(p.path, p.entry):
		return fmt.Errorf("%s lies below %s, which other users can write (mode %04o)", w.c.Path, p.path, p.mode.Perm())
	default:
		return nil
	}
}

// shun remembers the first directory or link of another user's.
func (w *walk) shun(p place) {
	if w.stranger == nil {
		w.stranger = &p
	}
}

// trusted reports whether an entry of the directory reached, or "/", was made by this
// user or by root. Where anybody can make one, what shows the overflow user is anybody's.
func (w *walk) trusted(e entry) bool {
	if w.own(e.uid) {
		return true
	}
	if len(w.dirs) == 0 {
		return w.rootlike(e.uid, e.uid)
	}
	return w.rootlike(e.uid, w.dirs[0].uid) && !w.othersWrite(w.here().path, w.here().entry)
}

// follow goes where a link leads that this user or root made. In a directory of another
// user's that the caller has named, the other user's links are as good.
func (w *walk) follow(path string, e entry) error {
	if w.c.Private && w.named == 1 && len(w.rest) == 1 {
		return fmt.Errorf("%s is a link, not a directory", path)
	}
	if !w.trusted(e) {
		if !w.c.Explicit || e.uid != w.here().uid {
			return fmt.Errorf("%s is a link that belongs to %s", path, w.name(e.uid))
		}
		w.shun(place{path, e})
	}
	if w.links++; w.links > maxLinks {
		return &fs.PathError{Op: "use", Path: w.c.Path, Err: syscall.ELOOP}
	}
	target, err := os.Readlink(path)
	if err != nil {
		return err
	}
	if filepath.IsAbs(target) {
		w.dirs = w.dirs[:1]
	}
	w.pass()
	w.rest = append(elements(target), w.rest...)
	return nil
}

// create makes the directory path, the next one on the way, if everything above it may
// be trusted. Somebody else may make it meanwhile: the caller looks at what is there.
func (w *walk) create(path string) error {
	missing := len(w.rest)
	if missing > w.named || w.c.limit() > 0 && missing > w.c.limit() {
		return &fs.PathError{Op: "use", Path: path, Err: syscall.ENOENT}
	}
	if w.stranger != nil {
		return fmt.Errorf("%s does not exist, and %s belongs to %s: make it yourself first, if you trust that user",
			w.c.Path, w.stranger.path, w.name(w.stranger.uid))
	}
	if !w.own(w.euid) {
		return fmt.Errorf("%s does not exist, and what is created would belong to %s", w.c.Path, w.name(w.euid))
	}
	if len(w.made) == 0 && noexec(w.here().path) {
		return noexecError(w.here().path)
	}
	err := os.Mkdir(path, w.c.mode())
	if err == nil {
		w.made = append(w.made, path)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// noexecError says that no program can be run from below dir.
func noexecError(dir string) error {
	return fmt.Errorf("%s is mounted noexec", dir)
}
