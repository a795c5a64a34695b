"""Go modules outside the repository: go generate, go build for every platform, and what the binaries do."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from modules import fresh_module, start
from peer_fixtures import Go
from setting import Done, Run


@pytest.fixture(scope="module")
def host_program(tmp_path_factory: pytest.TempPathFactory, go: Go) -> Path:
    """Return a program that `go generate && go build` made in a fresh module with this machine's interpreter."""
    module = fresh_module(tmp_path_factory.mktemp("module") / "fresh", "pyembed-gen --source host")
    here = go.at(module)
    here("generate", PYEMBED_CACHE=str(module.parent / "cache"))
    here("build", "-o", "fresh.exe", ".")
    return module / "fresh.exe"


def test_go_generate_and_go_build_give_one_binary(host_program: Path, tmp_path: Path) -> None:
    """The binary runs where there is no Python: it says which one it has, twice, from the same folder."""
    first = start(host_program, cache=tmp_path / "c")
    second = start(host_program, cache=tmp_path / "c")
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("Python 3.")
    assert second == first
    assert len([path for path in (tmp_path / "c").iterdir() if path.is_dir()]) == 1


def test_arguments_streams_and_exit_code_pass_through(host_program: Path, tmp_path: Path) -> None:
    """A script gets its arguments, and its output and exit code come back."""
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(sys.argv[1:])\nprint('bad', file=sys.stderr)\nsys.exit(7)\n", encoding="utf-8")
    done = start(host_program, str(script), "ä b", "--c", cache=tmp_path / "c", environ={"PYTHONUTF8": "1"})
    assert done == Done(7, "['ä b', '--c']\n", "bad\n")


def test_vet_and_list_see_one_package_of_data(host_program: Path, go: Go) -> None:
    """The payloads do not look like Go packages: the module has its main package and data, and both vet cleanly."""
    here = go.at(host_program.parent)
    assert here("list", "./...").split() == ["example.com/fresh", "example.com/fresh/data"]
    here("vet", "./...")


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory, tiny_mirror: str, go: Go) -> Path:
    """Return a module with bundles for all default platforms."""
    module = fresh_module(tmp_path_factory.mktemp("everywhere") / "fresh")
    command = ["pyembed-gen", "--mirror", tiny_mirror, "--pbs", "20990101", "--out", "data", "-q"]
    subprocess.run(command, cwd=module, check=True, env={**go.environ, "PYEMBED_CACHE": str(module.parent / "cache")})
    return module


@pytest.mark.parametrize(
    "target",
    [
        *("linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"),
        *("freebsd/amd64", "linux/riscv64", "windows/386"),
    ],
)
def test_stubs_compile_everywhere(everywhere: Path, go: Go, target: str) -> None:
    """go build succeeds for each embedded platform, and for others too; each binary holds its own payload alone."""
    goos, goarch = target.split("/")
    binary = everywhere / f"out-{goos}-{goarch}"
    go.at(everywhere)("build", "-o", str(binary), ".", GOOS=goos, GOARCH=goarch)
    content = binary.read_bytes()
    triples = {
        "linux/amd64": b"x86_64-unknown-linux-gnu",
        "linux/arm64": b"aarch64-unknown-linux-gnu",
        "darwin/amd64": b"x86_64-apple-darwin",
        "darwin/arm64": b"aarch64-apple-darwin",
        "windows/amd64": b"x86_64-pc-windows-msvc",
        "windows/arm64": b"aarch64-pc-windows-msvc",
    }
    found = {platform for platform, triple in triples.items() if b'"triple": "' + triple + b'"' in content}
    assert found == ({target} & triples.keys())


def test_platform_without_bundle_says_so_at_run_time(tmp_path: Path, tiny: Sequence[str], run: Run, go: Go) -> None:
    """A program for a platform that nothing was generated for compiles, and says what is missing and how to get it."""
    module = fresh_module(tmp_path / "fresh")
    assert run(*tiny, "--only-platforms", "windows/arm64", "--out", module / "data").code == 0
    here = go.at(module)
    here("build", "-o", "fresh.exe", ".")
    platform = "/".join(here("env", "GOOS", "GOARCH").split())
    done = start(module / "fresh.exe", cache=tmp_path / "c")
    assert done.code == 1
    assert f"no Python is embedded for {platform}" in done.err
    assert f"pyembed-gen --only-platforms {platform}" in done.err


