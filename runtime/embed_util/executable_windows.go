package embed_util

import "io/fs"

// executable is told from the content, as Windows has no modes.
func executable(mode fs.FileMode, content []byte) bool {
	return isProgram(content)
}
