//go:build unix

package overlay

import (
	"io/fs"
	"os"
)

// makeLink makes at a link to target.
func makeLink(target, at string) error { return os.Symlink(target, at) }

// linked reports whether at is the link to target.
func linked(target, at string) bool {
	have, err := os.Readlink(at)
	return err == nil && have == target
}

// writable reports whether anyone but the owner may write a file.
func writable(info fs.FileInfo) bool { return info.Mode()&0o022 != 0 }
