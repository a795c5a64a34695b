package group

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// family starts children, who start grandchildren; all of them say so and stay, with
// the standard output that the first of them has.
const family = `
import subprocess, sys
child = "import subprocess, sys; print('child', flush=True); subprocess.run([sys.executable, '-c', sys.argv[1]], stdout=sys.stdout)"
grandchild = "import time; print('grandchild', flush=True); time.sleep(600)"
children = [subprocess.Popen([sys.executable, "-c", child, grandchild], stdout=sys.stdout) for _ in range(2)]
print("parent", flush=True)
children[0].wait()`

// TestCancel: all end with the context, which closes their pipe.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, "python", "-c", family)
	Configure(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, seen := bufio.NewReader(out), map[string]int{}
	for range 5 {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		seen[strings.TrimSpace(line)]++
	}
	if seen["parent"] != 1 || seen["child"] != 2 || seen["grandchild"] != 2 {
		t.Errorf("started %v", seen)
	}
	cancel()
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it ended well")
	}
}

// TestEnded: a child that was waited for gets nothing more, nor does who has its id.
func TestEnded(t *testing.T) {
	cmd := exec.CommandContext(context.Background(), "python", "-c", "pass")
	Configure(cmd)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Cancel(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("error is %v", err)
	}
}

// TestProcesses: this process is there, with its parent.
func TestProcesses(t *testing.T) {
	for _, p := range processes() {
		if p.pid == os.Getpid() {
			if p.ppid != os.Getppid() || p.created == 0 {
				t.Errorf("%v, the parent is %d", p, os.Getppid())
			}
			return
		}
	}
	t.Error("this process is not there")
}
