package python_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pyembed.invalid/runtime/python"
)

// TestPrune: an interpreter goes when nobody uses it any more, and the logger hears of it.
func TestPrune(t *testing.T) {
	base := python.WithCacheDir(filepath.Join(t.TempDir(), "cache"))
	old, err := python.Open(context.Background(), fake(t), base)
	must(t, err)
	path := old.GetExtractedPath()
	for _, used := range []bool{true, false} {
		if !used {
			// Behind its back, so that it stays when the lease goes.
			must(t, os.Rename(path, path+"-aside"))
			must(t, old.Cleanup())
			must(t, os.Rename(path+"-aside", path))
		}
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		removed, err := python.Prune(context.Background(), 0, base, python.WithLogger(logger))
		must(t, err)
		if want := []string{path}; !used && !slices.Equal(removed, want) || used && len(removed) != 0 {
			t.Errorf("used %v: removed %v", used, removed)
		}
		if strings.Contains(log.String(), path) == used {
			t.Errorf("used %v: the logger has %s", used, log.String())
		}
	}
}

// TestSweep: an extraction removes what was not used for long, unless it is told not to.
func TestSweep(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	openAs := func(name string, opts ...python.Option) string {
		ep, err := python.Open(context.Background(), fake(t), append(opts, python.WithName(name), python.WithCacheDir(cache))...)
		must(t, err)
		path := ep.GetExtractedPath()
		// As its process ends: the lease goes, the tree stays.
		must(t, os.Rename(path, path+"-aside"))
		must(t, ep.Cleanup())
		must(t, os.Rename(path+"-aside", path))
		return path
	}
	old := openAs("old")
	then := time.Now().Add(-30 * 24 * time.Hour)
	must(t, os.Chtimes(filepath.Join(old, ".pyembed-lease"), then, then))
	openAs("one", python.WithoutSweep())
	if _, err := os.Lstat(old); err != nil {
		t.Error(err)
	}
	openAs("two")
	if _, err := os.Lstat(old); err == nil {
		t.Error("it is still there")
	}
}
