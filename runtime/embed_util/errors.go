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
	// ErrCorruptBundle: the files.json of the bundle can't be used, or a payload is
	// missing, damaged, or not what it says.
	ErrCorruptBundle = payload.ErrCorrupt
	// ErrUnsupportedFormat: the bundle was made for a later version of this module.
	ErrUnsupportedFormat = manifest.ErrFormat
	// ErrNoUsableDir: there is no directory that is safe to extract to.
	ErrNoUsableDir = basedir.ErrNone
)

// errNoFiles is the error for a bundle that is nil.
func errNoFiles() error {
	return fmt.Errorf("%w: no files are embedded for %s/%s", ErrUnsupportedPlatform, runtime.GOOS, runtime.GOARCH)
}
