package python

import (
	"errors"
	"fmt"
	"runtime"

	"pyembed.invalid/runtime/embed_util"
)

// Errors that callers can tell apart with errors.Is.
var (
	// ErrUnsupportedPlatform: no Python is embedded for this GOOS and GOARCH.
	ErrUnsupportedPlatform = embed_util.ErrUnsupportedPlatform
	// ErrManifest: the files.json of the bundle can't be used.
	ErrManifest = embed_util.ErrManifest
	// ErrPayload: a payload is missing, damaged, or not what the manifest says.
	ErrPayload = embed_util.ErrPayload
	// ErrNoBaseDir: there is no directory that is safe to extract to.
	ErrNoBaseDir = embed_util.ErrNoBaseDir
	// ErrPythonLine: the bundle has another Python line than WithPythonLine wants.
	ErrPythonLine = errors.New("unexpected Python line")
)

// errNoPython is the error for a bundle that is nil.
func errNoPython() error {
	return fmt.Errorf("%w: no Python is embedded for %[2]s/%[3]s; generate it with: pyembed-gen --only-platforms %[2]s/%[3]s",
		ErrUnsupportedPlatform, runtime.GOOS, runtime.GOARCH)
}
