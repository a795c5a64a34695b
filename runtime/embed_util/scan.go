package embed_util

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"

	"pyembed.invalid/runtime/internal/manifest"
)

// scan lists what is in dir, sorted by name, without the content of files. Bytecode that
// Python has cached there is left out: it holds the times of its sources here, so Python
// would write it again wherever it is extracted.
func scan(dir string) (*manifest.Manifest, error) {
	m := &manifest.Manifest{Version: manifest.Version}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		if d.IsDir() && d.Name() == manifest.BytecodeDir {
			return fs.SkipDir
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		e := manifest.Entry{Name: filepath.ToSlash(name)}
		switch d.Type() {
		case fs.ModeDir:
			e.Mode = fs.ModeDir | 0o755
		case fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			e.Mode, e.Symlink = fs.ModeSymlink, filepath.ToSlash(target)
			e.Size = int64(len(e.Symlink))
		case 0:
			info, err := d.Info()
			if err != nil {
				return err
			}
			e.Mode = info.Mode().Perm()
		default:
			return fmt.Errorf("pack %s: it is neither a directory, a file nor a link", p)
		}
		m.Files = append(m.Files, e)
		return nil
	})
	sort.Slice(m.Files, func(i, j int) bool { return m.Files[i].Name < m.Files[j].Name })
	return m, err
}

// readEntry reads a file, and fills in its size, its digest, and its mode as 0755 or
// 0644.
func readEntry(dir string, e *manifest.Entry) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(e.Name)))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	e.Size, e.SHA256 = int64(len(raw)), hex.EncodeToString(sum[:])
	if executable(e.Mode, raw) {
		e.Mode = 0o755
	} else {
		e.Mode = 0o644
	}
	return raw, nil
}

// each calls do with every file entry and its index, in parallel, and returns the
// first error.
func each(entries []manifest.Entry, do func(i int, e *manifest.Entry) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, runtime.GOMAXPROCS(0))
	for range cap(errs) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := int(next.Add(1) - 1); i < len(entries); i = int(next.Add(1) - 1) {
				if entries[i].Kind() != manifest.File {
					continue
				}
				if err := do(i, &entries[i]); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	wg.Wait()
	close(errs)
	return <-errs // nil when there is none
}
