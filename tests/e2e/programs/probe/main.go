// Probe is a user's program, for tests from outside: it opens the Python that it carries
// with the default options, uses it, and says on one line of JSON what it saw.
//
//	probe open                      extracts or finds the tree
//	probe run ARGUMENT...           runs Python with the arguments too
//	probe hold                      opens, reports, and stays until its standard input ends
//	probe orphan ARGUMENT...        starts Python on its own standard input, reports, and ends before it
//	probe forks BASE ROUNDS FORKERS extracts below BASE, in new directories, and runs what it extracted at once, while goroutines fork
//	probe prune DURATION            removes what was not used for so long
//
// With $PROBE_WAIT set it says "ready" first and begins when its standard input ends.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fresh/data"

	"pyembed.invalid/runtime/python"
)

// report is what a probe says. Empty fields are left out.
type report struct {
	Path      string   `json:"path,omitempty"`
	Extracted bool     `json:"extracted,omitempty"` // files were written
	Log       []string `json:"log,omitempty"`       // messages of the runtime
	Code      int      `json:"code,omitempty"`      // Python's exit code
	Out       string   `json:"out,omitempty"`       // Python's standard output
	Err       string   `json:"err,omitempty"`       // Python's standard error
	PID       int      `json:"pid,omitempty"`       // Python's, when it goes on
	Removed   []string `json:"removed,omitempty"`   // trees that were pruned
	Forks     int64    `json:"forks,omitempty"`     // processes that were started beside the interpreters
	Starts    int64    `json:"starts,omitempty"`    // interpreters that were started
	Busy      int64    `json:"busy,omitempty"`      // of those, how many failed with ETXTBSY
}

func main() {
	if os.Getenv("PROBE_WAIT") != "" {
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

// run does what one command asks for.
func run(ctx context.Context, command string, args []string) error {
	switch command {
	case "open":
		_, r, err := open(ctx)
		return say(r, err)
	case "run":
		return say(runPython(ctx, args))
	case "hold":
		_, r, err := open(ctx)
		if err := say(r, err); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	case "orphan":
		return say(leavePython(ctx, args))
	case "forks":
		return say(forks(ctx, args[0], args[1], args[2]))
	case "prune":
		return say(prune(ctx, args[0]))
	default:
		return fmt.Errorf("unknown command %q", command)
	}
}

// say prints a report unless there is an error.
func say(r report, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// messages is a slog handler's writer that keeps one line for each record.
type messages struct {
	mu    sync.Mutex
	lines []string
}

// Write keeps a record.
func (m *messages) Write(line []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, string(bytes.TrimSpace(line)))
	return len(line), nil
}

// logger is a logger that keeps its records, without their times.
func logger() (*slog.Logger, *messages) {
	kept := &messages{}
	drop := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(kept, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: drop})), kept
}

// open opens the Python and sees what that took.
func open(ctx context.Context) (*python.EmbeddedPython, report, error) {
	var r report
	log, kept := logger()
	progress := func(int64, int64) { r.Extracted = true }
	ep, err := python.Open(ctx, data.Data, python.WithName("probe"), python.WithLogger(log), python.WithProgress(progress))
	if err != nil {
		return nil, r, err
	}
	r.Path, r.Log = ep.GetExtractedPath(), kept.lines
	return ep, r, nil
}

// runPython runs Python to its end.
func runPython(ctx context.Context, args []string) (report, error) {
	ep, r, err := open(ctx)
	if err != nil {
		return r, err
	}
	cmd, err := ep.CommandContext(ctx, args...)
	if err != nil {
		return r, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	r.Out, r.Err = stdout.String(), stderr.String()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.Code, err = exit.ExitCode(), nil
	}
	return r, err
}

// leavePython starts Python and does not wait for it.
func leavePython(ctx context.Context, args []string) (report, error) {
	ep, r, err := open(ctx)
	if err != nil {
		return r, err
	}
	cmd, err := ep.PythonCmd2(args)
	if err != nil {
		return r, err
	}
	cmd.Stdin = os.Stdin
	if err := cmd.Start(); err != nil {
		return r, err
	}
	r.PID = cmd.Process.Pid
	return r, nil
}

// prune removes old trees.
func prune(ctx context.Context, olderThan string) (report, error) {
	var r report
	age, err := time.ParseDuration(olderThan)
	if err != nil {
		return r, err
	}
	log, kept := logger()
	r.Removed, err = python.Prune(ctx, age, python.WithLogger(log))
	r.Log = kept.lines
	return r, err
}

// forks extracts and runs at once, again and again, from two goroutines, while others
// fork all the time.
func forks(ctx context.Context, base, rounds, forkers string) (report, error) {
	var r report
	n, err := strconv.Atoi(rounds)
	if err != nil {
		return r, err
	}
	m, err := strconv.Atoi(forkers)
	if err != nil {
		return r, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return r, err
	}
	defer null.Close()
	files := slices.Repeat([]*os.File{null}, 200)
	var forked, failed, started, busy atomic.Int64
	forking, stop := context.WithCancel(ctx)
	var forkersDone sync.WaitGroup
	for range m {
		forkersDone.Add(1)
		go func() {
			defer forkersDone.Done()
			for forking.Err() == nil {
				if fork(files) != nil {
					failed.Add(1)
				}
				forked.Add(1)
			}
		}()
	}
	var next atomic.Int64
	problems := make(chan error, 2)
	for range cap(problems) {
		go func() {
			problems <- func() error {
				for i := next.Add(1); i <= int64(n); i = next.Add(1) {
					if err := startOnce(ctx, filepath.Join(base, strconv.FormatInt(i, 10)), &started, &busy); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range cap(problems) {
		err = errors.Join(err, <-problems)
	}
	stop()
	forkersDone.Wait()
	if failed.Load() > 0 {
		err = errors.Join(err, fmt.Errorf("%d forks failed", failed.Load()))
	}
	r.Forks, r.Starts, r.Busy = forked.Load(), started.Load(), busy.Load()
	return r, err
}

// startOnce extracts to a new base and runs the interpreter, lets it be put back and runs
// it some more times, and removes it all. Right after one file was put back is when a
// process that inherited its descriptor is most likely to have it still.
func startOnce(ctx context.Context, base string, started, busy *atomic.Int64) error {
	const again = 20
	var last *python.EmbeddedPython
	for range 1 + again {
		ep, err := python.Open(ctx, data.Data, python.WithName("probe"), python.WithCacheDir(base))
		if err != nil {
			return err
		}
		cmd, err := ep.CommandContext(ctx, "-I", "-S", "-c", "pass")
		if err != nil {
			return err
		}
		started.Add(1)
		if err := cmd.Run(); errors.Is(err, syscall.ETXTBSY) {
			busy.Add(1)
		} else if err != nil {
			return err
		}
		program, err := filepath.EvalSymlinks(cmd.Path)
		if err != nil {
			return err
		}
		if err := os.Remove(program); err != nil {
			return err
		}
		if last != nil {
			if err := last.Cleanup(); err != nil { // which leaves it: this is not the last one
				return err
			}
		}
		last = ep
	}
	return last.Cleanup()
}

// fork starts a process that has much to do before it is another program: until then it
// has all descriptors of this one.
func fork(files []*os.File) error {
	cmd := exec.Command("/bin/true")
	cmd.ExtraFiles = files
	return cmd.Run()
}
