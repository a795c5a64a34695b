// Hello runs Python from a Go program that carries it.
//
//	go generate && go build && ./hello            # says which Python it has
//	./hello script.py arguments                   # runs a script
package main

//go:generate pyembed-gen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"example.com/hello/data"

	"pyembed.invalid/runtime/python"
)

// about is what runs when there is no script.
const about = `import platform, sys
print("Python", platform.python_version(), "on", platform.platform())
print(sys.executable)`

func main() {
	code, err := run(context.Background(), os.Args[1:])
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
