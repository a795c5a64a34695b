package python

import (
	"errors"
	"fmt"
	"runtime"

	"pyembed.invalid/runtime/embed_util"
)

// Errors that callers can tell apart with errors.Is.
var (
	// ErrUnsupportedPlatform: no Python is embedded for this GOOS and GOARCH, or the one
	// that is does not run on this system.
	ErrUnsupportedPlatform = embed_util.ErrUnsupportedPlatform
	// ErrCorruptBundle: the files.json of the bundle can't be used, or a payload is
	// missing, damaged, or not what it says.
	ErrCorruptBundle = embed_util.ErrCorruptBundle
	// ErrUnsupportedFormat: the bundle was made for a later version of this module.
	ErrUnsupportedFormat = embed_util.ErrUnsupportedFormat
	// ErrNoUsableDir: there is no directory that is safe to extract to.
	ErrNoUsableDir = embed_util.ErrNoUsableDir
	// ErrNoPython: the bundle is of something else, such as packages.
	ErrNoPython = errors.New("the bundle has no Python")
	// ErrPythonLine: the bundle has another Python line than WithPythonLine wants.
	ErrPythonLine = errors.New("unexpected Python line")
)

// errNoOwnPython is the error of functions that take the Python of this module where
// the module carries none: it does in a release alone.
func errNoOwnPython() error {
	return fmt.Errorf("%w: this module carries no Python for %s/%s; generate one with pyembed-gen and use python.Open with its Data",
		ErrUnsupportedPlatform, runtime.GOOS, runtime.GOARCH)
}

// errNoPackages is the error for a bundle of packages that is nil.
func errNoPackages() error {
	return fmt.Errorf("%w: no packages are embedded for %s/%s", ErrUnsupportedPlatform, runtime.GOOS, runtime.GOARCH)
}

// errNoPython is the error for a bundle that is nil.
func errNoPython() error {
	return fmt.Errorf("%w: no Python is embedded for %[2]s/%[3]s; generate it with: pyembed-gen --only-platforms %[2]s/%[3]s",
		ErrUnsupportedPlatform, runtime.GOOS, runtime.GOARCH)
}
