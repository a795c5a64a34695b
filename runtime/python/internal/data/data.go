// Package data holds the interpreter of a release for the platform that is built.
//
// In this repository there is none. A release replaces this file by what
// pyembed-gen writes: one directory of payloads and one stub for each platform,
// and a stub without data for every other.
package data

import "io/fs"

// Data is the bundle, or nil on a platform that has none.
var Data fs.FS
