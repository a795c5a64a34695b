//go:build !windows

package python

// Where the interpreter is in a Python installation.
const (
	exeDir  = "bin"
	exeName = "python3"
)
