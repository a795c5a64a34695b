"""What was written for go-embed-python builds and passes on our runtime with its import paths changed, no more."""

import json
import re
import shutil
from pathlib import Path

import pytest

import peer
from peer_fixtures import Go, generate
from setting import ROOT

pytestmark = pytest.mark.peer

MODULE = "pyembed.invalid/runtime"

# The name of a function, a method of an exported type, or a type, each exported.
EXPORTED = r"^(?:func(?: \(\w+ \*?[A-Z]\w*\))?|type) ([A-Z]\w*)"

# Uses every function, type and method that go-embed-python's packages python and embed_util export, each with its type.
SURFACE = """package main

import (
	"io/fs"
	"os/exec"

	"github.com/kluctl/go-embed-python/embed_util"
	"github.com/kluctl/go-embed-python/python"
)

var (
	_ func(string) (*python.EmbeddedPython, error)            = python.NewEmbeddedPython
	_ func(string, bool) (*python.EmbeddedPython, error)      = python.NewEmbeddedPythonWithTmpDir
	_ func(...python.PythonOpt) python.Python                 = python.NewPython
	_ func(string) python.PythonOpt                           = python.WithPythonHome
	_ func(*python.EmbeddedPython) error                      = (*python.EmbeddedPython).Cleanup
	_ func(*python.EmbeddedPython) string                     = (*python.EmbeddedPython).GetExtractedPath
	_ func(fs.FS, string) (*embed_util.EmbeddedFiles, error)  = embed_util.NewEmbeddedFiles
	_ func(*embed_util.EmbeddedFiles) error                   = (*embed_util.EmbeddedFiles).Cleanup
	_ func(*embed_util.EmbeddedFiles) string                  = (*embed_util.EmbeddedFiles).GetExtractedPath
	_ func(string) error                                      = embed_util.BuildAndWriteFilesList
	_ func(out string, dir string) error                      = embed_util.CopyForEmbed
	_ func(dir string, goOs string, goArch string) error      = embed_util.WriteEmbedGoFile

	_ func(fs.FS, string, bool) (*embed_util.EmbeddedFiles, error) = embed_util.NewEmbeddedFilesWithTmpDir
)

// everything is what the interface asks for: each of the two can be given where the other is wanted.
type everything interface {
	GetExeName() string
	GetExePath() (string, error)
	AddPythonPath(p string)
	PythonCmd(args ...string) (*exec.Cmd, error)
	PythonCmd2(args []string) (*exec.Cmd, error)
}

var (
	_ everything    = python.Python(nil)
	_ python.Python = everything(nil)
	_ python.Python = (*python.EmbeddedPython)(nil)
	_ python.Python = python.EmbeddedPython{}.Python
)

func main() {}
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, peer_mirror: str) -> Path:
    """Return the runtime as a release has it: with a CPython of its own, and without our tests."""
    folder = tmp_path_factory.mktemp("release")
    runtime = folder / "runtime"
    shutil.copytree(ROOT / "runtime", runtime, ignore=shutil.ignore_patterns("*_test.go"))
    data = runtime / "python" / "internal" / "data"
    shutil.rmtree(data)
    generate(data, peer_mirror, folder / "cache", "--package", "data", "--codec", "none", platforms=["linux/amd64"])
    return runtime


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return an empty folder to extract to."""
    folder = tmp_path / "extracted"
    folder.mkdir(mode=0o700)
    return folder


def take(source: Path, target: Path) -> str:
    """Copy a Go file of the peer's, change its import paths and nothing else, and return its text."""
    text = source.read_text(encoding="utf-8").replace(f'"{peer.MODULE}/', f'"{MODULE}/')
    target.write_text(text, encoding="utf-8")
    return text


def trees(cache: Path) -> list[str]:
    """Return the names of the extracted trees."""
    return [path.name for path in cache.iterdir() if path.is_dir()]


def test_their_tests_pass(tmp_path: Path, release: Path, peer_module: Path, go: Go, cache: Path) -> None:
    """All tests of go-embed-python's package python pass in ours, none is skipped, and they clean up after themselves.

    It has no tests elsewhere: not of embed_util, and not of pip. What they need of its internal package comes along.
    """
    copy = tmp_path / "runtime"
    shutil.copytree(release, copy)
    tests = sorted(path.relative_to(peer_module) for path in peer_module.rglob("*_test.go"))
    assert {path.parent.as_posix() for path in tests} == {"python"}
    texts = [take(peer_module / path, copy / path) for path in tests]
    names = sorted(name for text in texts for name in re.findall(r"^func (Test\w*)\(", text, re.MULTILINE))
    assert set(names) >= {"TestEmbeddedPython", "TestPrintSystemInfo", "TestExternalPython"}
    take(peer_module / "internal" / "fs.go", copy / "internal" / "fs.go")

    here = go.at(copy)
    (testify,) = re.findall(r"github\.com/stretchr/testify (v\S+)", (peer_module / "go.mod").read_text("utf-8"))
    here("get", f"github.com/stretchr/testify@{testify}")
    lines = here("test", "-count=1", "-json", "./python/", PYEMBED_CACHE_DIR=str(cache)).splitlines()
    results = [event for event in map(json.loads, lines) if event["Action"] in {"pass", "fail", "skip"}]
    assert sorted((event.get("Test", ""), event["Action"]) for event in results) == [
        *(("", "pass"), *((name, "pass") for name in names)),
    ]
    assert trees(cache) == []


def test_their_example_runs(tmp_path: Path, release: Path, peer_module: Path, go: Go, cache: Path) -> None:
    """go-embed-python's example is a program that we build and that says hello."""
    here = go.at(write_module(tmp_path / "m", release))
    take(peer_module / "example" / "main.go", here.folder / "main.go")
    here("mod", "tidy")
    assert here("run", ".", PYEMBED_CACHE_DIR=str(cache)) == "hello\n"
    (tree,) = trees(cache)
    assert tree.startswith("python-example-")


def test_what_they_export_has_the_same_types(tmp_path: Path, peer_module: Path, go: Go) -> None:
    """A program that uses all that the peer exports compiles with the peer, and with us after a change of imports."""
    for package in ("python", "embed_util"):
        sources = [path for path in (peer_module / package).glob("*.go") if not path.name.endswith("_test.go")]
        exported = {name for path in sources for name in re.findall(EXPORTED, path.read_text("utf-8"), re.MULTILINE)}
        assert {name for name in exported if not re.search(rf"\b{name}\b", SURFACE)} == set(), package

    theirs = write_module(tmp_path / "theirs", None)
    (theirs / "main.go").write_text(SURFACE, encoding="utf-8")
    ours = write_module(tmp_path / "ours", ROOT / "runtime")
    take(theirs / "main.go", ours / "main.go")
    for folder in (theirs, ours):
        here = go.at(folder)
        here("mod", "tidy")
        here("vet", ".")


def write_module(folder: Path, runtime: Path | None) -> Path:
    """Write a module that requires a copy of our runtime, or go-embed-python if there is none."""
    folder.mkdir()
    needs = f"require {peer.MODULE} {peer.VERSIONS['3.14.6']}\n"
    if runtime:
        needs = f"require {MODULE} v0.0.0\n\nreplace {MODULE} => {runtime.as_posix()}\n"
    (folder / "go.mod").write_text(f"module example.com/compat\n\ngo 1.26\n\n{needs}", encoding="utf-8")
    return folder
