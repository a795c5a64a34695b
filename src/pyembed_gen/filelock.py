"""A lock between processes that dies with its holder.

The lock is advisory (``flock`` on POSIX, a locked byte on Windows) and belongs to the open file, so a
holder that crashed blocks nobody and no stale lock has to be recognised. Locks in threads of one process
exclude each other too. A lock file may be deleted by whoever holds it: those who waited on the deleted file
notice.
"""

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from pyembed_gen.writing import CACHE, OUT, writing

__all__ = ["exclusive"]

# Polling instead of a blocking call: it is the same on every system, and Ctrl-C gets through on all of them.
_POLL_SECONDS = 0.05

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _acquire(fd: int) -> bool:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _release(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _acquire(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(fd: int) -> None:
        # Closing is not enough: a child that was forked meanwhile shares the open file and its lock.
        fcntl.flock(fd, fcntl.LOCK_UN)


@contextmanager
def exclusive(path: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock on ``path`` for the length of a ``with`` block; wait for it as long as it takes.

    ``path`` is a file, made (empty) if there is none and left there afterwards, or on POSIX an existing
    directory. ``waiting`` is called once if somebody else holds the lock; what it raises ends the wait.
    After a rename or deletion of ``path`` the lock is on what has that name now. Raises WriteError if it
    cannot be opened or locked.
    """
    fd = _lock(path, waiting)
    try:
        yield
    finally:
        try:
            _release(fd)
        finally:
            os.close(fd)


def _lock(path: Path, waiting: Callable[[], None] | None) -> int:
    """Return a descriptor of what is at ``path``, locked."""
    while True:
        fd = _open(path)
        try:
            while not _locked(fd, path):
                if waiting is not None:
                    waiting()
                    waiting = None
                time.sleep(_POLL_SECONDS)
            if _is_at(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _open(path: Path) -> int:
    with _naming(path):
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(path.stat().st_mode):
                return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)


def _locked(fd: int, path: Path) -> bool:
    with _naming(path):
        return _acquire(fd)


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _naming(path: Path) -> AbstractContextManager[None]:
    return writing(path, doing="locking", option=f"{OUT}, {CACHE}")
