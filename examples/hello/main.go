// Hello runs Python from a Go program that carries it.
//
//	go generate && go build && ./hello            # says which Python it has
//	./hello script.py arguments                   # runs a script
//
// Outside of this repository, go mod edit -replace=pyembed.invalid/runtime=<clone>/runtime
// first, and name your platforms in the directive.
package main

//go:generate pyembed-gen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"example.com/hello/data"

	"pyembed.invalid/runtime/python"
)

// about is what runs when there is no script.
const about = `import platform, sys
print("Python", platform.python_version(), "on", platform.platform())
print(sys.executable)`

func main() {
	// Python has a process group of its own, which a signal to this program does not reach.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
	}
	os.Exit(code)
}

// run runs Python with args and gives its exit code.
func run(ctx context.Context, args []string) (int, error) {
	ep, err := python.Open(ctx, data.Data, python.WithName("hello"))
	if err != nil {
		return 1, err
	}
	if len(args) == 0 {
		args = []string{"-c", about}
	}
	cmd, err := ep.CommandContext(ctx, args...)
	if err != nil {
		return 1, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
