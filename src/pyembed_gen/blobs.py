"""A run's store of file contents, by sha256.

Contents of equal files on several platforms are stored once, and no name from an archive ever
becomes a path on disk.
"""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pyembed_gen import binary
from pyembed_gen.writing import CACHE, writing

__all__ = ["Blob", "Blobs", "Readable"]

_BLOCK = 1 << 20
_HEAD = 64  # enough for every magic number that is asked about


class Readable(Protocol):
    """Whatever content is read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end; ArchiveError if they cannot be had."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored content: its sha256 (hex), size in bytes and first bytes."""

    sha256: str
    size: int
    head: bytes

    @property
    def native(self) -> bool:
        """Whether it begins like an ELF, Mach-O or PE file."""
        return binary.looks_executable(self.head) and not self.head.startswith(b"#!")


@dataclass(frozen=True, slots=True)
class Blobs:
    """Contents below ``root``, a folder of this run alone."""

    root: Path

    def put(self, content: Readable) -> Blob:
        """Store what is left of ``content``; WriteError if the disk does not take it."""
        first = _read_block(content)
        if len(first) < _BLOCK:
            return self.put_bytes(first)
        return self._put_stream(first, content)

    def put_bytes(self, content: bytes) -> Blob:
        """Store a content that is in memory."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.path(sha256)
        if not path.exists():
            with writing(self.root, option=CACHE):
                partial = self._partial()
                partial.write_bytes(content)
                partial.replace(path)
        return Blob(sha256, len(content), content[:_HEAD])

    def path(self, sha256: str) -> Path:
        """Return where the content of that sum lies."""
        return self.root / sha256

    def _put_stream(self, first: bytes, content: Readable) -> Blob:
        digest = hashlib.sha256()
        size = 0
        block = first
        with writing(self.root, option=CACHE):
            partial = self._partial()
            with partial.open("wb") as file:
                while block:
                    digest.update(block)
                    size += len(block)
                    file.write(block)
                    block = content.read(_BLOCK)
            path = self.path(digest.hexdigest())
            if path.exists():
                partial.unlink()  # Windows replaces no file that is being read
            else:
                partial.replace(path)
        return Blob(digest.hexdigest(), size, first[:_HEAD])

    def _partial(self) -> Path:
        return self.root / f"{threading.get_ident()}.part"


def _read_block(content: Readable) -> bytes:
    parts: list[bytes] = []
    missing = _BLOCK
    while missing and (part := content.read(missing)):
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
