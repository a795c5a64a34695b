"""Reads PBS archives: zstd or gzip around tar, in one streaming pass, trusting nothing in them."""

import gzip
import posixpath
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pyembed_gen import tar, zstd
from pyembed_gen.blobs import Readable
from pyembed_gen.errors import ArchiveError
from pyembed_gen.members import Member
from pyembed_gen.progress import Task
from pyembed_gen.tar import Entry

__all__ = ["Limits", "members"]

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_NAME = 4096  # bytes, as PATH_MAX on Linux


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold at the most: bytes when decompressed, and members (folders included).

    Real full archives hold under 1 GB in under 20,000 members.
    """

    size: int = 8 << 30
    count: int = 200_000


def members(path: Path, task: Task, limits: Limits | None = None) -> Iterator[Member]:
    """Yield the members of an archive in their order, without folders.

    ``task`` is advanced by compressed bytes. Raises ArchiveError, as reading a content does, for damage and for
    anything that a PBS archive never has: absolute names, ``..``, links out of the archive, device nodes,
    duplicate names, or too much.
    """
    bounds = limits or Limits()
    with ExitStack() as stack:
        stream = _Stream(_decompressed(path, task, stack), bounds.size)
        yield from _members(stream, bounds)


def _decompressed(path: Path, task: Task, stack: ExitStack) -> Readable:
    try:
        raw = stack.enter_context(path.open("rb"))
        magic = raw.read(4)
        raw.seek(0)
    except OSError as error:
        raise ArchiveError(f"it cannot be read: {error.strerror}", hint="check the file") from error
    counted = cast("BinaryIO", _Counted(raw, task))
    if magic == _ZSTD_MAGIC:
        return stack.enter_context(zstd.open_reader(counted))
    if magic[:2] == _GZIP_MAGIC:
        return stack.enter_context(gzip.GzipFile(fileobj=counted, mode="rb"))
    raise ArchiveError("it is neither .tar.zst nor .tar.gz")


def _members(stream: Readable, limits: Limits) -> Iterator[Member]:
    seen: set[str] = set()
    for number, entry in enumerate(tar.entries(stream), 1):
        if number > limits.count:
            raise ArchiveError(f"it holds more than {limits.count} members")
        name = _name(entry.name)
        if entry.kind == "folder":
            continue
        if name in seen:
            raise ArchiveError(f"it holds {name!r} twice")
        seen.add(name)
        yield _member(entry, name)


def _member(entry: Entry, name: str) -> Member:
    if entry.kind == "link":
        _check_target(name, entry.target)
        return Member(name, "link", target=entry.target)
    if entry.kind == "hard":
        return Member(name, "hard", target=_name(entry.target))
    return Member(name, "file", entry.size, entry.executable, content=entry.content)


def _name(name: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts:
        raise ArchiveError(f"{name!r} leads out of the archive")
    if "\0" in name or len(name) > _MAX_NAME:
        raise ArchiveError(f"{name[:80]!r} is not a name")
    return "/".join(part for part in parts if part not in ("", "."))


def _check_target(name: str, target: str) -> None:
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if target.startswith("/") or reached.split("/")[0] == "..":
        raise ArchiveError(f"the link {name!r} leads out of the archive, to {target!r}")
    if not target or "\0" in target or len(target) > _MAX_NAME:
        raise ArchiveError(f"the link {name!r} leads to {target[:80]!r}, which is not a name")


class _Counted:
    """A file that tells a task how much of it was read."""

    def __init__(self, file: BinaryIO, task: Task) -> None:
        self._file = file
        self._task = task

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._task.advance(len(block))
        return block


class _Stream:
    """What an archive holds when decompressed: no more than ``limit`` bytes, and every failure an ArchiveError."""

    def __init__(self, inner: Readable, limit: int) -> None:
        self._inner = inner
        self._left = limit
        self._limit = limit

    def read(self, size: int, /) -> bytes:
        try:
            block = self._inner.read(size)
        except (zstd.ZstdError, zlib.error, gzip.BadGzipFile, EOFError) as error:
            raise ArchiveError(f"it is damaged: {error}") from error
        except OSError as error:
            raise ArchiveError(f"it cannot be read: {error.strerror}", hint="check the disk") from error
        self._left -= len(block)
        if self._left < 0:
            raise ArchiveError(f"it holds more than {self._limit} bytes")
        return block
