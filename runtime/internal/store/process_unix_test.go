//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pyembed.invalid/runtime/internal/basedir"
	bt "pyembed.invalid/runtime/internal/bundletest"
	"pyembed.invalid/runtime/internal/lock"
	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/store"
	"pyembed.invalid/runtime/internal/tree"
)

// TestMain lets the test binary be the other process: it opens a bundle as the
// environment says.
func TestMain(m *testing.M) {
	bundle := os.Getenv("STORE_TEST_BUNDLE")
	if bundle == "" {
		os.Exit(m.Run())
	}
	var umask int
	if n, _ := fmt.Sscanf(os.Getenv("STORE_TEST_UMASK"), "%o", &umask); n == 1 {
		syscall.Umask(umask)
	}
	opt := tree.Options{}
	if os.Getenv("STORE_TEST_HANG") != "" {
		opt.Progress = func(done, _ int64) {
			if done > 0 {
				fmt.Println("hanging")
				time.Sleep(time.Hour)
			}
		}
	}
	tr, err := tryOpen(context.Background(), bundle, os.Getenv("STORE_TEST_BASE"), opt)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(tr.Path())
	if os.Getenv("STORE_TEST_STAY") != "" {
		time.Sleep(time.Hour)
	}
	os.Exit(0)
}

// process is a command that opens the bundle in another process.
func process(bundle, base string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STORE_TEST_BUNDLE="+bundle, "STORE_TEST_BASE="+base)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// start starts a process and waits for its first line.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	var line string
	if _, err := fmt.Fscanln(out, &line); err != nil {
		t.Fatal(err)
	}
}

// TestProcesses: several processes may open a bundle at a time, and get one tree.
func TestProcesses(t *testing.T) {
	files := bt.Small()
	files["large"] = large(9 << 20)
	bundle, base := bt.Gzip(t, files), newBase(t)
	var cmds []*exec.Cmd
	for range 6 {
		cmd := process(bundle, base)
		cmds = append(cmds, cmd)
		must(t, cmd.Start())
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if left := entries(t, base); len(left) != 2 {
		t.Fatalf("beside the tree there is %v", left)
	}
	bt.Same(t, open(t, bundle, base, tree.Options{}).Path(), files)
}

// TestKilled: a process that is killed while it extracts blocks nobody, and what it
// left is removed.
func TestKilled(t *testing.T) {
	files := bt.Files{"large": large(9 << 20)}
	bundle, base := bt.Gzip(t, files), newBase(t)
	cmd := process(bundle, base, "STORE_TEST_HANG=1")
	start(t, cmd)

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := tryOpen(ctx, bundle, base, tree.Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it lives: %v", err)
	}
	must(t, cmd.Process.Kill())
	cmd.Wait()
	bt.Same(t, open(t, bundle, base, tree.Options{}).Path(), files)
	if left := entries(t, base); len(left) != 2 {
		t.Errorf("beside the tree there is %v", left)
	}
}

// TestWarmStartTakesNoLock: a tree that is right is used while the lock is held.
func TestWarmStartTakesNoLock(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Small()), newBase(t)
	dir := open(t, bundle, base, tree.Options{}).Path()
	l, err := lock.Try(dir+".lock", lock.Exclusive)
	must(t, err)
	defer l.Unlock()
	for _, level := range []tree.Level{tree.Stat, tree.Stamp, tree.Hash} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if _, err := tryOpen(ctx, bundle, base, tree.Options{Level: level}); err != nil {
			t.Errorf("level %d: %v", level, err)
		}
		cancel()
	}
}

// TestUsedTreeIsNotRemoved: a tree that another process uses stays.
func TestUsedTreeIsNotRemoved(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Small()), newBase(t)
	cmd := process(bundle, base, "STORE_TEST_STAY=1")
	start(t, cmd)
	tr := open(t, bundle, base, tree.Options{})
	remove(t, tr)
	bt.Same(t, tr.Path(), bt.Small())
	must(t, cmd.Process.Kill())
	cmd.Wait()
	remove(t, open(t, bundle, base, tree.Options{}))
	if left := entries(t, base); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}

// TestUmask: whatever the umask, the tree can be used afterwards, by its owner, and
// nobody else can write it.
func TestUmask(t *testing.T) {
	bundle := bt.Gzip(t, bt.Small())
	for umask, want := range map[string]os.FileMode{"077": 0o700, "022": 0o755, "000": 0o755} {
		base := newBase(t)
		out, err := process(bundle, base, "STORE_TEST_UMASK="+umask).CombinedOutput()
		if err != nil {
			t.Fatalf("umask %s: %s", umask, out)
		}
		dir := strings.TrimSpace(string(out))
		info, err := os.Stat(filepath.Join(dir, "bin/python3.14"))
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("umask %s: mode %v, want %v", umask, info.Mode(), want)
		}
		written := false
		open(t, bundle, base, tree.Options{Progress: func(int64, int64) { written = true }})
		if written {
			t.Errorf("umask %s: the next use wrote again", umask)
		}
		bt.Same(t, dir, bt.Small())
	}
}

