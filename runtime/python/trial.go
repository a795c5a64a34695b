package python

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"pyembed.invalid/runtime/internal/group"
	"pyembed.invalid/runtime/internal/tree"
)

// trialTime is after how long a trial passes: what runs for so long does run.
const trialTime = time.Minute

// trial runs the interpreter of the tree at root once, for its version. An error wraps
// tree.ErrPlace when programs can't be run from there, whatever the file system says
// of itself, and ErrUnsupportedPlatform when the interpreter can't run on this system.
// It wraps ErrNoPython when there is none. What can't be judged here passes: a machine that
// has no process to spare, or somebody's signal.
func trial(ctx context.Context, root string) error {
	return trialWithin(ctx, root, trialTime)
}

// trialWithin is trial with another time after which it passes.
func trialWithin(ctx context.Context, root string, limit time.Duration) error {
	exe := filepath.Join(root, exeDir, exeName)
	if info, err := os.Stat(exe); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%w: there is no %s in it; give the Data that pyembed-gen generated for an interpreter",
			ErrNoPython, path.Join(exeDir, exeName))
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stderr, err := runTrial(limited, exe)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return nil
	}
	return judge(exe, lastLine(stderr), err)
}

// runTrial runs exe with -V. A file that was just written may be open for writing in a
// process that some other goroutine is about to start, or be read by a scanner: that
// is waited for, for a second.
func runTrial(ctx context.Context, exe string) (stderr []byte, err error) {
	for pause := time.Millisecond; ; pause *= 2 {
		var buf bytes.Buffer
		cmd := exec.CommandContext(ctx, exe, "-V")
		group.Configure(cmd)
		hide(cmd)
		cmd.Env = trialEnv(os.Environ())
		cmd.Stderr = &buf
		cmd.WaitDelay = time.Second
		err := cmd.Run()
		if !busy(err) || pause > time.Second/2 {
			return buf.Bytes(), err
		}
		time.Sleep(pause)
	}
}

// trialEnv is env without the variables of Python, with which it may fail anywhere.
func trialEnv(env []string) []string {
	kept := []string{}
	for _, v := range env {
		if !sameKey(v[:min(len(v), len("PYTHON"))], "PYTHON") {
			kept = append(kept, v)
		}
	}
	return kept
}

// judge is the error of a trial in which exe ended with err and line.
func judge(exe, line string, err error) error {
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && linkRefused(line):
		return fmt.Errorf("%w: libraries can't be loaded from here: %s", tree.ErrPlace, line)
	case errors.As(err, &exit) && fromOutside(exit):
		return nil
	case errors.As(err, &exit):
		if line == "" {
			line = "it says nothing"
		}
		return fmt.Errorf("%w: the embedded Python does not run on this system: %s -V: %w%s: %s",
			ErrUnsupportedPlatform, exe, err, hint(exit), line)
	case refused(err):
		return fmt.Errorf("%w: programs can't be run from here: %w", tree.ErrPlace, err)
	case foreign(err):
		return fmt.Errorf("%w: the embedded Python was built for another platform: %w", ErrUnsupportedPlatform, err)
	case errors.Is(err, fs.ErrNotExist):
		return missing(exe, err)
	}
	return nil
}

// missing is the error for an exe that is there, though the system says err, that it is not.
func missing(exe string, err error) error {
	if _, statErr := os.Stat(exe); statErr != nil {
		return nil // somebody removed it: an error of the start, not of the system
	}
	needed := loader(exe)
	if needed == "" {
		return fmt.Errorf("%w: what the embedded Python needs to start is missing: %w", ErrUnsupportedPlatform, err)
	}
	advice := ""
	switch {
	case strings.Contains(needed, "ld-musl"):
		advice = "; it was built for musl: embed one that was built for glibc"
	case strings.Contains(needed, "ld-linux"), strings.Contains(needed, "ld64.so"), strings.Contains(needed, "/ld.so"):
		advice = "; it was built for glibc: embed one that was built for musl, or install a glibc"
	}
	return fmt.Errorf("%w: the embedded Python needs %s, which this system does not have%s: %w",
		ErrUnsupportedPlatform, needed, advice, err)
}

// linkRefused reports whether a dynamic loader's message says that a library may not
// be mapped: a program was let through, its library is not.
func linkRefused(line string) bool {
	return strings.Contains(line, "shared object") &&
		(strings.HasSuffix(line, "Permission denied") || strings.HasSuffix(line, "Operation not permitted"))
}

// lastLine is the last line of output that is not empty, as much as fits an error.
func lastLine(output []byte) string {
	const most = 300
	text := strings.TrimSpace(strings.ToValidUTF8(string(output), "?"))
	line := strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return line
}
