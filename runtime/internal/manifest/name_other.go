//go:build !windows

package manifest

// nativeSeparators is empty: only / separates, and names hold none of it.
const nativeSeparators = ""
