// Package group makes the end of a command's context the end of what the command
// started, too: a Python that is killed alone leaves its workers behind, and whoever
// waits for the end of its output waits for theirs.
package group

import "os/exec"

// Configure has the context of cmd, which is from exec.CommandContext and not started,
// end the child together with its descendants. It sets cmd.Cancel, and on Unix
// Setpgid in cmd.SysProcAttr.
//
// On Unix the child leads a process group of its own, which gets SIGKILL. Descendants
// that left the group, as daemons do, live on. When this program has a terminal as
// standard input, output or error, the child stays in this program's group instead:
// there it may read from the terminal, where another group is stopped by SIGTTIN, and
// Ctrl-C reaches it. Then, and wherever the child does not lead a group, the child
// gets SIGKILL, and on Linux and macOS so do its descendants, but for those whose
// parent has ended.
//
// On Windows, which has no such groups, the child and its descendants are terminated,
// but for those whose parent has ended.
//
// As ever with exec.CommandContext, the end is a hard one, and none comes by the
// context once the child itself has ended, whatever it left running: what
// cmd.WaitDelay is for. For a gentler end set cmd.Cancel afterwards. A child in its own
// group does not get the signals of this program's group, such as those of timeout(1).
//
// Who sets cmd.SysProcAttr afterwards replaces Setpgid, and what ends is then decided
// by where the child is. Setpgid and Setsid exclude each other, so before a call of
// something that adds Setsid, such as creack/pty's Start, set cmd.SysProcAttr to nil.
func Configure(cmd *exec.Cmd) {
	separate(cmd)
	cmd.Cancel = func() error { return end(cmd.Process) }
}
