// Isolation runs the Python of a bundle as the JSON document in its first argument says,
// and exits with the code that it has.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"time"

	"pyembed.invalid/runtime/python"
)

// A request says what to run.
type request struct {
	Bundle    string   // directory of the bundle
	Cache     string   // directory to extract below
	Isolation bool     // WithIsolation
	Packages  [][]byte // WithPackages; names need not be Unicode
	Path      [][]byte // AddPythonPath
	Hash      bool     // level hash
	Scripts   string   // directory that stands for an embed.FS
	Script    string   // a script in it
	Module    string   // or a module in it
	Args      []string
	Times     int // instead of running: nanoseconds of so many calls of PythonCmd
}

func main() {
	err := run(os.Args[1])
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run runs what the document says.
func run(document string) error {
	var r request
	if err := json.Unmarshal([]byte(document), &r); err != nil {
		return err
	}
	options := []python.Option{python.WithCacheDir(r.Cache)}
	if r.Isolation {
		options = append(options, python.WithIsolation())
	}
	if r.Packages != nil {
		for _, dir := range r.Packages {
			options = append(options, python.WithPackages(string(dir)))
		}
	}
	if r.Hash {
		options = append(options, python.WithVerify(python.VerifyHash))
	}
	ctx := context.Background()
	ep, err := python.Open(ctx, os.DirFS(r.Bundle), options...)
	if err != nil {
		return err
	}
	for _, dir := range r.Path {
		ep.AddPythonPath(string(dir))
	}
	if r.Times > 0 {
		return times(ep, r.Times)
	}
	cmd, err := command(ctx, ep, os.DirFS(r.Scripts), r)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// command is the command that the request is about.
func command(ctx context.Context, ep *python.EmbeddedPython, scripts fs.FS, r request) (*exec.Cmd, error) {
	switch {
	case r.Script != "":
		return ep.ScriptContext(ctx, scripts, r.Script, r.Args...)
	case r.Module != "":
		return ep.ModuleContext(ctx, scripts, r.Module, r.Args...)
	default:
		return ep.CommandContext(ctx, r.Args...)
	}
}

// times prints how long each of n calls takes.
func times(ep *python.EmbeddedPython, n int) error {
	list := make([]time.Duration, n)
	for i := range list {
		start := time.Now()
		if _, err := ep.PythonCmd("-c", "pass"); err != nil {
			return err
		}
		list[i] = time.Since(start)
	}
	return json.NewEncoder(os.Stdout).Encode(list)
}
