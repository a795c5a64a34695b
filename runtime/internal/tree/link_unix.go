//go:build unix

package tree

// realLinks: links of a bundle are made as symbolic links.
const realLinks = true
