package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// An interpreter is what both runtimes give.
type interpreter interface {
	PythonCmd(args ...string) (*exec.Cmd, error)
}

// An answer is the one line that the program prints: JSON.
type answer struct {
	Call   int64  `json:"call"`   // nanoseconds of the call that extracts or finds the interpreter, or reads the data
	Run    int64  `json:"run"`    // nanoseconds from starting the interpreter until it ended
	Peak   int64  `json:"peak"`   // largest resident set of this process, in bytes
	Output string `json:"output"` // what the interpreter printed
}

// measure does what the arguments say:
//
//	idle                   nothing, as a measure of what is not the runtime's
//	read                   read all of the embedded data once
//	open LEVEL BASE        extract the interpreter below BASE, or find it there
//	run LEVEL BASE ARG...  the same, and run it with arguments
func measure(args []string, data fs.FS, open func(level, base string) (interpreter, error)) (answer, error) {
	var a answer
	var err error
	started := time.Now()
	switch {
	case len(args) == 1 && args[0] == "idle":
	case len(args) == 1 && args[0] == "read":
		err = readAll(data)
		a.Call = time.Since(started).Nanoseconds()
	case len(args) >= 3 && (args[0] == "open" || args[0] == "run"):
		var python interpreter
		python, err = open(args[1], args[2])
		a.Call = time.Since(started).Nanoseconds()
		if err == nil && args[0] == "run" {
			a.Run, a.Output, err = run(python, args[3:])
		}
	default:
		err = fmt.Errorf("bad arguments: %q", args)
	}
	if err != nil {
		return a, err
	}
	a.Peak, err = peak()
	return a, err
}

// readAll reads every embedded file where it lies, through a small buffer.
func readAll(data fs.FS) error {
	buffer := make([]byte, 64<<10)
	return fs.WalkDir(data, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		file, err := data.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		// Hidden, the methods that would hand over all of the file at once.
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{file}, buffer)
		return err
	})
}

// run runs the interpreter to its end.
func run(python interpreter, args []string) (nanoseconds int64, output string, err error) {
	cmd, err := python.PythonCmd(args...)
	if err != nil {
		return 0, "", err
	}
	cmd.Stderr = os.Stderr
	started := time.Now()
	printed, err := cmd.Output()
	return time.Since(started).Nanoseconds(), string(printed), err
}

// peak is VmHWM of proc_pid_status(5). The maximum of getrusage(2) is of no use: it
// begins with that of the process that forked this one.
func peak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmHWM in /proc/self/status")
}

// report prints the answer, or the error, and ends the process.
func report(a answer, err error) {
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(a)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
