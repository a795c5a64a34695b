"""Yields an installation that lies unpacked on disk as if it were an archive."""

import os
import posixpath
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

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

    Raises ArchiveError for what cannot be read. Sockets, devices and dangling links are passed over.
    """
    yield from walk(folder, top=folder.path.resolve())


def walk(
    folder: Folder,
    *,
    top: Path,
    skip: Callable[[str], bool] = lambda _name: False,
    trail: tuple[Path, ...] = (),
) -> Iterator[Member]:
    """Yield what lies below a folder. ``top`` is the real folder that links may point into.

    ``skip`` is asked for each name before it is looked at; ``trail`` are the real folders above.
    """
    real = folder.path.resolve()
    if real in trail:
        return
    try:
        entries = sorted(os.scandir(folder.path), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise ArchiveError(f"reading {folder.path}: {error.strerror}", hint="check its permissions") from error
    for entry in entries:
        name = f"{folder.name}/{entry.name}"
        path = Path(entry.path)
        if skip(name):
            continue
        if entry.is_symlink():
            target = _kept_target(path, top)
            if target:
                yield Member(name, "link", target=target)
                continue
        if entry.is_dir():
            yield from walk(Folder(path, name), top=top, skip=skip, trail=(*trail, real))
        elif entry.is_file():
            yield from file(path, name)


def file(path: Path, name: str) -> Iterator[Member]:
    """Yield one file from disk as a member."""
    try:
        with path.open("rb") as content:
            status = os.fstat(content.fileno())
            executable = bool(status.st_mode & 0o100)
            if sys.platform == "win32":  # no modes there: what a program begins with tells
                head = content.read(_HEAD)
                content.seek(0)
                executable = binary.looks_executable(head)
            yield Member(name, "file", status.st_size, executable, content=content)
    except OSError as error:
        raise ArchiveError(f"reading {path}: {error.strerror}", hint="check its permissions") from error


def _kept_target(link: Path, top: Path) -> str:
    """Return a link's target if it stays below ``top`` as it is written, otherwise an empty text."""
    target = str(link.readlink()).replace(os.sep, "/")
    if posixpath.isabs(target) or Path(target).is_absolute():
        return ""
    reached = Path(os.path.normpath(link.parent.resolve() / target))
    try:
        reached.relative_to(top)
        link.resolve().relative_to(top)
    except ValueError:
        return ""
    return target
