// Pack puts the Python packages of requirements.txt into the Go package libs/data. It
// needs a Python with pip, once: the program that embeds them needs none.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pyembed.invalid/runtime/embed_util"
	"pyembed.invalid/runtime/python"
)

const (
	requirements = "requirements.txt"
	out          = "libs/data"
)

// pip installs wheels for one platform, whichever this is: so every machine packs the
// same bytes, and one hash for each package is enough.
var pip = []string{
	"-m", "pip", "install", "--quiet", "--disable-pip-version-check",
	"--requirement", requirements, "--require-hashes", "--no-deps", "--no-compile",
	"--only-binary", ":all:", "--platform", "manylinux2014_x86_64", "--python-version", "3.14",
}

func main() {
	if err := pack(); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

// pack installs the packages to a temporary directory and writes the Go package.
func pack() error {
	lib, err := os.MkdirTemp("", "pack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(lib)

	cmd, err := python.NewPython().PythonCmd(append(pip, "--target", lib)...)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pip install: %w", err)
	}
	if err := dropCompiled(lib); err != nil {
		return err
	}
	if err := embed_util.CopyForEmbed(out, lib); err != nil {
		return err
	}
	return embed_util.WriteEmbedGoFile(out, "", "")
}

// dropCompiled removes extension modules. MarkupSafe has one, which makes it faster on
// one platform, and the same functions in Python for all others. A package that can't
// do without needs a folder for each platform instead.
func dropCompiled(lib string) error {
	return filepath.WalkDir(lib, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".so" {
			return err
		}
		return os.Remove(path)
	})
}
