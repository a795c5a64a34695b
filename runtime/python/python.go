package python

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Python makes commands that run a Python interpreter.
type Python interface {
	// GetExeName is the file name of the interpreter: python3, or python.exe.
	GetExeName() string
	// GetExePath is the path of the interpreter, which exists.
	GetExePath() (string, error)
	// AddPythonPath adds a directory to the PYTHONPATH of later commands.
	AddPythonPath(p string)
	// PythonCmd is a command that runs the interpreter with args.
	PythonCmd(args ...string) (*exec.Cmd, error)
	// PythonCmd2 is PythonCmd for a slice.
	PythonCmd2(args []string) (*exec.Cmd, error)
}

// interpreter is the one Python.
type interpreter struct {
	home     string // "": the python3 that is found in $PATH
	own      bool   // home is a tree that we extracted: it needs no PYTHONHOME
	isolated bool
	nocache  bool // Python must not write bytecode

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

// GetExePath is the path of the interpreter, which exists.
func (p *interpreter) GetExePath() (string, error) {
	var path string
	var err error
	if p.home == "" {
		path, err = exec.LookPath(exeName)
	} else {
		path = filepath.Join(p.home, exeDir, exeName)
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("find %s: %w", exeName, err)
	}
	return path, nil
}

// AddPythonPath adds a directory to the PYTHONPATH of later commands.
func (p *interpreter) AddPythonPath(dir string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.path = append(p.path, dir)
}

// PythonCmd is a command that runs the interpreter with args.
func (p *interpreter) PythonCmd(args ...string) (*exec.Cmd, error) {
	return p.PythonCmd2(args)
}

// PythonCmd2 is PythonCmd for a slice.
func (p *interpreter) PythonCmd2(args []string) (*exec.Cmd, error) {
	exe, err := p.GetExePath()
	if err != nil {
		return nil, err
	}
	return p.configure(exec.Command(exe), args), nil
}

// commandContext is PythonCmd2 with a context that ends the process.
func (p *interpreter) commandContext(ctx context.Context, args []string) (*exec.Cmd, error) {
	exe, err := p.GetExePath()
	if err != nil {
		return nil, err
	}
	return p.configure(exec.CommandContext(ctx, exe), args), nil
}

// configure gives a command its arguments and environment.
func (p *interpreter) configure(cmd *exec.Cmd, args []string) *exec.Cmd {
	flags, env := p.settings(os.Environ())
	cmd.Args = append(append(cmd.Args, flags...), args...)
	cmd.Env = env
	return cmd
}
