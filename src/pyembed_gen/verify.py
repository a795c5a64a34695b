"""Checks every payload byte of a bundle against its manifest."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyembed_gen import payload
from pyembed_gen.emit import OWN_FILES, read_bundle
from pyembed_gen.errors import ArchiveError, UsageError
from pyembed_gen.manifest import FILE_NAME, Entry, Manifest

__all__ = ["Difference", "bundles", "verify"]


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
    expected = {entry.payload(manifest.codec): entry for entry in manifest.files}
    present = dict(_present(directory))
    return manifest, tuple(_differences(manifest, expected, present))


def _differences(
    manifest: Manifest, expected: Mapping[str, Entry], present: Mapping[str, Path]
) -> Iterator[Difference]:
    for name, entry in expected.items():
        if name not in present:
            yield Difference(name, "is missing")
        elif problem := _payload_problem(present[name], entry, manifest.codec):
            yield Difference(name, problem)
    for name, content in OWN_FILES.items():
        if name not in present:
            yield Difference(name, "is missing")
        elif present[name].read_bytes() != content:
            yield Difference(name, "has another content")
    for name in sorted(present.keys() - expected.keys() - OWN_FILES.keys() - {FILE_NAME}):
        yield Difference(name, "is not in the manifest, but would be embedded")


def _payload_problem(path: Path, entry: Entry, codec: str) -> str:
    try:
        stored = path.stat().st_size
        if stored != entry.stored:
            return f"has {stored} bytes, not {entry.stored}"
        content = path.read_bytes()
        if entry.compressed:
            content = payload.decompress(content, codec, entry.size)
        if len(content) != entry.size or hashlib.sha256(content).hexdigest() != entry.sha256:
            return "has another content"
        return _chunk_problem(path, entry) if entry.chunks else ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ArchiveError as error:
        return str(error.args[0])


def _chunk_problem(path: Path, entry: Entry) -> str:
    """Return what is wrong with the chunks, which readers use to inflate side by side."""
    with path.open("rb") as file:
        for raw, stored in entry.chunks:
            if len(payload.decompress(file.read(stored), "gzip", raw)) != raw:
                return "has chunks that are not where the manifest says"
        return "has chunks that are not where the manifest says" if file.read(1) else ""


def _present(directory: Path) -> Iterator[tuple[str, Path]]:
    for path in directory.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(directory).as_posix(), path
