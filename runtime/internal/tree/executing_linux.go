package tree

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// executing reports whether one of the programs at names below root is being executed,
// as by a child that outlives the process with the lease: such a file can't be opened
// for writing. Nothing is written. Meanwhile nobody else may begin to execute it, or that
// would fail: the locks are held, and no fork of this process can inherit the descriptor.
func executing(root string, names []string) bool {
	for _, name := range names {
		if busyText(below(root, name)) {
			return true
		}
	}
	return false
}

// busyText reports whether the file is open as a program.
func busyText(path string) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err == nil {
		unix.Close(fd)
	}
	return errors.Is(err, unix.ETXTBSY)
}
