//go:build !unix && !windows

package group

import (
	"os"
	"os/exec"
)

// separate is not possible here.
func separate(*exec.Cmd) {}

// end ends the child alone, as a command's context does anyway.
func end(child *os.Process) error { return child.Kill() }