def test_only_platforms_in_a_fresh_module(tmp_path: Path, tiny: Sequence[str], go: Go) -> None:
    """`pyembed-gen --only-platforms darwin/arm64` from go generate makes ./data of the package that asked."""
    module = fresh_module(tmp_path / "fresh", f"pyembed-gen {' '.join(tiny)} --only-platforms darwin/arm64")
    go.at(module)("generate", PYEMBED_CACHE=os.environ["PYEMBED_CACHE"])
    assert sorted(path.name for path in (module / "data").iterdir()) == [
        *("PYTHON_VERSION", "darwin-arm64", "embed_darwin_arm64.go", "embed_other.go"),
    ]
    go.at(module)("build", "-o", "out", ".", GOOS="darwin", GOARCH="arm64")


def test_demo_shows_the_whole_thing(run: Run) -> None:
    """`pyembed-gen demo` prints what Python said, the size of the binary and both start times."""
    done = run("demo", "--source", "host")
    assert done.code == 0, done.err
    assert done.out.startswith("Python 3.")
    for words in ("binary", "first start", "second start"):
        assert words in done.out


def test_demo_falls_back_to_this_machine_and_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PBS cannot be reached the demo says so in one line, takes this machine's interpreter, and works."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    done = run("demo", "--json")
    assert done.code == 0, done.err
    assert '"portable": false' in done.out
    notes = [line for line in done.err.splitlines() if "taking the interpreter of this machine, as PBS" in line]
    assert len(notes) == 1


def test_demo_does_not_fall_back_from_a_mirror(run: Run, tmp_path: Path) -> None:
    """A mirror that was named and fails is an error, not a reason to show something else."""
    (tmp_path / "empty").mkdir()
    assert run("demo", "--mirror", (tmp_path / "empty").as_uri()).code == 3


@pytest.mark.peer
def test_demo_takes_a_release_from_a_mirror(run: Run, peer_mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --mirror and --pbs the demo shows that release's CPython, which is portable."""
    monkeypatch.setenv("PYEMBED_MIRROR", peer_mirror)
    done = run("demo", "--pbs", "20260610", "--json")
    assert done.code == 0, done.err
    assert '"python": "3.14.6"' in done.out
    assert '"portable": true' in done.out


def test_demo_without_go_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go on the PATH the demo is exit 2 with what to install."""
    monkeypatch.setenv("PATH", "")
    done = run("demo")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "pyembed-gen: error: looking for go: it is not on the PATH; install Go 1.24 or newer from go.dev\n"
    )


PACK = """package main

import "pyembed.invalid/runtime/embed_util"

func main() {
	if err := embed_util.CopyForEmbed("greet/data", "lib"); err != nil {
		panic(err)
	}
	if err := embed_util.WriteEmbedGoFile("greet/data", "", ""); err != nil {
		panic(err)
	}
}
"""


def test_own_python_code_travels_along(host_program: Path, tmp_path: Path, go: Go) -> None:
    """As the README shows: a folder of Python files is packed by Go, embedded, extracted and importable."""
    module = fresh_module(tmp_path / "fresh")
    shutil.copytree(host_program.parent / "data", module / "data")
    (module / "lib" / "greet").mkdir(parents=True)
    (module / "lib" / "greet" / "__init__.py").write_text("def hello():\n    return 'hello from greet'\n")
    (module / "pack").mkdir()
    (module / "pack" / "main.go").write_text(PACK)
    main = (module / "main.go").read_text()
    main = main.replace(
        '\t"example.com/fresh/data"\n',
        '\t"example.com/fresh/data"\n\tgreet "example.com/fresh/greet/data"\n\t"pyembed.invalid/runtime/embed_util"\n',
    ).replace(
        "\tif len(args) == 0 {",
        '\tlibs, err := embed_util.NewEmbeddedFiles(greet.Data, "greet")\n\tif err != nil {\n\t\treturn 1, err\n\t}\n'
        "\tep.AddPythonPath(libs.GetExtractedPath())\n\tif len(args) == 0 {",
    )
    (module / "main.go").write_text(main)
    here = go.at(module)
    here("run", "./pack")
    here("build", "-o", "fresh.exe", ".")
    done = start(module / "fresh.exe", "-c", "import greet; print(greet.hello())", cache=tmp_path / "c")
    assert done == Done(0, "hello from greet\n", "")
