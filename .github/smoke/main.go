// Smoke runs an embedded Python as a user's program would, plain and isolated. The
// workflow copies it into examples/hello, beside the generated data.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"example.com/hello/data"

	"pyembed.invalid/runtime/python"
)

// modules need every library that the interpreter links or carries.
const modules = `import asyncio, bz2, ctypes, hashlib, lzma, multiprocessing, sqlite3, ssl, urllib.request, zlib
assert hashlib.sha256(zlib.decompress(zlib.compress(b"x"))).hexdigest().startswith("2d711642")
print(sqlite3.sqlite_version, ssl.OPENSSL_VERSION)`

// workers starts processes of its own by each method that starts a new interpreter.
const workers = `import multiprocessing
def double(x):
    return 2 * x
if __name__ == "__main__":
    for method in set(multiprocessing.get_all_start_methods()) - {"fork"}:
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(double, range(3)) == [0, 2, 4], method
        print(method)`

// isolated looks for what is planted in $PYTHONPATH and in the current directory, in
// the first interpreter and in one that it starts, and finds its packages.
const isolated = `import subprocess, sys
look = "import importlib.util, sys; assert importlib.util.find_spec('planted') is None, sys.path"
exec(look)
subprocess.run([sys.executable, "-c", look], check=True)
import packed, reached
print(sys.executable)`

// family starts a process that stays, and that holds the output open.
const family = `import subprocess, sys
with subprocess.Popen([sys.executable, "-c", "print('started', flush=True); import time; time.sleep(600)"], stdout=sys.stdout):
    pass`

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "smoke:", err)
		os.Exit(1)
	}
}

// run does everything, in a directory with a module that nobody asked for.
func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "smoke ä ")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for name, content := range map[string]string{
		"user/planted.py": "", "packages/packed.py": "", "packages/more.pth": "more\n", "packages/more/reached.py": "",
		"workers.py": workers,
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	user := filepath.Join(dir, "user")
	os.Setenv("PYTHONPATH", user)
	os.Setenv("PYTHONHOME", user)
	if err := os.Chdir(user); err != nil {
		return err
	}
	cache := python.WithCacheDir(filepath.Join(dir, "cache"))
	plain, err := python.Open(ctx, data.Data, cache, python.WithPythonLine(os.Getenv("SMOKE_LINE")))
	if err != nil {
		return err
	}
	apart, err := python.Open(ctx, data.Data, cache, python.WithIsolation(), python.WithPackages(filepath.Join(dir, "packages")))
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name string
		ep   *python.EmbeddedPython
		args []string
	}{
		{"modules", plain, []string{"-c", modules}},
		{"inherited PYTHONPATH", plain, []string{"-c", "import planted"}},
		{"workers", plain, []string{filepath.Join(dir, "workers.py")}},
		{"isolation", apart, []string{"-c", isolated}},
		{"isolated modules", apart, []string{"-c", modules}},
		{"isolated workers", apart, []string{filepath.Join(dir, "workers.py")}},
		{"input", apart, []string{"-c", "print(input())"}},
	} {
		cmd, err := c.ep.CommandContext(ctx, c.args...)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		cmd.Stdin = strings.NewReader("a line\n")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", c.name, err, out)
		}
		fmt.Printf("%s: %s\n", c.name, strings.Join(strings.Fields(string(out)), " "))
	}
	return cancelled(ctx, apart)
}

// cancelled cancels a command whose child holds the output, which then ends.
func cancelled(ctx context.Context, ep *python.EmbeddedPython) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd, err := ep.CommandContext(ctx, "-c", family)
	if err != nil {
		return err
	}
	started := make(chan struct{})
	cmd.Stdout = writer(sync.OnceFunc(func() { close(started) }))
	if err := cmd.Start(); err != nil {
		return err
	}
	<-started
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return fmt.Errorf("cancelled: it ended with %v", err)
		}
		fmt.Println("cancelled:", err)
		return nil
	case <-time.After(time.Minute):
		return errors.New("cancelled: a child lives on")
	}
}

// A writer is called when there is output.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}
