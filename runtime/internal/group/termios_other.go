//go:build aix || linux || solaris

package group

import "golang.org/x/sys/unix"

// getTermios asks for a terminal's attributes: what is none refuses.
const getTermios = unix.TCGETS
