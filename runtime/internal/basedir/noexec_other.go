//go:build !(linux || darwin || freebsd || dragonfly)

package basedir

// noexec is not known here.
func noexec(path string) bool {
	return false
}
