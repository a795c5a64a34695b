//go:build !windows

package python

// sameKey compares names of environment variables.
func sameKey(a, b string) bool { return a == b }
