"""The folder that keeps archives, packed payloads and release sums from one run to the next.

    <root>/CACHEDIR.TAG
    <root>/archives/<sha256>-<asset>            verified archives; with .part, .part.json while they arrive
    <root>/packs/<2 hex>/<64 hex>               packed payloads, by what they were made from
    <root>/releases/<16 hex of base>-<tag>      the SHA256SUMS of a release
    <root>/wheels/<sha256>.whl                  verified wheels
    <root>/locks/<name>                         locks of archives and wheels that are being fetched
    <root>/temporary/tmp<anything>              files on their way to one of the others
    <root>/temporary/run-<anything>/            what a run has unpacked; see workspace.py, which removes it

Pruning and clearing delete regular files with exactly these names and nothing else, because the root may be a
folder in which somebody has other things; symbolic links are neither followed nor deleted.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pyembed_gen.errors import UsageError
from pyembed_gen.filelock import exclusive
from pyembed_gen.writing import CACHE, writing

__all__ = ["Amount", "Cache", "Removed", "Usage", "clear", "default_root", "prune", "touch", "usage"]

_TAG_NAME = "CACHEDIR.TAG"
# The first line is fixed by the Cache Directory Tagging Specification, https://bford.info/cachedir/.
_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of pyembed-gen: everything in it can be fetched or made again.
# For information about cache directory tags, see https://bford.info/cachedir/
"""

