"""Both directions of compatibility with go-embed-python: its runtime reads our bundles, ours reads its."""

import shutil
import subprocess
from pathlib import Path

import pytest

import peer
from peer_fixtures import PEER_PYTHON, Go
from setting import ROOT

pytestmark = pytest.mark.peer

SAYS = "import sys, ssl, sqlite3, ctypes; print(sys.version.split()[0], 6 * 7)"

THEIR_RUNTIME = """package main

import (
	"fmt"
	"os"

	"example.com/compat/data"
	"github.com/kluctl/go-embed-python/embed_util"
	"github.com/kluctl/go-embed-python/python"
)

func main() {
	files, err := embed_util.NewEmbeddedFilesWithTmpDir(data.Data, os.Args[1], true)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ep := python.NewPython(python.WithPythonHome(files.GetExtractedPath()))
	cmd, err := ep.PythonCmd("-c", os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		os.Exit(1)
	}
}
"""

OUR_RUNTIME = """package main

import (
	"context"
	"fmt"
	"os"

	"example.com/compat/data"
	"pyembed.invalid/runtime/python"
)

func main() {
	cache, line := python.WithCacheDir(os.Args[1]), python.WithPythonLine("3.14")
	ep, err := python.Open(context.Background(), data.Data, cache, line)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cmd, err := ep.PythonCmd("-c", os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		os.Exit(1)
	}
}
"""


def module(folder: Path, main: str) -> Path:
    """Write a module that knows both runtimes; data is put in by the test."""
    folder.mkdir()
    (folder / "go.mod").write_text(
        f"module example.com/compat\n\ngo 1.26\n\nrequire {peer.MODULE} {peer.VERSIONS[PEER_PYTHON]}\n\n"
        "require pyembed.invalid/runtime v0.0.0\n\n"
        f"replace pyembed.invalid/runtime => {(ROOT / 'runtime').as_posix()}\n",
        encoding="utf-8",
    )
    (folder / "main.go").write_text(main, encoding="utf-8")
    return folder


def said(go: Go, folder: Path, where: Path) -> str:
    """Build a module and return what Python said from it."""
    here = go.at(folder)
    here("mod", "tidy")
    here("build", "-o", "compat.exe", ".")
    done = subprocess.run(
        [folder / "compat.exe", str(where), SAYS], env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_their_runtime_runs_our_bundle(tmp_path: Path, go: Go, peer_out: Path) -> None:
    """go-embed-python's embed_util extracts our gzip bundle, and Python runs from it."""
    folder = module(tmp_path / "m", THEIR_RUNTIME)
    shutil.copytree(peer_out, folder / "data")
    assert said(go, folder, tmp_path / "extracted") == f"{PEER_PYTHON} 42\n"


def test_our_runtime_runs_their_bundle(tmp_path: Path, go: Go, peer_module: Path) -> None:
    """Our runtime extracts go-embed-python's linux-amd64 data, and Python runs from it."""
    folder = module(tmp_path / "m", OUR_RUNTIME)
    data = peer_module / "python" / "internal" / "data"
    shutil.copytree(data / "linux-amd64", folder / "data" / "linux-amd64", copy_function=shutil.copyfile)
    shutil.copyfile(data / "embed_linux_amd64.go", folder / "data" / "embed_linux_amd64.go")
    for path in [folder / "data", *(folder / "data").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    (tmp_path / "cache").mkdir(mode=0o700)
    assert said(go, folder, tmp_path / "cache") == f"{PEER_PYTHON} 42\n"


@pytest.mark.parametrize("codec", ["gzip", "zstd", "none"])
def test_our_runtime_runs_our_bundle(tmp_path: Path, go: Go, peer_mirror: str, codec: str) -> None:
    """Our runtime reads all our codecs, chunks included."""
    from peer_fixtures import generate  # noqa: PLC0415 - for this test alone

    folder = module(tmp_path / "m", OUR_RUNTIME)
    level = ("--level", "3") if codec == "zstd" else ()
    generate(folder / "data", peer_mirror, tmp_path / "c", "--codec", codec, *level, platforms=["linux/amd64"])
    (tmp_path / "cache").mkdir(mode=0o700)
    assert said(go, folder, tmp_path / "cache") == f"{PEER_PYTHON} 42\n"
