//go:build !unix

package tree

// realLinks: links need a privilege on Windows and do not exist on Plan 9, so what
// they lead to is written in their place.
const realLinks = false
