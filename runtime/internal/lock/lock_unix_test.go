//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package lock

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func try(t *testing.T, path string, mode Mode) *File {
	t.Helper()
	l, err := Try(path, mode)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestTry: shared locks exclude exclusive ones, exclusive ones exclude all, and what
// is unlocked is free.
func TestTry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	a, b := try(t, path, Shared), try(t, path, Shared)
	if _, err := Try(path, Exclusive); !errors.Is(err, ErrHeld) {
		t.Errorf("exclusive beside two shared: %v", err)
	}
	a.Unlock()
	b.Unlock()
	c := try(t, path, Exclusive)
	for _, mode := range []Mode{Shared, Exclusive} {
		if _, err := Try(path, mode); !errors.Is(err, ErrHeld) {
			t.Errorf("mode %v beside an exclusive one: %v", mode, err)
		}
	}
	c.Unlock()
	try(t, path, Exclusive).Unlock()
}

// TestWait: it gets the lock when it becomes free, and gives up with its context.
func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l := try(t, path, Exclusive)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, waited, err := Wait(ctx, path, Exclusive); !errors.Is(err, context.DeadlineExceeded) || !waited {
		t.Errorf("waited %v, error is %v", waited, err)
	}
	time.AfterFunc(30*time.Millisecond, func() { l.Unlock() })
	got, _, err := Wait(context.Background(), path, Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	got.Unlock()
	got, waited, err := Wait(context.Background(), path, Exclusive)
	if err != nil || waited {
		t.Fatalf("free: waited %v, %v", waited, err)
	}
	got.Unlock()
}

// TestRemove: holders who remove the file still exclude each other.
func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside, most atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 20 {
				l, _, err := Wait(context.Background(), path, Exclusive)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				inside.Add(-1)
				l.Remove()
			}
		}()
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d held it at a time", most.Load())
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

// TestLease: a process has one shared lock for all its leases of a path, until the
// last is released, once.
func TestLease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lease")
	take := func() *Lease {
		t.Helper()
		l, err := TakeLease(path)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b := take(), take()
	if a.held != b.held {
		t.Error("two locks")
	}
	a.Release()
	a.Release()
	if _, err := Try(path, Exclusive); !errors.Is(err, ErrHeld) {
		t.Errorf("while one is left: %v", err)
	}
	b.Release()
	x := try(t, path, Exclusive)
	if _, err := TakeLease(path); !errors.Is(err, ErrHeld) {
		t.Errorf("while it is being removed: %v", err)
	}
	x.Remove()

	// Somebody removed the cache by hand: the lock on the old file guards nothing.
	c := take()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	d := take()
	c.Release()
	if _, err := Try(path, Exclusive); !errors.Is(err, ErrHeld) {
		t.Errorf("the new file is not locked: %v", err)
	}
	d.Release()
	var none *Lease
	none.Release()
}

// TestTouch: the file says when it was last used, to a day, whatever the clock did.
func TestTouch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lease")
	now := time.Now().Truncate(time.Second)
	for _, c := range []struct{ was, want time.Duration }{
		{0, 0}, {-time.Hour, -time.Hour}, {-25 * time.Hour, 0}, {time.Hour, time.Hour}, {25 * time.Hour, 0},
	} {
		try(t, path, Shared).Unlock()
		if err := os.Chtimes(path, time.Time{}, now.Add(c.was)); err != nil {
			t.Fatal(err)
		}
		l, err := TakeLease(path)
		if err != nil {
			t.Fatal(err)
		}
		l.Touch(now)
		if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(now.Add(c.want)) {
			t.Errorf("off by %v: %v %v", c.was, info.ModTime().Sub(now), err)
		}
		l.Touch(now.Add(48 * time.Hour)) // a program that runs for days
		if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(now.Add(48*time.Hour)) {
			t.Errorf("later: %v %v", info.ModTime().Sub(now), err)
		}
		l.Release()
	}
}

// TestRemovedMeanwhile: a lock on a file that is removed, or replaced, between open and
// lock is none, and the next attempt takes the new file.
func TestRemovedMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for _, replaced := range []bool{false, true} {
		f, err := openLockFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if replaced {
			defer try(t, path, Exclusive).Unlock()
		}
		if l, err := lockOpen(f, path, Exclusive); l != nil || err != nil {
			t.Errorf("replaced %v: %v %v", replaced, l, err)
		}
		if err := f.close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("replaced %v: the file is still open: %v", replaced, err)
		}
	}
}

// TestPrivate: others can't open a lock file and lock it.
func TestPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "lock")
	defer try(t, path, Shared).Unlock()
	if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// TestPipe: a pipe in the place of a lock file is refused, and not waited for.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for _, mode := range []uint32{0o600, 0o400} {
		if err := syscall.Mkfifo(path, mode); err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() {
			l, err := Try(path, Exclusive)
			if err == nil {
				l.Unlock()
			}
			failed <- err
		}()
		select {
		case err := <-failed:
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "regular") {
				t.Errorf("mode %o: error is %v", mode, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("mode %o: it hangs", mode)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLink: a lock file that is a link, as others could leave in /tmp, is refused.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "victim"), filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if l, err := Try(filepath.Join(dir, "lock"), Exclusive); err == nil {
		l.Unlock()
		t.Error("it was followed")
	}
	if _, err := os.Lstat(filepath.Join(dir, "victim")); err == nil {
		t.Error("it was created")
	}
}

// TestForked: a child that inherited the descriptor, as every child does until its exec,
// does not keep the lock.
func TestForked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for _, end := range []func(*File){func(l *File) { l.Unlock() }, func(l *File) { l.Remove() }} {
		l := try(t, path, Exclusive)
		child := exec.Command("sleep", "1000")
		fd, err := syscall.Dup(l.f.fd)
		if err != nil {
			t.Fatal(err)
		}
		inherited := os.NewFile(uintptr(fd), path)
		defer inherited.Close()
		child.ExtraFiles = []*os.File{inherited}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		end(l)
		if l, err := Try(path, Exclusive); err != nil {
			t.Error(err)
		} else {
			l.Unlock()
		}
		child.Process.Kill()
		child.Wait()
	}
}

// TestTouchTogether: goroutines that share a lease may touch it at a time.
func TestTouchTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lease")
	try(t, path, Shared).Unlock()
	if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if l, err := TakeLease(path); err != nil {
				t.Error(err)
			} else {
				l.Touch(time.Now())
				defer l.Release()
			}
		}()
	}
	wg.Wait()
}
