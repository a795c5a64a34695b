//go:build !windows

package embed_util

import "io/fs"

// executable reports whether the owner may execute a file.
func executable(mode fs.FileMode, content []byte) bool {
	return mode&0o100 != 0
}
