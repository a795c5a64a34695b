module pyembed.invalid/runtime

go 1.24.0

require (
	github.com/klauspost/compress v1.18.6 // gzip and zstd decoders, faster than the standard library's
	golang.org/x/sys v0.40.0 // flock, statfs, fstatat, LockFileEx
)
