//go:build linux || darwin

package group

import (
	"os"
	"syscall"
)

// endDescendants kills the child's descendants, and leaves the child stopped. All are
// stopped first, so that none starts another, ends or is waited for meanwhile: a
// process whose parent has ended can't be told from a stranger.
func endDescendants(child *os.Process) {
	root, ok := lookup(child.Pid)
	if !ok || child.Signal(syscall.SIGSTOP) != nil {
		return
	}
	var held []*os.Process
	endAll(root, processes, func(p process) bool {
		handle := stop(p)
		if handle != nil {
			held = append(held, handle)
		}
		return handle != nil
	})
	for _, handle := range held {
		handle.Kill()
		handle.Release()
	}
}

// stop stops a process; nil if it is gone or is not ours. On Linux the handle keeps
// to the process even if its id becomes another's; lookup tells that it was not yet.
func stop(p process) *os.Process {
	handle, err := os.FindProcess(p.pid)
	if err != nil {
		return nil
	}
	if now, ok := lookup(p.pid); !ok || now != p || handle.Signal(syscall.SIGSTOP) != nil {
		handle.Release()
		return nil
	}
	return handle
}
