// Package embed_util puts trees of files into Go programs and takes them out again.
//
// CopyForEmbed and WriteEmbedGoFile turn a directory into a bundle that //go:embed
// carries; NewEmbeddedFiles extracts a bundle, once, on the machine that the program
// runs on. The functions are those of go-embed-python's package of this name, and
// both formats are read: bundle format version 2 and go-embed-python's files.json.
//
// What is promised: an extracted tree is whole or not there at all; the content of
// every file has the sha256 that the manifest says (version 2 has one for each);
// nothing outside the target is written, whatever the manifest says; a directory
// that other users can write is not used; several goroutines and processes may
// extract one bundle at a time; later uses put back what is missing or has changed.
//
// What is not: durability across a power failure (nothing is synced, a later use
// heals what is damaged); protection from programs of the same user; on Windows,
// checks of who may write the directory.
package embed_util
