//go:build unix

package group

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long the other side may take before a test fails.
const patience = time.Minute

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestMain lets the test binary be the program whose standard streams matter.
func TestMain(m *testing.M) {
	if os.Getenv("GROUP_TEST") == "" {
		os.Exit(m.Run())
	}
	if err := program(); err != nil {
		fmt.Fprintln(os.NewFile(5, "report"), err)
		os.Exit(1)
	}
}

// program runs its arguments as a command whose context is cancelled when descriptor 4
// says so. The command may write to descriptor 3; 5 is told of its group, and in the
// end of its error. The program stays until 4 is closed.
func program() error {
	for fd := 3; fd <= 5; fd++ {
		syscall.CloseOnExec(fd)
	}
	life, control, report := os.NewFile(3, "life"), os.NewFile(4, "control"), os.NewFile(5, "report")
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[1], os.Args[2:]...)
	Configure(cmd)
	switch os.Getenv("GROUP_TEST") {
	case "no attributes":
		cmd.SysProcAttr = nil
	case "session":
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	cmd.Stdin, cmd.ExtraFiles = os.Stdin, []*os.File{life}
	if err := cmd.Start(); err != nil {
		return err
	}
	life.Close()
	pgid, err := syscall.Getpgid(cmd.Process.Pid)
	if err != nil {
		return err
	}
	switch pgid {
	case cmd.Process.Pid:
		fmt.Fprintln(report, "its own group")
	case syscall.Getpgrp():
		fmt.Fprintln(report, "the program's group")
	}
	dismissed := make(chan struct{})
	go func() {
		defer close(dismissed)
		for buf := make([]byte, 1); err == nil; cancel() {
			_, err = control.Read(buf)
		}
	}()
	fmt.Fprintln(report, cmd.Wait())
	<-dismissed // a terminal hangs up when its program ends, and that ends others
	return nil
}

// run is a program that runs, as seen from outside.
type run struct {
	t       *testing.T
	life    *bufio.Reader // what the command and its descendants write; ends with the last of them
	report  *bufio.Reader
	control *os.File
}

// start starts the program with a command, without a terminal unless prepare gives one.
func start(t *testing.T, kind string, prepare func(*exec.Cmd), command ...string) *run {
	t.Helper()
	lifeR, lifeW, err := os.Pipe()
	must(t, err)
	controlR, controlW, err := os.Pipe()
	must(t, err)
	reportR, reportW, err := os.Pipe()
	must(t, err)
	cmd := exec.Command(os.Args[0], command...)
	cmd.Env = append(os.Environ(), "GROUP_TEST="+kind)
	cmd.ExtraFiles = []*os.File{lifeW, controlR, reportW}
	if prepare != nil {
		prepare(cmd)
	}
	must(t, cmd.Start())
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	deadline := time.Now().Add(patience)
	must(t, lifeR.SetReadDeadline(deadline))
	must(t, reportR.SetReadDeadline(deadline))
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		for _, f := range []*os.File{lifeR, controlW, reportR} {
			f.Close()
		}
	})
	return &run{t: t, life: bufio.NewReader(lifeR), report: bufio.NewReader(reportR), control: controlW}
}

// cancel cancels the command's context.
func (r *run) cancel() {
	r.t.Helper()
	_, err := r.control.Write([]byte{'c'})
	must(r.t, err)
}

// lines expects that the command and its descendants write these lines, in any order.
func (r *run) lines(want ...string) {
	r.t.Helper()
	left := map[string]int{}
	for _, line := range want {
		left[line]++
	}
	for range want {
		line, err := r.life.ReadString('\n')
		if line = strings.TrimSuffix(line, "\n"); err != nil || left[line] == 0 {
			r.t.Fatalf("%q %v, of %q", line, err, want)
		}
		left[line]--
	}
}

// gone expects that the command and all descendants end, which closes their pipe.
func (r *run) gone() {
	r.t.Helper()
	if _, err := io.Copy(io.Discard, r.life); err != nil {
		r.t.Fatalf("not all have ended: %v", err)
	}
}

// told expects a line of the program's report.
func (r *run) told(want string) {
	r.t.Helper()
	line, err := r.report.ReadString('\n')
	if line = strings.TrimSuffix(line, "\n"); err != nil || line != want {
		r.t.Errorf("the program says %q (%v), want %q", line, err, want)
	}
}

