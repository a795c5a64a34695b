package python

import "syscall"

// badArch is how the kernel refuses a program whose loader is for another machine.
const badArch = syscall.ELIBBAD
