"""Checks every payload byte of a bundle against its manifest."""

import hashlib
import io
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pyembed_gen import payload
from pyembed_gen.emit import OWN_FILES, read_bundle
from pyembed_gen.errors import ArchiveError, UsageError
from pyembed_gen.manifest import FILE_NAME, Entry, Manifest

__all__ = ["Difference", "bundles", "verify"]

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the manifest says: the path below the bundle's folder, and what is wrong."""

    path: str
    problem: str


def bundles(directory: Path) -> tuple[Path, ...]:
    """Return the bundles in a folder: itself, or those directly below it, or in its ``py3.*`` folders.

    Raises UsageError if there is none.
    """
    if (directory / FILE_NAME).is_file():
        return (directory,)
    found = sorted(path.parent for pattern in ("*", "py3.*/*") for path in directory.glob(f"{pattern}/{FILE_NAME}"))
    if not found:
        raise UsageError(f"{directory} holds no bundle", hint="name the folder that pyembed-gen wrote with --out")
    return tuple(found)


def verify(directory: Path) -> tuple[Manifest, tuple[Difference, ...]]:
    """Read all of a bundle and return its manifest and what differs from it.

    Raises ArchiveError if the manifest itself cannot be read.
    """
    manifest = read_bundle(directory)
    return manifest, tuple(_differences(manifest, dict(_present(directory))))


def _differences(manifest: Manifest, present: Mapping[str, Path]) -> Iterator[Difference]:
    expected = {FILE_NAME}
    for entry in (*manifest.files, *map(_own_entry, OWN_FILES)):
        name = entry.payload(manifest.codec)
        expected.add(name)
        if name not in present:
            yield Difference(name, "is missing")
        elif problem := _payload_problem(present[name], entry, manifest.codec):
            yield Difference(name, problem)
    for name in sorted(present.keys() - expected):
        yield Difference(name, "is not in the manifest, but would be embedded")


def _own_entry(name: str) -> Entry:
    content = OWN_FILES[name]
    return Entry(name, "file", len(content), sha256=hashlib.sha256(content).hexdigest(), stored=len(content))


def _payload_problem(path: Path, entry: Entry, codec: str) -> str:
    """Return what is wrong with a payload; nothing that a link points to is read."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file, which Go refuses to embed"
        if status.st_size != entry.stored:
            return f"has {status.st_size} bytes, not {entry.stored}"
        with path.open("rb") as file:
            return _content_problem(file, entry, codec)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ArchiveError as error:
        return str(error.args[0])


def _content_problem(file: BinaryIO, entry: Entry, codec: str) -> str:
    blocks = payload.inflate(file, codec) if entry.compressed else iter(partial(file.read, _BLOCK), b"")
    if _measure(blocks, entry.size) != (entry.size, entry.sha256):
        return "has another content"
    file.seek(0)
    if not all(_is_member(file.read(stored), raw) for raw, stored in entry.chunks):
        return "has chunks that are not where the manifest says"
    return ""


def _is_member(content: bytes, raw: int) -> bool:
    """Whether a part of a payload can be inflated by itself, as readers do side by side."""
    try:
        return _measure(payload.inflate(io.BytesIO(content), "gzip"), raw)[0] == raw
    except ArchiveError:
        return False


def _measure(blocks: Iterable[bytes], limit: int) -> tuple[int, str]:
    """Return the size and sha256 of a content; of one above the limit only so much that this is seen."""
    size, digest = 0, hashlib.sha256()
    for block in blocks:
        digest.update(block)
        size += len(block)
        if size > limit:
            break
    return size, digest.hexdigest()


def _present(directory: Path) -> Iterator[tuple[str, Path]]:
    for path in directory.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(directory).as_posix(), path
