//go:build !unix && !windows

package overlay

import "io/fs"

// makeLink makes at a hard link to target or a copy of it.
func makeLink(target, at string) error { return hardLink(target, at) }

// linked reports whether at is the file target or a copy of it.
func linked(target, at string) bool { return hardLinked(target, at) }

// writable is not looked at, as in package basedir.
func writable(info fs.FileInfo) bool { return false }
