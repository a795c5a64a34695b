module example.com/jinja2

go 1.24.0

require pyembed.invalid/runtime v0.0.0

require (
	github.com/klauspost/compress v1.18.6 // indirect
	golang.org/x/sys v0.40.0 // indirect
)

// A release of the runtime needs no replace.
replace pyembed.invalid/runtime => ../../runtime
