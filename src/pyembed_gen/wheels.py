"""Wheels that were chosen, as verified files in the cache.

    <cache>/wheels/<sha256>.whl

pip downloads them, in a process that sees the target, so that indexes, credentials and proxies work as they did when
it chose. Each has the sum that the resolution says, computed here; what has another one never gets a place in the
cache. A wheel that several targets share is downloaded once, one that is in the cache not at all. Its own file name
is not part of the path: it may be as long as names of files can be.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pyembed_gen import cache as caching
from pyembed_gen import failure
from pyembed_gen.cache import Cache
from pyembed_gen.download import hash_file
from pyembed_gen.errors import PipError
from pyembed_gen.failure import PipFailure
from pyembed_gen.filelock import exclusive
from pyembed_gen.piprun import Command, Pip, warning
from pyembed_gen.progress import Progress
from pyembed_gen.requirements import Requirements, read
from pyembed_gen.resolution import Item, Resolution
from pyembed_gen.resolve import COMMON, Options, cleaned, local_path
from pyembed_gen.target import Target
from pyembed_gen.url import shown

__all__ = ["Stored", "fetch", "folder", "path_of"]

_DOWNLOAD = ("download", "--no-deps", *COMMON)
_ELSEWHERE = ("network", "index", "missing", "pip")  # failures that may have to do with a link alone


@dataclass(frozen=True, slots=True)
class Stored:
    """A wheel in the cache: ``item`` with its sum, ``size`` in bytes, ``cached``: it was there already."""

    item: Item
    path: Path
    size: int
    cached: bool


def folder(cache: Cache) -> Path:
    """Return the folder of the cache that has wheels."""
    return cache.root / "wheels"


def path_of(cache: Cache, sha256: str) -> Path:
    """Return where a wheel is, if it is in the cache."""
    return folder(cache) / f"{sha256}.whl"


def fetch(
    resolutions: Sequence[Resolution],
    *,
    requirements: Requirements,
    pip: Pip,
    cache: Cache,
    workspace: Path,
    progress: Progress,
    options: Options | None = None,
    offline: bool = False,
    jobs: int = 0,
) -> tuple[tuple[Stored, ...], ...]:
    """Return the wheels of each resolution, in its order.

    ``requirements`` and ``options`` are those that were resolved: they say where pip looks. ``workspace`` is for
    temporary files, on the file system of the cache. ``offline`` allows only what is in the cache or on this machine.
    ``jobs`` is how many pips run at once; 0: as many as there are processors. Raises PipError (not to be had, another
    sum) and WriteError.
    """
    cache.create(folder(cache))
    cache.create(cache.locks)
    store = _Store(cache, pip, workspace, progress, requirements, options or Options())
    first: dict[str, tuple[Item, Target]] = {}
    for resolution in resolutions:
        for item in resolution.items:
            first.setdefault(_key(item), (item, resolution.target))
    found = {key: stored for key, (item, _) in first.items() if (stored := store.find(item))}
    missing: dict[str, tuple[Target, list[Item]]] = {}
    for key, (item, target) in first.items():
        if key in found:
            continue
        if local_path(item.url):
            found[key] = store.copy(item)
        elif offline:
            what = f"fetching {item.filename}: it is not in the cache, and --offline allows nothing else"
            raise PipError(what, hint="run once without --offline")
        else:
            missing.setdefault(target.label, (target, []))[1].append(item)
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1, "pip") as pool:
        try:
            for batch in pool.map(lambda pair: store.download(*pair), missing.values()):
                found |= batch
        except BaseException:
            pip.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return tuple(tuple(_told(item, found[_key(item)]) for item in resolution.items) for resolution in resolutions)


def _key(item: Item) -> str:
    """Return what two items share that are one wheel."""
    return item.sha256 or item.url


def _told(item: Item, stored: Stored) -> Stored:
    """Return the stored wheel as that of an item which may have been asked for in another way."""
    return replace(stored, item=replace(item, sha256=stored.item.sha256))


@dataclass(frozen=True, slots=True)
class _Store:
    cache: Cache
    pip: Pip
    workspace: Path
    progress: Progress
    requirements: Requirements
    options: Options

    def find(self, item: Item) -> Stored | None:
        """Return a wheel that is in the cache undamaged."""
        if not item.sha256:
            return None
        path = path_of(self.cache, item.sha256)
        try:
            found = hash_file(path)
        except OSError:
            return None
        if found.sha256 != item.sha256:
            self.progress.note(f"the cached {item.filename} is damaged; fetching it again")
            return None
        caching.touch(path)
        return Stored(item, path, found.size, cached=True)

    def copy(self, item: Item) -> Stored:
        """Copy a wheel of this machine into the cache: what is there later may be another one."""
        source = local_path(item.url) or Path()
        with TemporaryDirectory(prefix="wheels-", dir=self.workspace, ignore_cleanup_errors=True) as name:
            copied = Path(name) / "wheel"
            try:
                with source.open("rb") as file, self.cache.writing(), copied.open("wb") as copy:
                    shutil.copyfileobj(file, copy)
            except OSError as error:
                raise PipError(f"reading {source}: {error.strerror or error}") from error
            return self._keep(item, copied)

    def download(self, target: Target, items: Sequence[Item]) -> dict[str, Stored]:
        """Let pip download wheels for a target, unless another process has them by now."""
        with ExitStack() as stack:
            # In one order everywhere, so that nobody waits in a circle.
            for item in sorted(items, key=_key):
                if item.sha256:
                    lock = self.cache.locks / item.sha256
                    stack.enter_context(exclusive(lock, waiting=partial(self._say_waiting, item)))
            found = {_key(item): stored for item in items if (stored := self.find(item))}
            missing = [item for item in items if _key(item) not in found]
            return found | (self._download(target, missing) if missing else {})

    def _download(self, target: Target, items: Sequence[Item]) -> dict[str, Stored]:
        task = self.progress.task(f"fetching wheels for {target.label}", len(items), unit="wheels")

        def watch(line: str) -> None:
            if line.startswith(("  Downloading ", "  Using cached ")):
                task.advance(1)
            elif text := warning(line):
                self.progress.note(f"pip for {target.label}: {text}")

        ended = "failed"
        try:
            with TemporaryDirectory(prefix="wheels-", dir=self.workspace, ignore_cleanup_errors=True) as name:
                into = Path(name)
                if failed := self._attempt(items, target, into, watch, by_url=True):
                    # An index may give each of its visitors links of their own, which end.
                    if failed.kind not in _ELSEWHERE:
                        raise _failed(failed)
                    if failed := self._attempt(items, target, into, watch, by_url=False):
                        raise _failed(failed)
                found = {_key(item): self._keep(item, into / item.filename) for item in items}
            ended = ""
            return found
        finally:
            task.done(ended)

    def _attempt(
        self, items: Sequence[Item], target: Target, into: Path, watch: Callable[[str], None], *, by_url: bool
    ) -> PipFailure | None:
        """Let pip download wheels from where they were found, or else let it look for them again."""
        # With a hash, and without: pip asks for one for each requirement of a run, or for none.
        groups = [[item for item in items if bool(item.sha256) is known] for known in (True, False)]
        commands = []
        for number, group in enumerate(groups):
            if group:
                wanted = into / f"wanted-{number}.txt"
                wanted.write_text(self._wanted(group, by_url=by_url), "utf-8")
                own = (f"--dest={into}", f"--requirement={wanted}")
                commands.append(Command((*_DOWNLOAD, *target.options, *self.options.sources, *own)))
        outcome = self.pip.run(commands, target, cwd=self.requirements.folder, watch=watch)
        return failure.read(outcome, target) if any(outcome.codes) else None

    def _wanted(self, items: Iterable[Item], *, by_url: bool) -> str:
        """Return a requirement file that says of each wheel exactly which one, and where pip looked."""
        reading = read(self.requirements)
        secrets = {cleaned(url): url for url in reading.urls}
        lines = [*reading.options, *(_line(item, secrets, by_url=by_url or item.direct) for item in items)]
        return "".join(f"{line}\n" for line in lines)

    def _keep(self, item: Item, path: Path) -> Stored:
        """Move a file that has the right sum into the cache."""
        try:
            got = hash_file(path)
        except OSError:
            raise PipError(f"fetching {item.filename} from {shown(item.url)}: pip brought something else") from None
        if item.sha256 not in ("", got.sha256):
            hint = "what is there is not what was resolved: try again with --upgrade"
            what = f"fetching {item.filename} from {shown(item.url)}: its sha256 is {got.sha256}, not {item.sha256}"
            raise PipError(what, hint=hint)
        with self.cache.writing():
            kept = path.replace(path_of(self.cache, got.sha256))
        return Stored(replace(item, sha256=got.sha256), kept, got.size, cached=False)

    def _say_waiting(self, item: Item) -> None:
        self.progress.note(f"waiting for another process that is fetching {item.filename}")


def _line(item: Item, secrets: Mapping[str, str], *, by_url: bool) -> str:
    """Return a requirement that exactly one file satisfies."""
    if by_url:
        wanted = f"{item.name} @ {secrets.get(item.url, item.url).partition('#')[0]}"
    else:
        wanted = f"{item.name}=={item.version}"
    return f"{wanted} --hash=sha256:{item.sha256}" if item.sha256 else wanted


def _failed(why: PipFailure) -> PipError:
    what = why.requirement or "wheels"
    return PipError(f"fetching {what} for {why.target.label}: {why.reason}", hint=failure.hint(why.kind))
