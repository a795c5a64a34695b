//go:build unix

package group

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// separate gives the child a group of its own, unless it may need the terminal.
func separate(cmd *exec.Cmd) {
	if hasTerminal() {
		return
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

// hasTerminal reports whether one of this process's standard streams is a terminal.
// What cmd.Stdin will be nobody knows yet, and Ctrl-C is for all of a command line,
// also where input or output is redirected.
func hasTerminal() bool {
	for fd := range 3 {
		if _, err := unix.IoctlGetTermios(fd, getTermios); err == nil {
			return true
		}
	}
	return false
}

// end ends the child, and its group if it leads one. The error is os.ErrProcessDone
// if the child was waited for already: its id may be another's by now. Until then a
// group with this id is the child's.
func end(child *os.Process) error {
	if err := child.Signal(syscall.Signal(0)); err != nil {
		return err
	}
	switch err := unix.Kill(-child.Pid, unix.SIGKILL); {
	case err == nil:
		child.Kill() // in case it has left its group
		return nil
	case errors.Is(err, unix.ESRCH):
		endDescendants(child)
	}
	return child.Kill()
}
