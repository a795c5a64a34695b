"""Reads bundles as the runtime does, in a few lines of Python: what a test extracts, it extracts independently."""

import gzip
import json
import os
from pathlib import Path

import pbs

_DIR, _LINK = 1 << 31, 1 << 27
_SUFFIX = {"gzip": ".gz", "zstd": ".zst", "none": ""}


def extract(bundle: Path, target: Path) -> Path:
    """Extract a bundle into a new folder and return that."""
    manifest = json.loads((bundle / "files.json").read_bytes())
    target.mkdir(parents=True)
    for entry in manifest["files"]:
        path = target / entry["name"]
        if entry["perm"] & _DIR:
            path.mkdir()
        elif entry["perm"] & _LINK:
            path.symlink_to(entry["symlink"])
        else:
            path.write_bytes(content(bundle, manifest["codec"], entry))
            path.chmod(entry["perm"] & 0o777)
    return target


def content(bundle: Path, codec: str, entry: dict[str, object]) -> bytes:
    """Return what one file of a bundle holds."""
    compressed = bool(entry.get("compressed"))
    path = entry.get("path") or f"{entry['name']}{_SUFFIX[codec] if compressed else ''}"
    stored = (bundle / str(path)).read_bytes()
    if not compressed:
        return stored
    return gzip.decompress(stored) if codec == "gzip" else pbs.zstd_decompress(stored)


def interpreter(tree: Path) -> Path:
    """Return the interpreter of an extracted bundle."""
    return tree / ("python.exe" if os.name == "nt" else "bin/python3")
