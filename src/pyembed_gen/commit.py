"""Replaces several files and folders of a directory so that a crash at any moment can be repaired.

What is new is written to a staging folder inside the directory, then a journal that lists the steps, then
each step is one rename or exchange. A run that dies before the journal leaves what was there; the next one
that takes the directory's lock removes the staging folder. A run that dies later is completed by the next.
Nothing is promised for a loss of power: what a bundle holds is checked by its sizes on every run.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pyembed_gen import filelock
from pyembed_gen.exchange import exchange
from pyembed_gen.writing import writing

__all__ = ["Step", "commit", "locked", "staging"]

_PREFIX = ".pyembed-gen-"
_JOURNAL = "journal.json"
_OLD = ".old"
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
    """Carry out the steps with what is staged in ``folder``; an interrupt is obeyed when all are done."""
    with writing(directory):
        partial = folder / f"{_JOURNAL}.part"
        partial.write_text(json.dumps([[step.name, step.inode] for step in steps]), encoding="utf-8")
        partial.replace(folder / _JOURNAL)
        try:
            _carry_out(directory, folder, steps)
        except KeyboardInterrupt:
            _carry_out(directory, folder, steps)
            raise


def _carry_out(directory: Path, folder: Path, steps: Sequence[Step]) -> None:
    for step in steps:
        target, staged = directory / step.name, folder / step.name
        if step.is_done(directory):
            continue
        if not step.inode:
            target.unlink(missing_ok=True)
        elif not staged.is_dir():
            staged.replace(target)
        elif not (target.exists() and exchange(staged, target)):
            if os.path.lexists(target):
                target.replace(folder / f"{step.name}{_OLD}")
            staged.replace(target)


def _repair(directory: Path) -> None:
    for folder in sorted(directory.glob(f"{_PREFIX}*/")):
        if folder.is_symlink():
            continue
        steps = _journal(folder)
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


def _journal(folder: Path) -> list[Step]:
    try:
        values = json.loads((folder / _JOURNAL).read_text("utf-8"))
        steps = [Step(str(name), int(inode)) for name, inode in values]
    except (OSError, ValueError, TypeError, OverflowError):
        return []
    return steps if all(step.name not in _NO_NAMES and Path(step.name).name == step.name for step in steps) else []


def _lock_path(directory: Path) -> Path:
    """Return what is locked: the folder itself, but on Windows, which locks files alone, one inside it."""
    return directory / _LOCK if sys.platform == "win32" else directory
