package python

import "strings"

// sameKey compares names of environment variables.
func sameKey(a, b string) bool { return strings.EqualFold(a, b) }
