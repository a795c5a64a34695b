"""--source host: the interpreter that runs the generator becomes a bundle that runs without its original."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import bundle
from pyembed_gen import binary, emit, host
from setting import Run

LINE = f"{sys.version_info.major}.{sys.version_info.minor}"
WORKS = """
import sys, json, ssl, sqlite3, ctypes, subprocess, zlib, hashlib, encodings.idna
child = subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True).stdout
print(json.dumps([sys.prefix, sys.version.split()[0], child.strip(), sys.path]))
"""


def hidden_run(program: Path, code: str) -> str:
    """Run Python code while the original installation is covered by an empty file system (Linux)."""
    base = Path(sys.base_prefix)
    cover = Path(os.__file__).resolve().parent if base in (Path("/usr"), Path("/usr/local")) else base
    script = f'mount -t tmpfs none "{cover}" && PATH= exec "$@"'
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    done = subprocess.run(
        [*namespace, "/bin/sh", "-c", script, "sh", str(program), "-I", "-c", code],
        env={"PATH": os.defpath, "HOME": str(program.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_host_bundle_runs_without_its_original(run: Run, tmp_path: Path) -> None:
    """The packaged interpreter runs where its original is hidden, libpython and all, and knows its own prefix."""
    done = run("--source", "host", "--out", "o", "--json")
    assert done.code == 0, done.err
    (document,) = json.loads(done.out)["bundles"]
    assert document["portable"] is False
    assert document["python"] == platform.python_version().rstrip("+")
    tree = bundle.extract(Path(document["directory"]), tmp_path / "tree")
    program = bundle.interpreter(tree)
    if sys.platform == "linux":
        said = hidden_run(program, WORKS)
    else:
        said = subprocess.run([program, "-I", "-c", WORKS], capture_output=True, text=True, check=True).stdout
    prefix, version, child, path = json.loads(said)
    assert Path(prefix) == tree
    assert version == platform.python_version()
    assert child == "42"
    assert all(Path(item).is_relative_to(tree) for item in path)


def test_host_bundle_says_that_it_is_not_portable(run: Run) -> None:
    """Its manifest and the printed line both say that it is for this machine only."""
    done = run("--source", "host", "--out", "o")
    assert done.code == 0
    assert done.out.rstrip().endswith("for this machine only")
    (directory,) = [path for path in Path("o").iterdir() if path.is_dir()]
    origin = emit.read_bundle(directory).origin
    assert (origin.portable, origin.flavour, origin.pbs, origin.archive) == (False, "host", "", "")
    assert ", for this machine only" in run("inspect", "o").out


def test_second_host_run_is_up_to_date(run: Run) -> None:
    """An unchanged interpreter makes no new bundle."""
    assert run("--source", "host", "--out", "o").code == 0
    assert "up to date" in run("--source", "host", "--out", "o").out


def test_host_keeps_licence_and_leaves_packages(run: Run) -> None:
    """The licence of CPython is there; site-packages, tests and caches are not."""
    assert run("--source", "host", "--out", "o").code == 0
    (directory,) = [path for path in Path("o").iterdir() if path.is_dir()]
    names = {entry.name for entry in emit.read_bundle(directory).files}
    assert {"licenses/LICENSE.cpython.txt", "licenses/licenses.json"} <= names
    assert not [name for name in names if "site-packages" in name or "__pycache__" in name or "/test/" in name]


def test_host_agrees_with_what_is_asked_for(run: Run) -> None:
    """--python and --only-platforms may name what the host is, and are refused if they name something else."""
    here = "linux/amd64" if platform.machine() == "x86_64" and sys.platform == "linux" else ""
    assert (
        run("--source", "host", "--out", "o", "--python", LINE, *(["--only-platforms", here] if here else [])).code == 0
    )
    done = run("--source", "host", "--out", "o", "--python", "3.99")
    assert done.code == 2
    assert "and --python asks for 3.99" in done.err
    done = run("--source", "host", "--out", "o", "--only-platforms", "windows/386")
    assert done.code == 2
    assert "and --only-platforms asks for windows/386" in done.err
    done = run("--source", "host", "--out", "o", "--only-platforms", "windows/386,linux/amd64")
    assert done.code == 2
    assert "is one installation" in done.err


def test_real_interpreter_is_read() -> None:
    """The base interpreter is found, is native, and is not the virtual environment's link."""
    facts = binary.read(host.interpreter().read_bytes())
    assert facts is not None
    assert facts.kind in ("program", "library")
    assert not host.interpreter().is_symlink()
