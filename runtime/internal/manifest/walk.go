package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
)

// FromFS makes the manifest of a file system that has no files.json: every file is
// its own, stored payload. It reads every byte, for the content hash.
func FromFS(fsys fs.FS) (*Manifest, error) {
	m := &Manifest{Version: Version, Codec: "none"}
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := Entry{Name: path, Mode: info.Mode().Type() | 0o644}
		switch {
		case info.IsDir():
			e.Mode = fs.ModeDir | 0o755
		case info.Mode().IsRegular():
			if info.Mode()&0o100 != 0 {
				e.Mode = 0o755
			}
			if e.Size, e.SHA256, err = digest(fsys, path); err != nil {
				return err
			}
			e.Stored = &e.Size
		default:
			return errorf("entry %q: a file system without %s can only hold files and directories", path, FileName)
		}
		m.Files = append(m.Files, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.ContentHash = Hash(m.Files)
	return m, m.Check()
}

// digest reads a whole file for its size and sha256.
func digest(fsys fs.FS, path string) (int64, string, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return 0, "", err
	}
	return n, hex.EncodeToString(h.Sum(nil)), nil
}