_NAMES = {
    "archives": re.compile(r"(?P<lock>[0-9a-f]{64})-[^/]+"),
    "packs": re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}"),
    "releases": re.compile(r"[0-9a-f]{16}-[^/]+"),
    "temporary": re.compile(r"tmp[^/]+"),
    "wheels": re.compile(r"(?P<lock>[0-9a-f]{64})\.whl"),
}
_LOCK_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Cache:
    """Where things are under ``root``. Nothing is created before :meth:`create` is called."""

    root: Path

    @property
    def archives(self) -> Path:
        """Verified archives, each under its own sum."""
        return self.root / "archives"

    @property
    def packs(self) -> Path:
        """Packed payloads, in folders named after the first two hex digits."""
        return self.root / "packs"

    @property
    def releases(self) -> Path:
        """The SHA256SUMS of releases, one file for each base URL and tag."""
        return self.root / "releases"

    @property
    def temporary(self) -> Path:
        """Files that are being written, on the file system of the rest: a rename publishes them."""
        return self.root / "temporary"

    @property
    def locks(self) -> Path:
        """Lock files of archives, named by their sums."""
        return self.root / "locks"

    def create(self, folder: Path) -> Path:
        """Make ``folder``, one of this cache's, where it is missing, and return it.

        A root that this call makes, or finds empty, gets a CACHEDIR.TAG, which tells backup programs to
        skip it; a root in which somebody has other things gets none. Raises WriteError.
        """
        with self.writing():
            if not folder.is_dir():
                self._tag()
                folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _tag(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if not any(self.root.iterdir()):
            (self.root / _TAG_NAME).write_text(_TAG, encoding="ascii", newline="\n")

    def writing(self) -> AbstractContextManager[None]:
        """Turn an OSError of the block into a WriteError that names the cache and how to choose another."""
        return writing(self.root, doing="using the cache", option=CACHE)

    def exists(self) -> bool:
        """Whether there is a cache at ``root``, maybe an empty one. Raises WriteError if that cannot be seen."""
        with self.writing():
            try:
                names = {path.name for path in self.root.iterdir()}
            except FileNotFoundError:
                return False
        return not {*_NAMES, self.locks.name}.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of files and the sum of their sizes in bytes."""

    files: int = 0
    bytes: int = 0

    def plus(self, size: int) -> "Amount":
        """Count one more file of ``size`` bytes."""
        return Amount(self.files + 1, self.bytes + size)


@dataclass(frozen=True, slots=True)
class Usage:
    """What is in a cache, by kind: archives, packs, releases, temporary."""

    kinds: Mapping[str, Amount]

    @property
    def total(self) -> Amount:
        """Everything together."""
        amounts = self.kinds.values()
        return Amount(sum(amount.files for amount in amounts), sum(amount.bytes for amount in amounts))


@dataclass(frozen=True, slots=True)
class Removed:
    """What was deleted, and how many files were left because another process is fetching them."""

    files: int = 0
    bytes: int = 0
    busy: int = 0


def default_root(environ: Mapping[str, str]) -> Path:
    """Return $PYEMBED_CACHE, or else the folder that the system has for a user's caches (platformdirs)."""
    if chosen := environ.get("PYEMBED_CACHE"):
        return Path(chosen)
    import platformdirs  # noqa: PLC0415 - not needed where the variable is set

    try:
        return platformdirs.user_cache_path("pyembed-gen", appauthor=False)
    except RuntimeError as error:  # a user without $HOME and without an entry in passwd, as in containers
        raise UsageError(f"looking for the cache folder: {error}", hint="set $PYEMBED_CACHE or --cache-dir") from error


def touch(path: Path) -> None:
    """Note that a cached file was used now; a cache that cannot be written to is left as it is."""
    with suppress(OSError):
        os.utime(path)


def usage(cache: Cache) -> Usage:
    """Count what is cached; a cache that does not exist is empty. Raises WriteError."""
    kinds = dict.fromkeys(_NAMES, Amount())
    with cache.writing():
        for entry in _entries(cache):
            kinds[entry.kind] = kinds[entry.kind].plus(entry.size)
    return Usage(kinds)


def prune(cache: Cache, older_than: timedelta, now: datetime) -> Removed:
    """Delete what was last used more than ``older_than`` before ``now`` (aware, or else local time).

    Archives that another process is fetching are left alone. Raises WriteError.
    """
    return _remove(cache, before=(now - older_than).timestamp())


def clear(cache: Cache) -> Removed:
    """Delete what is cached, except archives that another process is fetching. Raises WriteError."""
    return _remove(cache, before=None)


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: str
    path: Path
    size: int
    used: float  # seconds since the epoch
    lock: str = ""


def _entries(cache: Cache) -> list[_Entry]:
    return [entry for kind in _NAMES for entry in _entries_of(cache, kind)]


def _entries_of(cache: Cache, kind: str) -> Iterator[_Entry]:
    top = cache.root / kind
    for path in _regular_files(top, depth=2):
        match = _NAMES[kind].fullmatch(path.relative_to(top).as_posix())
        if match is not None:
            with suppress(FileNotFoundError):  # another process was faster
                status = path.lstat()
                yield _Entry(kind, path, status.st_size, status.st_mtime, match.groupdict().get("lock", ""))


def _regular_files(folder: Path, depth: int) -> Iterator[Path]:
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return
        names = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in names:
        if entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        elif depth > 1 and entry.is_dir(follow_symlinks=False):
            yield from _regular_files(Path(entry.path), depth - 1)


def _remove(cache: Cache, before: float | None) -> Removed:
    with cache.writing():
        entries = [entry for entry in _entries(cache) if before is None or entry.used < before]
        locks = {path.name for path in _regular_files(cache.locks, depth=1) if _LOCK_NAME.fullmatch(path.name)}
    removed = Removed()
    for lock in sorted(locks | {entry.lock for entry in entries}):
        removed = _remove_together(cache, lock, [entry for entry in entries if entry.lock == lock], removed)
    return removed


class _BusyError(Exception):
    pass


def _busy() -> None:
    raise _BusyError


def _remove_together(cache: Cache, lock: str, entries: list[_Entry], removed: Removed) -> Removed:
    try:
        with _held(cache, lock), cache.writing():
            for entry in entries:
                entry.path.unlink(missing_ok=True)
    except _BusyError:
        return Removed(removed.files, removed.bytes, removed.busy + len(entries))
    size = sum(entry.size for entry in entries)
    return Removed(removed.files + len(entries), removed.bytes + size, removed.busy)


@contextmanager
def _held(cache: Cache, lock: str) -> Iterator[None]:
    """Hold the lock of an archive and delete its file; raise _BusyError instead of waiting."""
    if not lock:
        yield
        return
    path = cache.create(cache.locks) / lock
    with exclusive(path, waiting=_busy):
        yield
        with suppress(PermissionError):  # Windows keeps a file that is open
            path.unlink(missing_ok=True)