// asUser makes cmd another user's process. What it needs must be open to that user.
func asUser(t *testing.T, cmd *exec.Cmd, uid uint32) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act as another user")
	}
	// A test binary that counts coverage writes it at its end, or complains.
	counters, err := os.MkdirTemp("/var/tmp", "pyembed-test-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(counters) })
	must(t, os.Chmod(counters, 0o777))
	cmd.Env = append(cmd.Env, "GOCOVERDIR="+counters)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
}

// shared makes a directory that every user can reach, with a copy of the test binary
// and of the bundle.
func shared(t *testing.T, bundle string) (dir, binary, copied string) {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "pyembed-test-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	binary, copied = filepath.Join(dir, "test"), filepath.Join(dir, "bundle")
	data, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(binary, data, 0o755))
	must(t, os.CopyFS(copied, os.DirFS(bundle)))
	return dir, binary, copied
}

// TestReadOnlyBase: a complete tree that root put into an image is used by a user
// who can write nothing there; a damaged one is an error that says so.
func TestReadOnlyBase(t *testing.T) {
	dir, binary, bundle := shared(t, bt.Gzip(t, bt.Small()))
	base := filepath.Join(dir, "base")
	must(t, os.Mkdir(base, 0o755))
	tr := open(t, bundle, base, tree.Options{})
	run := func() (string, error) {
		cmd := process(bundle, base)
		cmd.Path = binary
		asUser(t, cmd, 12345)
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	for _, locks := range []bool{true, false} {
		if !locks {
			must(t, os.Remove(tr.Path()+".lock"))
			must(t, os.Remove(tr.Path()+"/.pyembed-lease"))
		}
		if out, err := run(); err != nil || out != tr.Path() {
			t.Errorf("lock files %v: %v: %s", locks, err, out)
		}
	}
	// Copying an image changes times.
	program := filepath.Join(tr.Path(), "bin/python3.14")
	must(t, os.Chtimes(program, time.Unix(1, 0), time.Unix(1, 0)))
	if out, err := run(); err != nil || out != tr.Path() {
		t.Errorf("another time: %v: %s", err, out)
	}
	must(t, os.Remove(program))
	if out, err := run(); err == nil || !strings.Contains(out, "incomplete") {
		t.Errorf("damaged: %v: %s", err, out)
	}
}

// TestOtherUsersTree: root does not run what another user can change, and a user
// does not run what another user left in a shared directory.
func TestOtherUsersTree(t *testing.T) {
	dir, binary, bundle := shared(t, bt.Gzip(t, bt.Small()))
	base := filepath.Join(dir, "base")
	must(t, os.Mkdir(base, 0o755))
	cmd := process(bundle, base)
	cmd.Path = binary
	asUser(t, cmd, 12345)
	must(t, os.Chown(base, 12345, 12345))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := tryOpen(context.Background(), bundle, base, tree.Options{}); !errors.Is(err, basedir.ErrNone) {
		t.Errorf("root uses it: %v", err)
	}
	other := process(bundle, base)
	other.Path = binary
	asUser(t, other, 12346)
	if out, err := other.CombinedOutput(); err == nil || !strings.Contains(string(out), "belongs to user 12345") {
		t.Errorf("another user: %v: %s", err, out)
	}
}

// TestBelowOtherUser: a base that is only found may lie below root's directories and
// this user's, not below another's, who can exchange it.
func TestBelowOtherUser(t *testing.T) {
	dir, binary, bundle := shared(t, bt.Gzip(t, bt.Small()))
	const us = 12345
	for above, want := range map[int]string{0: "", us: "", 12346: "belongs to user 12346"} {
		top := filepath.Join(dir, strconv.Itoa(above))
		home := filepath.Join(top, "home")
		must(t, os.MkdirAll(home, 0o755))
		cmd := process(bundle, "", "HOME="+home, "XDG_CACHE_HOME=", "PYEMBED_CACHE_DIR=", "TMPDIR="+filepath.Join(dir, "missing"))
		cmd.Path = binary
		asUser(t, cmd, us)
		must(t, os.Chown(home, us, us))
		must(t, os.Chown(top, above, above))
		out, err := cmd.CombinedOutput()
		switch {
		case want == "" && (err != nil || !strings.HasPrefix(string(out), home)),
			want != "" && (err == nil || !strings.Contains(string(out), want)):
			t.Errorf("below a directory of user %d: %v: %s", above, err, out)
		}
	}
}

// TestLockFilesOfAnImage: lock files that the user may read are locked, others are done
// without.
func TestLockFilesOfAnImage(t *testing.T) {
	dir, binary, bundle := shared(t, bt.Gzip(t, bt.Small()))
	base := filepath.Join(dir, "base")
	must(t, os.Mkdir(base, 0o755))
	tr := open(t, bundle, base, tree.Options{})
	for _, mode := range []os.FileMode{0o600, 0o644} {
		must(t, os.Chmod(tr.Path()+".lock", mode))
		must(t, os.Chmod(tr.Path()+"/.pyembed-lease", mode))
		for _, changed := range []bool{false, true} {
			if changed { // so that the lock is asked for
				must(t, os.Chtimes(filepath.Join(tr.Path(), "bin/python3.14"), time.Unix(1, 0), time.Unix(int64(mode), 0)))
			}
			cmd := process(bundle, base)
			cmd.Path = binary
			asUser(t, cmd, 12345)
			if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != tr.Path() {
				t.Errorf("mode %v, changed %v: %v: %s", mode, changed, err, out)
			}
		}
	}
}

// TestPlantedPipes: pipes that the user may only read, in the place of lock files, are
// not waited for: there is no lease, and an error where the lock is needed.
func TestPlantedPipes(t *testing.T) {
	dir, binary, bundle := shared(t, bt.Gzip(t, bt.Small()))
	base := filepath.Join(dir, "base")
	must(t, os.Mkdir(base, 0o755))
	tr := open(t, bundle, base, tree.Options{})
	for _, path := range []string{tr.Path() + "/.pyembed-lease", tr.Path() + ".lock"} {
		must(t, os.Remove(path))
		must(t, syscall.Mkfifo(path, 0o600))
		must(t, os.Chmod(path, 0o444))
	}
	run := func() (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		cmd := process(bundle, base)
		late := exec.CommandContext(ctx, binary)
		late.Env = cmd.Env
		asUser(t, late, 12345)
		out, err := late.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := run(); err != nil || out != tr.Path() {
		t.Errorf("lease: %v: %s", err, out)
	}
	must(t, os.Remove(filepath.Join(tr.Path(), "bin/python3")))
	if out, err := run(); err == nil || !strings.Contains(out, tr.Path()+".lock: it is not a regular file") {
		t.Errorf("lock: %v: %s", err, out)
	}
}

// TestPlantedTree: in a directory like /tmp, a tree that another user put where ours
// will be is an error.
func TestPlantedTree(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to own a directory as another user")
	}
	base := newBase(t)
	must(t, os.Chmod(base, 0o777|os.ModeSticky))
	b, err := tree.NewBundle(os.DirFS(bt.Gzip(t, bt.Small())))
	must(t, err)
	planted := filepath.Join(base, "python-"+b.Identity[:16])
	must(t, os.Mkdir(planted, 0o755))
	must(t, os.Chown(planted, 12345, 12345))
	_, err = storeOpenHashed(b, filepath.Join(base, "python"))
	if !errors.Is(err, basedir.ErrNone) || !strings.Contains(err.Error(), "12345") {
		t.Errorf("error is %v", err)
	}
	must(t, os.Remove(planted))
	if _, err := storeOpenHashed(b, filepath.Join(base, "python")); err != nil {
		t.Error(err)
	}
}

// storeOpenHashed is store.OpenHashed with default options.
func storeOpenHashed(b *tree.Bundle, path string) (*tree.Tree, error) {
	return store.OpenHashed(context.Background(), b, path, tree.Options{})
}

// TestOtherUsersFiles: what belongs to another user in a tree is replaced, or the tree is
// refused, at every level that looks: its owner may change it at any time.
func TestOtherUsersFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to own files as another user")
	}
	const other = 12345
	bundle, base := bt.Gzip(t, bt.Small()), newBase(t)
	path := open(t, bundle, base, tree.Options{}).Path()
	for _, level := range []tree.Level{tree.Stat, tree.Hash} {
		file := filepath.Join(path, "lib/python3.14/os.py")
		must(t, os.Lchown(file, other, other))
		open(t, bundle, base, tree.Options{Level: level})
		if info, err := os.Lstat(file); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("level %v: %s stays another user's", level, file)
		}
		dir := filepath.Join(path, "lib/python3.14/a")
		must(t, os.Lchown(dir, other, other))
		if _, err := tryOpen(context.Background(), bundle, base, tree.Options{Level: level}); !errors.Is(err, basedir.ErrNone) || !strings.Contains(err.Error(), dir) {
			t.Errorf("level %v: %v", level, err)
		}
		must(t, os.Lchown(dir, 0, 0))
	}
}

// TestHashWhileCaching: at level hash a tree opens while Python caches bytecode in it.
func TestHashWhileCaching(t *testing.T) {
	bundle, base := bt.Gzip(t, bt.Small()), newBase(t)
	dir := filepath.Join(open(t, bundle, base, tree.Options{}).Path(), "lib/python3.14", manifest.BytecodeDir)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			os.Mkdir(dir, 0o755)
			path := filepath.Join(dir, "m"+strconv.Itoa(i)+".cpython-314.pyc")
			os.WriteFile(path+".1", nil, 0o644)
			os.Rename(path+".1", path)
		}
	}()
	for range 50 {
		open(t, bundle, base, tree.Options{Level: tree.Hash}).Release()
	}
	stop()
	<-done
}
