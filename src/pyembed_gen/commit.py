"""Replaces several files and folders of a directory so that a crash at any moment can be repaired.

What is new is written to a staging folder inside the directory, then a journal that lists the steps, then
each step is one rename or exchange. A run that dies before the journal leaves what was there; the next one
that takes the directory's lock removes the staging folder. A run that dies later is completed by the next.
A step that fails undoes those before it.

A staging folder may also have come with a cloned repository. So a journal is believed only where it speaks of
what is staged beside it, by inode, and of generated stubs, and only in a folder of the same user.
Nothing is promised for a loss of power: what a bundle holds is checked by its sizes on every run.
"""

import errno
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pyembed_gen import filelock, stubs
from pyembed_gen.errors import WriteError
from pyembed_gen.exchange import exchange
from pyembed_gen.writing import writing

__all__ = ["Step", "commit", "content", "locked", "staging"]

_PREFIX = ".pyembed-gen-"
_JOURNAL = "journal.json"
_OLD = ".old"  # was moved aside, or copied, and has its name back if nothing else takes it
_GONE = ".gone"  # was removed
_NO_NAMES = ("", ".", "..")
_LOCK = ".pyembed-gen.lock"  # where a folder itself cannot be locked (Windows)


@dataclass(frozen=True, slots=True)
class Step:
    """One name in the directory and what it shall be.

    ``inode`` is that of the staged file or folder, which it keeps when it is renamed; it tells the new one from
    the old one after a crash. 0 means that the name shall go.
    """

    name: str
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Step":
        """Return the step that puts the staged ``path`` in place."""
        return cls(path.name, path.lstat().st_ino)

    def is_done(self, directory: Path) -> bool:
        """Whether the directory already holds what this step puts there."""
        try:
            return (directory / self.name).lstat().st_ino == self.inode
        except FileNotFoundError:
            return self.inode == 0


@contextmanager
def locked(directory: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Make the directory if need be, lock it, and repair what a run that died has left.

    The directory stays even if nothing is written to it: another run may be waiting for its lock.
    """
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    with filelock.exclusive(_lock_path(directory), waiting=waiting):
        with writing(directory):
            _repair(directory)
        yield


@contextmanager
def staging(directory: Path) -> Iterator[Path]:
    """Yield a new folder inside a locked directory; it is removed in the end, whatever happens."""
    with writing(directory):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
    try:
        yield folder
    finally:
        _discard(directory, folder)


def commit(directory: Path, folder: Path, steps: Sequence[Step]) -> None:
    """Carry out the steps with what is staged in ``folder``, or none of them if one fails (WriteError).

    An interrupt is obeyed when all are done. A file replaces only files, and links to them.
    """
    with writing(directory):
        for step in steps:
            _check_target(directory, folder, step)
        partial = folder / f"{_JOURNAL}.part"
        partial.write_text(json.dumps([[step.name, step.inode] for step in steps]), encoding="utf-8")
        partial.replace(folder / _JOURNAL)
        try:
            _carry_out(directory, folder, steps)
        except KeyboardInterrupt:
            _carry_out(directory, folder, steps)
            raise


def content(path: Path) -> bytes | None:
    """Return what is in a regular file, or None if there is none: a pipe is not waited for."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except OSError:
        return None


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_target(directory: Path, folder: Path, step: Step) -> None:
    target = directory / step.name
    if step.inode and (folder / step.name).is_dir():
        return
    if target.is_dir() or not (target.is_file() or target.is_symlink() or not os.path.lexists(target)):
        raise WriteError(
            f"writing below {directory}: {target} is no regular file",
            hint="move it, or name another folder with --out",
        )


def _carry_out(directory: Path, folder: Path, steps: Sequence[Step]) -> None:
    """Do what is not done yet; if that fails, undo all that is."""
    try:
        for step in steps:
            if not step.is_done(directory):
                _do(directory / step.name, folder, step)
    except OSError:
        for step in reversed(steps):
            with suppress(OSError):
                _undo(directory, folder, step)
        raise


def _do(target: Path, folder: Path, step: Step) -> None:
    """Carry out one step, and keep what was there in the staging folder."""
    staged, old = folder / step.name, folder / f"{step.name}{_OLD}"
    if not step.inode:
        target.replace(folder / f"{step.name}{_GONE}")
        return
    if target.is_dir() and not target.is_symlink() and not staged.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if target.exists() and exchange(staged, target):
        return
    if os.path.lexists(target):
        if staged.is_dir():
            target.replace(old)
        else:
            old.unlink(missing_ok=True)
            shutil.copy2(target, old, follow_symlinks=False)
    staged.replace(target)


def _undo(directory: Path, folder: Path, step: Step) -> None:
    """Take one step back, whether it was done, begun or neither; a journal can still be completed afterwards."""
    target, staged, old = directory / step.name, folder / step.name, folder / f"{step.name}{_OLD}"
    if not step.inode:
        old = folder / f"{step.name}{_GONE}"
    elif step.is_done(directory):
        if os.path.lexists(staged):
            if exchange(staged, target):
                return
            staged.replace(old)
        target.replace(staged)
    if os.path.lexists(old) and not os.path.lexists(target):
        old.replace(target)


def _repair(directory: Path) -> None:
    for folder in sorted(directory.glob(f"{_PREFIX}*/")):
        if folder.is_symlink() or not _is_own(folder):
            continue
        steps = _journal(directory, folder)
        try:
            if all(step.is_done(directory) or step.is_done(folder) for step in steps):
                _carry_out(directory, folder, steps)
        finally:
            _discard(directory, folder)


def _discard(directory: Path, folder: Path) -> None:
    """Remove a staging folder; what was moved into it and never replaced goes back first."""
    with suppress(OSError):  # what is left is for the next run
        for old in folder.glob(f"*{_OLD}"):
            target = directory / old.name.removesuffix(_OLD)
            if not os.path.lexists(target):
                old.replace(target)
        (folder / _JOURNAL).unlink(missing_ok=True)  # first: it must not speak of what is removed by halves
        shutil.rmtree(folder, ignore_errors=True)


def _is_own(folder: Path) -> bool:
    return sys.platform == "win32" or folder.lstat().st_uid == os.geteuid()


def _journal(directory: Path, folder: Path) -> list[Step]:
    """Return the steps of a journal, none if it is damaged or names what no journal of ours would."""
    try:
        values = json.loads(content(folder / _JOURNAL) or b"[]")
        steps = [Step(str(name), int(inode)) for name, inode in values]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return []
    return steps if all(_is_plausible(directory, step) for step in steps) else []


def _is_plausible(directory: Path, step: Step) -> bool:
    name = step.name
    if name in _NO_NAMES or Path(name).name != name or not name.isprintable():
        return False
    return bool(step.inode) or (fnmatchcase(name, "embed_*.go") and _may_go(directory / name))


def _may_go(path: Path) -> bool:
    return not os.path.lexists(path) or (content(path) or b"").startswith(stubs.HEADER.encode())


def _lock_path(directory: Path) -> Path:
    """Return what is locked: the folder itself, but on Windows, which locks files alone, one inside it."""
    return directory / _LOCK if sys.platform == "win32" else directory
