package python

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"

	"pyembed.invalid/runtime/internal/group"
)

// Python makes commands that run a Python interpreter.
type Python interface {
	// GetExeName is the file name of the interpreter: python3, or python.exe.
	GetExeName() string
	// GetExePath is the path of the interpreter, which exists. That of an isolated one
	// makes whoever executes it isolated.
	GetExePath() (string, error)
	// AddPythonPath adds a directory to where later commands look for modules.
	AddPythonPath(p string)
	// PythonCmd is a command that runs the interpreter with args.
	PythonCmd(args ...string) (*exec.Cmd, error)
	// PythonCmd2 is PythonCmd for a slice.
	PythonCmd2(args []string) (*exec.Cmd, error)
}

// interpreter is the one Python.
type interpreter struct {
	home      string     // "": the python3 that is found in $PATH
	own       bool       // home is a tree that we extracted: it needs no PYTHONHOME
	nocache   bool       // Python must not write bytecode
	isolation *isolation // nil: not isolated

	mu   sync.Mutex
	path []string // of AddPythonPath
}

// PythonOpt is an option for NewPython.
type PythonOpt func(o *interpreter)

// WithPythonHome makes NewPython use the Python that is installed in home, and set
// PYTHONHOME for it.
func WithPythonHome(home string) PythonOpt {
	return func(o *interpreter) { o.home = home }
}

// NewPython gives a Python that is on the machine: the python3 in $PATH, or the one
// of WithPythonHome.
func NewPython(opts ...PythonOpt) Python {
	p := &interpreter{}
	for _, opt := range opts {
		opt(p)
	}
	return p
}

// GetExeName is the file name of the interpreter.
func (p *interpreter) GetExeName() string {
	return exeName
}

// GetExePath is the path of the interpreter, which exists. That of an isolated
// interpreter makes whoever executes it isolated, and is another one after AddPythonPath.
func (p *interpreter) GetExePath() (string, error) {
	return p.exePath(p.pathWith(nil))
}

// exePath is GetExePath for commands with these directories.
func (p *interpreter) exePath(dirs []string) (string, error) {
	if p.home == "" {
		path, err := exec.LookPath(exeName)
		if err != nil {
			return "", fmt.Errorf("find %s: %w", exeName, err)
		}
		return path, nil
	}
	path := filepath.Join(p.home, exeDir, exeName)
	if _, err := os.Stat(path); err != nil {
		if p.own {
			err = fmt.Errorf("%w (it was removed, as Cleanup does)", err)
		}
		return "", fmt.Errorf("find %s: %w", exeName, err)
	}
	if p.isolation != nil {
		return p.isolation.overlay(p.home, dirs, p.nocache)
	}
	return path, nil
}

// AddPythonPath adds a directory to where later commands look for modules: after those
// of earlier calls, before an inherited PYTHONPATH and before the standard library. It
// is handed down in PYTHONPATH, which takes a relative one as relative to the directory
// that the command runs in, and what has a colon (on Windows a semicolon) as several.
//
// An isolated interpreter has it in sys.path without a variable, so a colon is one like
// any other character; a relative one is relative to the current directory. An empty
// name, which would be that directory, is ignored.
func (p *interpreter) AddPythonPath(dir string) {
	if dir == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.path = append(p.path, dir)
}

// pathWith is first and then the directories of AddPythonPath.
func (p *interpreter) pathWith(first []string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(slices.Clone(first), p.path...)
}

// PythonCmd is a command that runs the interpreter with args.
func (p *interpreter) PythonCmd(args ...string) (*exec.Cmd, error) {
	return p.PythonCmd2(args)
}

// PythonCmd2 is PythonCmd for a slice.
func (p *interpreter) PythonCmd2(args []string) (*exec.Cmd, error) {
	dirs := p.pathWith(nil)
	exe, err := p.exePath(dirs)
	if err != nil {
		return nil, err
	}
	return p.configure(exec.Command(exe), dirs, args), nil
}

// commandContext is PythonCmd2 with a context that ends the process and what it started,
// and with directories before those of AddPythonPath.
func (p *interpreter) commandContext(ctx context.Context, first, args []string) (*exec.Cmd, error) {
	dirs := p.pathWith(first)
	exe, err := p.exePath(dirs)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe)
	group.Configure(cmd)
	return p.configure(cmd, dirs, args), nil
}

// configure gives a command its arguments and environment. -B, besides what the
// environment or the overlay says, is for modules that are imported before that is read,
// and for the workers of multiprocessing, which get it from their parent.
func (p *interpreter) configure(cmd *exec.Cmd, dirs, args []string) *exec.Cmd {
	if p.isolation != nil && p.nocache {
		cmd.Args = append(cmd.Args, "-B")
	}
	cmd.Args = append(cmd.Args, args...)
	cmd.Env = p.environ(os.Environ(), dirs)
	return cmd
}