// shell is a family of three generations.
var shell = []string{"sh", "-c", `
sh -c 'echo child >&3; exec sleep 600' &
sh -c 'echo child >&3; sh -c "echo grandchild >&3; exec sleep 600" & wait' &
echo parent >&3
wait`}

// snake is such a family of Python's.
var snake = []string{"python3", "-c", `
import os, subprocess, sys
child = "import os, subprocess, sys; os.write(3, b'child\\n'); subprocess.run([sys.executable, '-c', sys.argv[1]], pass_fds=[3])"
grandchild = "import os, time; os.write(3, b'grandchild\\n'); time.sleep(600)"
family = [subprocess.Popen([sys.executable, "-c", child, grandchild], pass_fds=[3]) for _ in range(2)]
os.write(3, b"parent\n")
family[0].wait()`}

// busy starts processes until it is ended.
var busy = []string{"sh", "-c", "while :; do sleep 600 & echo another >&3; done"}

// TestCancel: all end with the context, wherever the command is.
func TestCancel(t *testing.T) {
	for _, c := range []struct{ kind, group string }{
		{"plain", "its own group"}, {"no attributes", "the program's group"}, {"session", "its own group"},
	} {
		if c.kind == "no attributes" && !knowsDescendants {
			continue
		}
		for _, f := range []struct{ command, lines []string }{
			{shell, []string{"parent", "child", "child", "grandchild"}},
			{snake, []string{"parent", "child", "child", "grandchild", "grandchild"}},
			{busy, []string{"another"}},
		} {
			t.Run(c.kind+" "+f.command[0]+" "+f.lines[0], func(t *testing.T) {
				r := start(t, c.kind, nil, f.command...)
				r.lines(f.lines...)
				r.told(c.group)
				r.cancel()
				r.told("signal: killed")
				r.gone()
			})
		}
	}
}

// TestEnded: a child that was waited for gets nothing more, nor does who has its id.
func TestEnded(t *testing.T) {
	cmd := exec.CommandContext(context.Background(), "true")
	Configure(cmd)
	must(t, cmd.Run())
	if err := cmd.Cancel(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("error is %v", err)
	}
}

// TestSiblings: what else is in the group of a command that has none of its own stays.
func TestSiblings(t *testing.T) {
	if !knowsDescendants {
		return
	}
	family := func() (cmd *exec.Cmd, life *os.File) {
		life, w, err := os.Pipe()
		must(t, err)
		must(t, life.SetReadDeadline(time.Now().Add(patience)))
		cmd = exec.CommandContext(context.Background(), shell[0], shell[1:]...)
		Configure(cmd)
		cmd.SysProcAttr, cmd.ExtraFiles = nil, []*os.File{w}
		must(t, cmd.Start())
		w.Close()
		(&run{t: t, life: bufio.NewReader(io.LimitReader(life, int64(len("parent\nchild\nchild\ngrandchild\n"))))}).
			lines("parent", "child", "child", "grandchild")
		return cmd, life
	}
	stays, staying := family()
	ends, ending := family()
	must(t, ends.Cancel())
	if _, err := io.Copy(io.Discard, ending); err != nil {
		t.Errorf("not all have ended: %v", err)
	}
	must(t, staying.SetReadDeadline(time.Now()))
	if _, err := io.Copy(io.Discard, staying); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the other command has ended: %v", err)
	}
	must(t, stays.Cancel())
	must(t, staying.SetReadDeadline(time.Now().Add(patience)))
	if _, err := io.Copy(io.Discard, staying); err != nil {
		t.Errorf("not all have ended: %v", err)
	}
	ends.Wait()
	stays.Wait()
	staying.Close()
	ending.Close()
}

// TestLeaderEnded: as long as nobody has waited for the child, its group ends too.
func TestLeaderEnded(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	must(t, r.SetReadDeadline(time.Now().Add(patience)))
	out, outW, err := os.Pipe()
	must(t, err)
	defer out.Close()
	cmd := exec.CommandContext(context.Background(), "sh", "-c", "sleep 600 >/dev/null & exit 0")
	Configure(cmd)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as without a terminal
	cmd.ExtraFiles, cmd.Stdout = []*os.File{w}, outW
	must(t, cmd.Start())
	w.Close()
	outW.Close()
	// The shell alone has this pipe: it ends.
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Cancel(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Errorf("the group lives: %v", err)
	}
	cmd.Wait()
}
