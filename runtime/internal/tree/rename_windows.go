package tree

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"
)

// renamesOpen: whether a directory can be renamed while somebody has a file in it open.
const renamesOpen = false

// rename moves a file over another, or a directory to a new name. Scanners open new
// files for a moment, so a refusal is tried again for a second. A running program
// can't be replaced but can be renamed: it is moved to where from was, and its
// temporary directory goes when nobody uses it any more.
func rename(from, to string) error {
	var err error
	for pause := 10 * time.Millisecond; pause < time.Second; pause *= 2 {
		if err = os.Rename(from, to); err == nil || !Busy(err) {
			return err
		}
		if info, statErr := os.Lstat(to); statErr == nil && !info.IsDir() {
			var random [8]byte
			rand.Read(random[:])
			aside := filepath.Join(filepath.Dir(from), "old-"+hex.EncodeToString(random[:]))
			if os.Rename(to, aside) == nil {
				continue
			}
		}
		time.Sleep(pause)
	}
	return err
}

// Busy reports whether somebody has the file open.
func Busy(err error) bool {
	return errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
}
