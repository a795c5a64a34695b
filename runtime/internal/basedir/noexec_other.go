//go:build unix && !(linux || darwin || freebsd || dragonfly || netbsd || openbsd)

package basedir

// noexec is not known here.
func noexec(string) bool {
	return false
}
