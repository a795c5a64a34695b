"""The peer, go-embed-python: where its Go module is and what its bundles hold.

Its module carries real python-build-standalone binaries for five platforms, which makes it both
what this project is compared with and the source of real input (see mirror.py).
"""

import gzip
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "MODULE",
    "VERSIONS",
    "BundleFile",
    "bundle_files",
    "data_dir",
    "peer_module",
    "python_release",
]

MODULE = "github.com/kluctl/go-embed-python"
VERSIONS = {
    "3.14.6": "v0.0.0-3.14.6-20260610-1",
    "3.13.1": "v0.0.0-3.13.1-20241219-1",
}

_DIRECTORY = 1 << 31  # Go's fs.ModeDir
_SYMLINK = 1 << 27  # Go's fs.ModeSymlink


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file or symlink of a peer's bundle, uncompressed.

    ``name`` uses ``/``. ``mode`` holds the permission bits as the peer recorded them (0664 and 0775
    on Unix, 0666 and 0777 on Windows). ``link`` is the target of a symlink, whose ``content`` is empty.
    """

    name: str
    content: bytes
    mode: int
    link: str = ""


def peer_module(version: str) -> Path:
    """Download the peer's module at a module version and return its directory in the module cache.

    The directory is read-only. Raises RuntimeError with what the Go tool said if that fails.
    """
    with tempfile.TemporaryDirectory(prefix="peer-") as directory:
        Path(directory, "go.mod").write_text("module peer.invalid/bench\n\ngo 1.22\n", encoding="utf-8")
        answer = _go_json(["mod", "download", "-json", f"{MODULE}@{version}"], Path(directory))
    return Path(answer["Dir"])


def data_dir(module: Path, platform: str) -> Path:
    """Return the directory with the bundle for a platform such as ``linux/amd64``."""
    return module / "python" / "internal" / "data" / platform.replace("/", "-")


def python_release(module: Path) -> tuple[str, str]:
    """Return the Python version and the python-build-standalone tag that the module carries."""
    path = module / "python" / "internal" / "data" / "PYTHON_VERSION"
    lines = path.read_text(encoding="utf-8").split()
    values = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    return values["PYTHON_VERSION"], values["PYTHON_STANDALONE_VERSION"]


def bundle_files(data_dir: Path) -> Iterator[BundleFile]:
    """Yield the files and symlinks that ``files.json`` in ``data_dir`` lists, in its order.

    Directories are left out: python-build-standalone archives have no entries for them.
    """
    manifest: dict[str, Any] = json.loads((data_dir / "files.json").read_text(encoding="utf-8"))
    for entry in manifest["files"]:
        if not entry["perm"] & _DIRECTORY:
            yield _bundle_file(data_dir, entry)


def _bundle_file(data_dir: Path, entry: dict[str, Any]) -> BundleFile:
    name = entry["name"].replace("\\", "/")
    if entry["perm"] & _SYMLINK:
        return BundleFile(name, b"", 0o777, link=entry["symlink"].replace("\\", "/"))
    return BundleFile(name, _content(data_dir, name, entry), entry["perm"] & 0o777)


def _content(data_dir: Path, name: str, entry: dict[str, Any]) -> bytes:
    if entry.get("compressed"):
        return gzip.decompress((data_dir / f"{name}.gz").read_bytes())
    return (data_dir / name).read_bytes()


def _go_json(arguments: list[str], directory: Path) -> dict[str, Any]:
    go = shutil.which("go")
    if go is None:
        raise RuntimeError("go is not on PATH; the peer's module is downloaded with it")
    done = subprocess.run(
        [go, *arguments],
        cwd=directory,
        env={**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"go {' '.join(arguments)}: {(done.stdout + done.stderr).strip()}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
