"""--source host with the interpreters that developers have, besides the one that runs the tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bundle
from installing import install

SAYS = "import sys, sqlite3, ctypes, zlib, json; print(json.dumps([sys.prefix, sys.version_info[:2]]))"


def package(wheel: Path, python: Path, folder: Path) -> Path:
    """Run the generator with an interpreter, packaging that interpreter, and return the extracted bundle."""
    install(wheel, python, folder / "site")
    done = subprocess.run(
        [python, "-m", "pyembed_gen", "--source", "host", "--out", folder / "o", "--json"],
        env={**os.environ, "PYTHONPATH": str(folder / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)["bundles"]
    assert document["portable"] is False
    return bundle.extract(Path(document["directory"]), folder / "t")


def says(tree: Path, *, hide: str) -> tuple[str, list[int]]:
    """Run the extracted interpreter with the original's folder covered by an empty file system."""
    script = f'mount -t tmpfs none "{hide}" && PATH= exec "$@"'
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    done = subprocess.run(
        [*namespace, "/bin/sh", "-c", script, "sh", str(bundle.interpreter(tree)), "-I", "-c", SAYS],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    prefix, version = json.loads(done.stdout)
    return prefix, version


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's system interpreter")
def test_system_python_is_a_host(tmp_path: Path, wheel: Path) -> None:
    """/usr/bin/python3 becomes a bundle, files behind links to /etc too, and runs without /usr/lib/python3.x."""
    python = Path("/usr/bin/python3")
    asked = [python, "-c", "import os, sys; print(os.path.dirname(os.__file__)); sys.exit(sys.version_info < (3, 11))"]
    known = subprocess.run(asked, capture_output=True, text=True, check=False) if python.exists() else None
    if known is None or known.returncode != 0:
        pytest.skip("the system has no Python 3.11 or newer")
    stdlib = Path(known.stdout.strip())
    tree = package(wheel, python, tmp_path)
    prefix, _ = says(tree, hide=str(stdlib))
    assert Path(prefix) == tree
    links = [path for path in stdlib.rglob("*") if path.is_symlink() and "dist-packages" not in path.parts]
    for link in links:
        copy = tree / "lib" / stdlib.name / link.relative_to(stdlib)
        if copy.exists():
            assert copy.resolve().is_relative_to(tree)


@pytest.mark.peer
@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="runs a linux/amd64 interpreter")
def test_pbs_python_is_a_host(tmp_path: Path, peer_out: Path, wheel: Path) -> None:
    """A PBS interpreter packages itself, with Python 3.14's own zstd module reading and writing."""
    original = bundle.extract(peer_out / "linux-amd64", tmp_path / "original")
    tree = package(wheel, bundle.interpreter(original), tmp_path)
    prefix, version = says(tree, hide=str(original))
    assert (Path(prefix), version) == (tree, [3, 14])
