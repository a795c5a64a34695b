//go:build unix && !darwin && !linux

package python

import "syscall"

// badArch is how the kernel refuses a program for another machine.
const badArch = syscall.ENOEXEC
