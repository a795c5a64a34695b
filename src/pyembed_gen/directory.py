"""Yields an installation that lies unpacked on disk as if it were an archive."""

import errno
import os
import posixpath
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from pyembed_gen import binary
from pyembed_gen.errors import ArchiveError
from pyembed_gen.members import Member

__all__ = ["Folder", "members", "pbs_prefix", "walk"]

_HEAD = 64


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on disk and the name it has in the source, such as ``python/install/lib``."""

    path: Path
    name: str


def pbs_prefix(path: Path) -> Folder:
    """Return how a folder with an unpacked PBS archive maps to names of a source.

    It may be the folder that holds ``python/``, that ``python/`` itself, or an installation.
    """
    if (path / "python" / "PYTHON.json").is_file() or (path / "python" / "install").is_dir():
        return Folder(path / "python", "python")
    return Folder(path, "python")


def members(folder: Folder) -> Iterator[Member]:
    """Yield files and links below a folder, sorted; links that leave it are followed.

    Where PBS put an installation into ``install/`` beside other things, that is what links must not leave. Raises
    ArchiveError for what cannot be read. Sockets, devices, loops and dangling links are passed over, and so is
    bytecode: an interpreter that ran there once left it, and what is made of the folder must not depend on that.
    """
    install = Folder(folder.path / "install", f"{folder.name}/install")
    apart = (install.name, f"{folder.name}/build") if install.path.is_dir() else ()
    yield from walk(folder, top=folder.path.resolve(), skip=lambda name: name in apart or _is_bytecode(name))
    if apart:
        yield from walk(install, top=install.path.resolve(), skip=_is_bytecode)


def walk(
    folder: Folder,
    *,
    top: Path,
    skip: Callable[[str], bool] = lambda _name: False,
    trail: tuple[Path, ...] = (),
) -> Iterator[Member]:
    """Yield what lies below a folder. ``top`` is the real folder that links may point into.

    ``skip`` is asked for each name before it is looked at; ``trail`` are the real folders above. A folder that
    holds one of those is a loop.
    """
    real = folder.path.resolve()
    if any(above.is_relative_to(real) for above in trail):
        return
    try:
        entries = sorted(os.scandir(folder.path), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise _unreadable(folder.path, error) from error
    for entry in entries:
        name = f"{folder.name}/{entry.name}"
        path = Path(entry.path)
        if skip(name):
            continue
        target = _kept_target(path, top) if entry.is_symlink() else ""
        if target:
            yield Member(name, "link", target=target)
        elif (kind := _kind(path)) == "folder":
            yield from walk(Folder(path, name), top=top, skip=skip, trail=(*trail, real))
        elif kind == "file":
            yield from file(path, name)


def file(path: Path, name: str) -> Iterator[Member]:
    """Yield one file from disk as a member."""
    try:
        status = path.stat()
        executable = bool(status.st_mode & 0o100)
        if sys.platform == "win32":  # pragma: no cover - no modes there: what a program begins with tells
            with path.open("rb") as beginning:
                executable = binary.looks_executable(beginning.read(_HEAD))
    except OSError as error:
        raise _unreadable(path, error) from error
    content = _Content(path)
    try:
        yield Member(name, "file", status.st_size, executable, content=content)
    finally:
        content.close()


def _is_bytecode(name: str) -> bool:
    return name.endswith(("/__pycache__", ".pyc"))


def _kind(path: Path) -> Literal["file", "folder", "other"]:
    """Return what a path is in the end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return "other"
        raise _unreadable(path, error) from error
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def _kept_target(link: Path, top: Path) -> str:
    """Return a link's target if none of its steps leads out of ``top``, otherwise an empty text."""
    target = str(link.readlink()).replace(os.sep, "/")
    if posixpath.isabs(target) or Path(target).is_absolute():
        return ""
    place = link.parent.resolve()
    for step in target.split("/"):
        place = place.parent if step == ".." else Path(os.path.realpath(place / step))  # resolve() fails in loops
        if not place.is_relative_to(top):
            return ""
    return target


class _Content:
    """The content of a file, opened when it is read: what pruning drops need not be readable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def read(self, size: int, /) -> bytes:
        try:
            if self._file is None:
                self._file = self._path.open("rb")
            return self._file.read(size)
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _unreadable(path: Path, error: OSError) -> ArchiveError:
    return ArchiveError(f"reading {path}: {error.strerror}", hint="check its permissions")
