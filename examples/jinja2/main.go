// Jinja2 renders templates with Python's Jinja, on machines that have no Python.
//
//	go generate && go build
//	./jinja2 a.txt.j2 b.txt.j2                    # to standard output, in this order
//	./jinja2 -workers 8 -vars vars.json *.j2      # with the variables of a JSON object
//
// Outside of this repository, go mod edit -replace=pyembed.invalid/runtime=<clone>/runtime
// first, and name your platforms in the directive.
//
// It is an example of libraries that travel along, and of Python processes that are
// kept alive and asked over pipes: starting Python takes longer than most answers.
package main

//go:generate pyembed-gen
//go:generate go run ./pack

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"example.com/jinja2/data"
	libs "example.com/jinja2/libs/data"

	"pyembed.invalid/runtime/python"
)

//go:embed worker.py
var workerSource string

func main() {
	workers := flag.Int("workers", runtime.NumCPU(), "Python processes")
	varsFile := flag.String("vars", "", "file with a JSON object: the variables of the templates")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, max(1, *workers), *varsFile, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "jinja2:", err)
		os.Exit(1)
	}
}

// run extracts Python and the libraries, renders the templates, and cleans up.
func run(ctx context.Context, workers int, varsFile string, templates []string) (err error) {
	vars, err := readVars(varsFile)
	if err != nil {
		return err
	}
	ep, err := python.Open(ctx, data.Data, python.WithName("jinja2"), python.WithPackagesFS(libs.Data))
	if err != nil {
		return err
	}
	// A program that is started often leaves both where they are, for the next start.
	defer func() { err = errors.Join(err, ep.Cleanup()) }()

	// When ctx is done, the workers are killed.
	pool, err := NewPool(workers, func() (*exec.Cmd, error) {
		return ep.CommandContext(ctx, "-c", workerSource)
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	return renderAll(ctx, pool, templates, vars)
}

// readVars reads the variables; there are none without a file.
func readVars(file string) (map[string]any, error) {
	vars := map[string]any{}
	if file == "" {
		return vars, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &vars); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return vars, nil
}

// renderAll renders the files at the same time and prints them in order. A template
// that fails does not keep the others from being rendered.
func renderAll(ctx context.Context, pool *Pool, files []string, vars map[string]any) error {
	texts, errs := make([]string, len(files)), make([]error, len(files))
	var wg sync.WaitGroup
	for i, file := range files {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if texts[i], errs[i] = renderFile(ctx, pool, file, vars); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", file, errs[i])
			}
		}()
	}
	wg.Wait()
	_, err := os.Stdout.WriteString(strings.Join(texts, ""))
	return errors.Join(append(errs, err)...)
}

// renderFile renders one file.
func renderFile(ctx context.Context, pool *Pool, file string, vars map[string]any) (string, error) {
	template, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return pool.Render(ctx, string(template), vars)
}
