package group

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// knowsDescendants: descendants are found without a group.
const knowsDescendants = true

// terminal opens a pseudo-terminal: what is written to master is typed on it.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	fd := int(master.Fd())
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() {
		master.Close()
		slave.Close()
	})
	return master, slave
}

// onTerminal starts the program in the foreground of a terminal.
func onTerminal(t *testing.T, command ...string) (r *run, keys *os.File) {
	t.Helper()
	master, slave := terminal(t)
	return start(t, "plain", func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}, command...), master
}

// TestRead: a child reads from the terminal: nothing stops it.
func TestRead(t *testing.T) {
	for _, command := range [][]string{
		{"sh", "-c", `echo ready >&3; read line; echo "got $line" >&3`},
		{"python3", "-c", `import os; os.write(3, b"ready\n"); os.write(3, b"got " + input().encode() + b"\n")`},
	} {
		r, keys := onTerminal(t, command...)
		r.lines("ready")
		r.told("the program's group")
		_, err := keys.WriteString("a line\n")
		must(t, err)
		r.lines("got a line")
		r.told("<nil>")
		r.gone()
	}
}

// TestInterrupt: Ctrl-C reaches the child.
func TestInterrupt(t *testing.T) {
	r, keys := onTerminal(t, "python3", "-c", `
import os, time
try:
    os.write(3, b"ready\n")
    time.sleep(600)
except KeyboardInterrupt:
    os.write(3, b"interrupted\n")`)
	r.lines("ready")
	_, err := keys.WriteString("\x03")
	must(t, err)
	r.lines("interrupted")
	r.gone()
}

// TestCancelOnTerminal: descendants end with the context there, too.
func TestCancelOnTerminal(t *testing.T) {
	for _, f := range []struct{ command, lines []string }{
		{shell, []string{"parent", "child", "child", "grandchild"}},
		{snake, []string{"parent", "child", "child", "grandchild", "grandchild"}},
		{busy, []string{"another"}},
	} {
		r, _ := onTerminal(t, f.command...)
		r.lines(f.lines...)
		r.told("the program's group")
		r.cancel()
		r.told("signal: killed")
		r.gone()
	}
}

// TestRedirected: one standard stream that is a terminal is enough, as Ctrl-C is for
// all of a command line.
func TestRedirected(t *testing.T) {
	_, slave := terminal(t)
	for i := range 3 {
		r := start(t, "plain", func(cmd *exec.Cmd) {
			switch i {
			case 0:
				cmd.Stdin = slave
			case 1:
				cmd.Stdout = slave
			case 2:
				cmd.Stderr = slave
			}
		}, "true")
		r.told("the program's group")
	}
}
