"""Reads PBS archives: zstd or gzip around tar, in one streaming pass, trusting nothing in them."""

import gzip
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from pyembed_gen import zstd
from pyembed_gen.errors import ArchiveError
from pyembed_gen.members import Member
from pyembed_gen.progress import Task

__all__ = ["Limits", "members"]

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_HEADER = 1 << 20  # a PAX or GNU long-name header larger than this is no name
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold at the most: bytes when decompressed, and members.

    Real full archives hold under 1 GB in under 20,000 members.
    """

    size: int = 8 << 30
    count: int = 200_000


def members(path: Path, label: str, task: Task, limits: Limits | None = None) -> Iterator[Member]:
    """Yield the members of an archive in their order, without folders.

    ``label`` is what errors call it; ``task`` is advanced by compressed bytes. Raises ArchiveError for damage and
    for anything that a PBS archive never has: absolute names, ``..``, links out of the archive, device nodes,
    duplicate names, or too much.
    """
    bounds = limits or Limits()
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            stream = _Bounded(_decompressed(raw, path, task, stack), bounds.size)
            tar = stack.enter_context(
                tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|", tarinfo=_Header, bufsize=1 << 18)
            )
            yield from _members(tar, bounds)
    except ArchiveError as error:
        raise ArchiveError(f"unpacking {label}: {error.args[0]}", hint=error.hint or _HINT) from error
    except RecursionError:
        raise ArchiveError(f"unpacking {label}: its headers are nested too deeply", hint=_HINT) from None
    except (tarfile.TarError, zstd.ZstdError, zlib.error, gzip.BadGzipFile, EOFError, UnicodeError) as error:
        raise ArchiveError(f"unpacking {label}: it is damaged: {error}", hint=_HINT) from error
    except OSError as error:
        raise ArchiveError(f"reading {path}: {error.strerror or error}", hint="check the file") from error


_HINT = "take the archive from python-build-standalone again"


def _decompressed(raw: BinaryIO, path: Path, task: Task, stack: ExitStack) -> BinaryIO:
    magic = raw.read(4)
    raw.seek(0)
    counted = cast("BinaryIO", _Counted(raw, task))
    if magic == _ZSTD_MAGIC:
        return cast("BinaryIO", stack.enter_context(zstd.open_reader(counted)))
    if magic[:2] == _GZIP_MAGIC:
        return cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=counted, mode="rb")))
    raise ArchiveError(f"{path.name} is neither .tar.zst nor .tar.gz")


def _members(tar: tarfile.TarFile, limits: Limits) -> Iterator[Member]:
    seen: set[str] = set()
    for info in tar:
        del tar.members[:]  # type: ignore[attr-defined]  # tarfile would keep every header until the end
        name = _name(info.name)
        if info.isdir():
            continue
        if name in seen:
            raise ArchiveError(f"it holds {name} twice")
        seen.add(name)
        if len(seen) > limits.count:
            raise ArchiveError(f"it holds more than {limits.count} files")
        yield _member(tar, info, name)


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> Member:
    if info.issym():
        _check_target(name, info.linkname)
        return Member(name, "link", target=info.linkname)
    if info.islnk():
        return Member(name, "hard", target=_name(info.linkname))
    if not info.isreg() or info.issparse():
        raise ArchiveError(f"{name} is not a file, a folder or a link")
    executable = bool(info.mode & 0o100)
    return Member(name, "file", info.size, executable, content=tar.extractfile(info))


def _name(name: str) -> str:
    parts = name.removeprefix("./").rstrip("/").split("/")
    if name.startswith("/") or ".." in parts:
        raise ArchiveError(f"{name!r} leads out of the archive")
    if "\0" in name:
        raise ArchiveError(f"{name!r} is not a name")
    return "/".join(part for part in parts if part not in ("", "."))


def _check_target(name: str, target: str) -> None:
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if not target or target.startswith("/") or reached.split("/")[0] == ".." or "\0" in target:
        raise ArchiveError(f"the link {name} leads out of the archive, to {target!r}")


class _Header(tarfile.TarInfo):
    """A tar header whose extended forms may not be larger than any name is.

    tarfile reads those into memory whole. ``_proc_member`` is the hook it documents for subclasses.
    """

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENDED and self.size > _MAX_HEADER:
            raise ArchiveError("it has a header larger than 1 MiB")
        return cast("tarfile.TarInfo", super()._proc_member(tar))  # type: ignore[misc]


class _Counted:
    """A file that tells a task how much of it was read."""

    def __init__(self, file: BinaryIO, task: Task) -> None:
        self._file = file
        self._task = task

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._task.advance(len(block))
        return block

    def seek(self, offset: int, whence: Literal[0, 1, 2] = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Bounded:
    """A stream that refuses to give more than ``limit`` bytes."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._left = limit
        self._limit = limit

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise ArchiveError(f"it holds more than {self._limit} bytes")
        return block
