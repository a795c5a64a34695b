//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package group

import "golang.org/x/sys/unix"

// getTermios asks for a terminal's attributes: what is none refuses.
const getTermios = unix.TIOCGETA
