"""What end-to-end tests share: the peer's module with its real CPython, a mirror made from it, and Go."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import mirror
import peer

PEER_TAG = "20260610"
PEER_PYTHON = "3.14.6"
PEER_PLATFORMS = ("linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64")


@dataclass(frozen=True, slots=True)
class Go:
    """The Go tool in one module's folder, with an environment in which nothing of this machine's settings counts."""

    folder: Path
    environ: Mapping[str, str]

    def __call__(self, *arguments: str, **environ: str) -> str:
        """Run ``go`` and return its standard output; a failure shows standard error."""
        done = subprocess.run(
            ["go", *arguments],
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"go {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def at(self, folder: Path) -> "Go":
        """Return the same tool in another folder."""
        return Go(folder, self.environ)


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Go:
    """Return the Go tool; it is needed, so a machine without it fails."""
    assert shutil.which("go"), "install Go 1.24 or newer"
    environ = {
        **os.environ,
        "GOWORK": "off",
        "GOFLAGS": "-mod=mod",
        "CGO_ENABLED": "0",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    return Go(tmp_path_factory.mktemp("go"), environ)


@pytest.fixture(scope="session")
def peer_module() -> Path:
    """Return the folder of go-embed-python 3.14.6 in the module cache."""
    return peer.peer_module(peer.VERSIONS[PEER_PYTHON])


@pytest.fixture(scope="session")
def peer_mirror(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the file: URL of a mirror with PBS-shaped archives of real CPython 3.14.6 for five platforms."""
    folder = tmp_path_factory.mktemp("peer-mirror")
    mirror.build(folder, level=3)
    return folder.as_uri()


@pytest.fixture(scope="session")
def peer_out(tmp_path_factory: pytest.TempPathFactory, peer_mirror: str) -> Path:
    """Return the output of the whole pipeline on the five platforms."""
    folder = tmp_path_factory.mktemp("peer-out")
    generate(folder / "data", peer_mirror, folder / "cache")
    return folder / "data"


def generate(out: Path, mirror_url: str, cache: Path, *more: str, platforms: Sequence[str] = PEER_PLATFORMS) -> None:
    """Run the generator on the peer's mirror."""
    command = [sys.executable, "-m", "pyembed_gen", "--mirror", mirror_url, "--pbs", PEER_TAG, "--python", PEER_PYTHON]
    command += ["--only-platforms", ",".join(platforms), "--out", str(out), "--cache-dir", str(cache), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
