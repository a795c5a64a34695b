"""The wheel, installed where there is no checkout: the command, the shipped matrix and the demo."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from setting import ROOT, Done


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """Return `pyembed-gen` of a fresh virtual environment with the wheel in it."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    scripts = venv / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([scripts / "python", "-m", "pip", "install", "-q", str(wheel)], check=True, cwd=venv)
    return scripts / "pyembed-gen"


def call(command: Path, *arguments: str) -> Done:
    """Run the installed command."""
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def test_wheel_carries_what_it_needs(wheel: Path) -> None:
    """The matrix with its sums, the example, the runtime and the licence are in the wheel, and no bundle is."""
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("matrix.toml", "matrix.lock", "PRIMARY_PYTHON", "hello/main.go", "runtime/go.mod"):
        assert f"pyembed_gen/defaults/{name}" in names
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert "pyembed_gen/py.typed" in names
    assert not [name for name in names if "/data/linux" in name or name.endswith((".pyc", "hello/hello"))]


def test_installed_command_generates(command: Path, tiny: Sequence[str], tmp_path: Path) -> None:
    """Far from any matrix.toml the shipped one is used, and its lock."""
    assert call(command, "--version").out.split()[-1] == (ROOT / "VERSION").read_text(encoding="ascii").strip()
    done = call(command, *tiny, "--only-platforms", "linux/amd64", "--out", str(tmp_path / "o"), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["bundles"][0]["platform"] == "linux/amd64"
    planned = call(command, "--dry-run", "--json", "--offline", "--only-platforms", "linux/amd64")
    assert planned.code == 0, planned.err
    assert len(json.loads(planned.out)["bundles"][0]["sha256"]) == 64


def test_installed_demo_works(command: Path) -> None:
    """The demo builds from what the wheel carries, without a checkout."""
    done = call(command, "demo", "--source", "host", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["said"].startswith("Python 3.")
