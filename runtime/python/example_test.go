//go:build unix

package python_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"
	"time"

	"pyembed.invalid/runtime/python"
)

// data stands for the package that pyembed-gen writes. Its Python is a shell script that
// prints its arguments.
var data = struct{ Data fs.FS }{fstest.MapFS{
	"bin/python3":          {Mode: 0o755, Data: []byte("#!/bin/sh\necho \"python3 $*\"\n")},
	"lib/python3.14/os.py": {Mode: 0o644},
}}

// app stands for files that the caller embeds with //go:embed.
var app = fstest.MapFS{
	"main.py":            {Data: []byte("import tool\n")},
	"tool.py":            {Data: []byte("print('hello')\n")},
	"report/__main__.py": {Data: []byte("print('report')\n")},
}

func ExampleOpen() {
	ctx := context.Background()
	ep, err := python.Open(ctx, data.Data, python.WithPythonLine("3.14"))
	if errors.Is(err, python.ErrUnsupportedPlatform) {
		fmt.Println("there is no Python for this platform")
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	cmd, err := ep.CommandContext(ctx, "-c", "print('hello')")
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := cmd.Output()
	fmt.Print(string(out), err)
	// Output:
	// python3 -c print('hello')
	// <nil>
}

func ExampleEmbeddedPython_CommandContext() {
	ep, err := python.Open(context.Background(), data.Data)
	if err != nil {
		fmt.Println(err)
		return
	}
	// When the time is over, Python is killed with what it started.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd, err := ep.CommandContext(ctx, "-m", "json.tool")
	if err != nil {
		fmt.Println(err)
		return
	}
	cmd.Stdin = strings.NewReader(`{"a": 1}`)
	cmd.Stdout = os.Stdout
	fmt.Println(cmd.Run())
	// Output:
	// python3 -m json.tool
	// <nil>
}

func ExampleEmbeddedPython_ScriptContext() {
	ctx := context.Background()
	ep, err := python.Open(ctx, data.Data, python.WithIsolation())
	if err != nil {
		fmt.Println(err)
		return
	}
	cmd, err := ep.ScriptContext(ctx, app, "main.py", "--verbose")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(filepath.Base(cmd.Args[1]), cmd.Args[2])
	fmt.Println(cmd.Run())
	// Output:
	// main.py --verbose
	// <nil>
}

func ExampleEmbeddedPython_ModuleContext() {
	ctx := context.Background()
	ep, err := python.Open(ctx, data.Data, python.WithIsolation())
	if err != nil {
		fmt.Println(err)
		return
	}
	cmd, err := ep.ModuleContext(ctx, app, "report")
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := cmd.Output()
	fmt.Print(string(out), err)
	// Output:
	// python3 -m report
	// <nil>
}

func ExampleWithPackages() {
	packages, err := os.MkdirTemp("", "packages-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(packages)
	ep, err := python.Open(context.Background(), data.Data, python.WithPackages(packages))
	if err != nil {
		fmt.Println(err)
		return
	}
	// Whoever runs this has the packages, and nothing of the user's own Pythons.
	exe, err := ep.GetExePath()
	fmt.Println(filepath.Base(exe), err)
	// Output: python3 <nil>
}
