//go:build !unix && !windows

package python

import "os/exec"

// Nothing is known about how programs fail to start here.

func hide(*exec.Cmd)                   {}
func busy(error) bool                  { return false }
func refused(error) bool               { return false }
func foreign(error) bool               { return false }
func fromOutside(*exec.ExitError) bool { return false }
func hint(*exec.ExitError) string      { return "" }
func loader(string) string             { return "" }
