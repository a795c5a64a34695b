//go:build unix && !linux

package group

import "runtime"

// knowsDescendants: descendants are found without a group.
const knowsDescendants = runtime.GOOS == "darwin"
