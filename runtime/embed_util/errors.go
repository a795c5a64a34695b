package embed_util

import (
	"errors"
	"fmt"
	"runtime"

	"pyembed.invalid/runtime/internal/basedir"
	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/payload"
)

// Errors that callers can tell apart with errors.Is.
var (
	// ErrUnsupportedPlatform: nothing is embedded for this GOOS and GOARCH.
	ErrUnsupportedPlatform = errors.New("unsupported platform")
	// ErrManifest: the files.json of the bundle can't be used.
	ErrManifest = manifest.Err
	// ErrPayload: a payload is missing, damaged, or not what the manifest says.
	ErrPayload = payload.Err
	// ErrNoBaseDir: there is no directory that is safe to extract to.
	ErrNoBaseDir = basedir.ErrNone
)

// errNoFiles is the error for a bundle that is nil.
func errNoFiles() error {
	return fmt.Errorf("%w: no files are embedded for %s/%s", ErrUnsupportedPlatform, runtime.GOOS, runtime.GOARCH)
}
