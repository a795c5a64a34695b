"""Joins the stages: the one place that knows their order."""

import functools
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from pyembed_gen import emit, fetch, output, plan, sources
from pyembed_gen import matrix as matrix_
from pyembed_gen.blobs import Blobs
from pyembed_gen.cache import Cache
from pyembed_gen.download import Policy
from pyembed_gen.errors import ArchiveError, UsageError
from pyembed_gen.fetch import Archive
from pyembed_gen.manifest import Manifest, Origin
from pyembed_gen.matrix import Matrix
from pyembed_gen.members import Source
from pyembed_gen.notes import Notes
from pyembed_gen.output import Result
from pyembed_gen.pack import Packed, Packer, Pending
from pyembed_gen.plan import Job, Request
from pyembed_gen.progress import Progress, Task
from pyembed_gen.prune import Pruner
from pyembed_gen.recipe import recipe
from pyembed_gen.release import Wanted, release_sums
from pyembed_gen.sources import Local
from pyembed_gen.transform import transform
from pyembed_gen.tree import Tree, sort_key
from pyembed_gen.unpack import unpack
from pyembed_gen.workspace import workspace

__all__ = ["Preview", "Result", "Settings", "generate", "preview"]

_DOWNLOADS = 3  # at once


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run works, apart from what it makes. ``jobs`` is how many threads compress."""

    cache: Cache
    policy: Policy
    jobs: int
    offline: bool = False
    insecure: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do for one bundle: unpack which archive, and (if asked) drop what by which rule."""

    job: Job
    origin: Origin
    cached: bool
    up_to_date: bool
    tree: Tree | None


def generate(
    matrix: Matrix, request: Request, source: str, settings: Settings, progress: Progress
) -> tuple[Result, ...]:
    """Make all bundles that are asked for, and write those that are not up to date.

    ``source`` is ``pbs``, ``host`` or a path. Nothing is written unless everything could be made. Raises the
    PyembedErrors of the stages.
    """
    progress = Notes(progress)
    supplies = _supplies(matrix, request, source, settings, progress)
    jobs = [supply.job for supply in supplies]
    _check_output(supplies, matrix)
    made = {supply.job: _up_to_date(supply.job, supply.current, 0.0) for supply in supplies if supply.current}
    missing = [supply for supply in supplies if not supply.current]
    with ExitStack() as stack:
        if missing:
            made |= stack.enter_context(_making(missing, matrix, settings, progress))
        packed = {job: bundle for job in jobs if (bundle := made[job].packed) is not None}
        output.write(jobs, packed, matrix, progress)
    return tuple(made[job].result for job in jobs)


def _check_output(supplies: Sequence["_Supply"], matrix: Matrix) -> None:
    output.check([supply.job for supply in supplies], [one.job for one in supplies if not one.current], matrix)


@contextmanager
def _making(
    supplies: Sequence["_Supply"], matrix: Matrix, settings: Settings, progress: Progress
) -> Iterator[dict[Job, "_Made"]]:
    """Make bundles; what they are made of is there for the length of the ``with`` block."""
    for supply in supplies:
        if isinstance(supply.place, Wanted):
            _check(supply.place, matrix, settings, progress)
    with (
        workspace(settings.cache) as folder,
        _fetching(supplies, matrix, settings, progress) as archives,
        ThreadPoolExecutor(settings.jobs) as executor,
    ):
        blobs = Blobs(folder)
        packs = settings.cache.create(settings.cache.packs)
        packer = Packer(blobs, packs, supplies[0].job.codec, executor)
        run = _Run(settings, progress, blobs, packer)
        try:
            made = run.make(supplies, archives)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        yield made


def preview(
    matrix: Matrix, request: Request, source: str, settings: Settings, progress: Progress, *, deep: bool
) -> tuple[Preview, ...]:
    """Return what :func:`generate` would do, without writing any output.

    ``deep`` also unpacks (and so fetches) the archives, to say what would be dropped by which rule.
    """
    progress = Notes(progress)
    supplies = _supplies(matrix, request, source, settings, progress)
    _check_output(supplies, matrix)
    with workspace(settings.cache) as folder:
        return tuple(_preview(supply, matrix, settings, progress, Blobs(folder), deep=deep) for supply in supplies)


@dataclass(frozen=True, slots=True)
class _Supply:
    """A job and where its installation comes from: a local source, or an archive that may have to be fetched."""

    job: Job
    place: Local | Wanted
    known: str  # the archive's sum, if it is known without the network
    current: Manifest | None = None  # of the bundle on disk, if that is what would be made

    def origin(self, sha256: str) -> Origin:
        row = self.job.platform
        local = self.place if isinstance(self.place, Local) else None
        flavour = local.flavour if local else self.job.asset.split(f"{row.triple}-")[-1].split(".tar")[0]
        return Origin(
            python=self.job.version,
            pbs=self.job.pbs,
            triple=row.triple,
            flavour=flavour,
            archive=local.source.archive if local else self.job.asset,
            sha256=sha256,
            portable=local.source.portable if local else True,
        )


@dataclass(frozen=True, slots=True)
class _Made:
    result: Result
    packed: Packed | None


@dataclass(frozen=True, slots=True)
class _Begun:
    """A bundle whose files are being compressed."""

    job: Job
    tree: Tree
    origin: Origin
    recipe: str
    pending: Mapping[str, Pending]
    task: Task
    since: float


def _supplies(
    matrix: Matrix, request: Request, source: str, settings: Settings, progress: Progress
) -> tuple[_Supply, ...]:
    if source != "pbs":
        return (_with_current(_local_supply(matrix, request, source, progress), settings),)
    supplies = []
    for job in plan.plan(matrix, request, versions=_versions(matrix, request, settings, progress)):
        wanted = Wanted(job.asset, job.pbs, job.base, label=job.label)
        known = fetch.known_sum(wanted, matrix.lock, settings.cache) or ""
        supplies.append(_with_current(_Supply(job, wanted, known), settings))
    return tuple(supplies)


def _with_current(supply: _Supply, settings: Settings) -> _Supply:
    return replace(supply, current=_current(supply, supply.known, settings))


def _versions(matrix: Matrix, request: Request, settings: Settings, progress: Progress) -> tuple[str, ...]:
    """Return exact versions for lines asked of another release than the matrix's: that release knows its own."""
    asked = request.pythons or (matrix.primary,)
    if request.pbs in ("", matrix.pbs) or all(matrix_.is_version(python) for python in asked):
        return ()
    listed = [*matrix.lock]
    if not plan.versions_in(listed, request.pbs):
        base = request.mirror or matrix.url
        listed += release_sums(
            base,
            request.pbs,
            cache=settings.cache,
            policy=settings.policy,
            progress=progress,
            offline=settings.offline,
        )
    found = plan.versions_in(listed, request.pbs)
    return plan.choose_versions(matrix, asked, found, where=f"release {request.pbs}")


def _local_supply(matrix: Matrix, request: Request, source: str, progress: Progress) -> _Supply:
    if request.pbs:
        raise UsageError(f"--source {source} is no PBS release", hint="leave --pbs out")
    if len(request.platforms) > 1 or len(request.pythons) > 1:
        raise UsageError(f"--source {source} is one installation", hint="ask for one platform and one version")
    found = sources.local(
        source,
        matrix,
        platform="".join(request.platforms),
        version="".join(request.pythons),
        progress=progress,
    )
    asked = replace(request, platforms=(found.platform.key,), pbs="")
    (job,) = plan.plan(matrix, asked, versions=(found.version,))
    job = replace(job, pbs=found.pbs, base="", asset=found.source.label)
    return _Supply(job, found, found.source.sha256)


@dataclass(frozen=True, slots=True)
class _Run:
    settings: Settings
    progress: Progress
    blobs: Blobs
    packer: Packer

    def make(self, supplies: Sequence[_Supply], archives: Mapping[Job, "Future[Archive]"]) -> dict[Job, _Made]:
        """Make the bundles one after another; while one is unpacked, the one before is compressed."""
        made: dict[Job, _Made] = {}
        begun: _Begun | None = None
        for supply in supplies:
            since = time.monotonic()
            following = self._begin(supply, archives, since)
            if begun is not None:
                made[begun.job] = self._finish(begun)
            begun = following if isinstance(following, _Begun) else None
            if isinstance(following, _Made):
                made[supply.job] = following
        if begun is not None:
            made[begun.job] = self._finish(begun)
        return made

    def _begin(self, supply: _Supply, archives: Mapping[Job, "Future[Archive]"], since: float) -> _Begun | _Made:
        job = supply.job
        place = supply.place
        source = (
            place.source if isinstance(place, Local) else _fetched(archives[job].result(), job.label, self.progress)
        )
        tree = _installation(source, job, self.blobs)
        content = source.sha256 or _fingerprint(tree)
        if content != supply.known:
            current = _current(supply, content, self.settings)
            if current is not None:
                return _up_to_date(job, current, time.monotonic() - since)
        origin = supply.origin(source.sha256)
        tree = _transformed(tree, source, job, self.blobs)
        task = self.progress.task(f"packing {job.label}", sum(file.size for file in tree.files))
        pending = self.packer.start(tree, task)
        return _Begun(job, tree, origin, recipe(job, origin, content), pending, task, since)

    def _finish(self, begun: _Begun) -> _Made:
        packed = self.packer.finish(begun.tree, begun.pending, recipe=begun.recipe, origin=begun.origin)
        begun.task.done()
        seconds = time.monotonic() - begun.since
        return _Made(Result(begun.job, packed.manifest, seconds, up_to_date=False), packed)


def _current(supply: _Supply, content: str, settings: Settings) -> Manifest | None:
    """Return the manifest of the bundle on disk if it is what would be made from this content."""
    if settings.force or not content:
        return None
    is_folder = isinstance(supply.place, Local) and not supply.place.source.sha256
    sha256 = "" if is_folder else content
    expected = recipe(supply.job, supply.origin(sha256), content)
    return emit.up_to_date(supply.job.directory, expected)


def _up_to_date(job: Job, manifest: Manifest, seconds: float) -> _Made:
    return _Made(Result(job, manifest, seconds, up_to_date=True), None)


def _fetched(archive: Archive, label: str, progress: Progress) -> Source:
    return sources.from_archive(archive.path, archive.asset, archive.sha256, progress, label=label)


def _installation(source: Source, job: Job, blobs: Blobs) -> Tree:
    pruner = Pruner.compile(job.drop, job.keep, stdlib=job.platform.stdlib(job.line))
    tree = unpack(source, pruner, blobs)
    facts = tree.facts
    row = job.platform
    if facts.version and facts.version != job.version:
        raise ArchiveError(f"{source.label} holds Python {facts.version}, not {job.version}", hint=_MISLABELLED)
    if facts.triple and facts.triple != row.triple:
        raise ArchiveError(f"{source.label} is for {facts.triple}, not {row.triple}", hint=_MISLABELLED)
    return tree


_MISLABELLED = "the archive is not what its name says; check the mirror"


def _transformed(tree: Tree, source: Source, job: Job, blobs: Blobs) -> Tree:
    try:
        return transform(tree, job, blobs)
    except ArchiveError as error:
        raise ArchiveError(f"{source.label}: {error.args[0]}", hint=error.hint) from error


def _fingerprint(tree: Tree) -> str:
    """Return the hash of an unpacked folder: what of it would be kept."""
    digest = hashlib.sha256()
    for entry in tree.entries:
        digest.update(sort_key(repr(entry)) + b"\n")
    return digest.hexdigest()


def _preview(
    supply: _Supply, matrix: Matrix, settings: Settings, progress: Progress, blobs: Blobs, *, deep: bool
) -> Preview:
    place = supply.place
    tree = None
    if deep:
        source = (
            place.source
            if isinstance(place, Local)
            else _fetched(_fetch(place, matrix, settings, progress), supply.job.label, progress)
        )
        tree = _transformed(_installation(source, supply.job, blobs), source, supply.job, blobs)
    cached = isinstance(place, Local) or fetch.is_cached(place, supply.known, settings.cache)
    return Preview(supply.job, supply.origin(supply.known), cached, supply.current is not None, tree)


def _check(wanted: Wanted, matrix: Matrix, settings: Settings, progress: Progress) -> None:
    """Find out before any work that an archive cannot be had."""
    fetch.check(
        wanted,
        lock=matrix.lock,
        cache=settings.cache,
        policy=settings.policy,
        progress=progress,
        offline=settings.offline,
        insecure=settings.insecure,
    )


def _fetch(wanted: Wanted, matrix: Matrix, settings: Settings, progress: Progress) -> Archive:
    return fetch.fetch(
        wanted,
        lock=matrix.lock,
        cache=settings.cache,
        policy=settings.policy,
        progress=progress,
        offline=settings.offline,
        insecure=settings.insecure,
    )


@contextmanager
def _fetching(
    supplies: Sequence[_Supply], matrix: Matrix, settings: Settings, progress: Progress
) -> Iterator[Mapping[Job, "Future[Archive]"]]:
    """Fetch in the background what is not up to date; leaving early stops the downloads.

    A server that has gone silent must not hold up who leaves, so the threads are daemons and nobody waits for them;
    what has arrived is on disk for the next run.
    """
    stop = threading.Event()
    watched = _Stoppable(progress, stop)
    slots = threading.Semaphore(_DOWNLOADS)
    futures: dict[Job, Future[Archive]] = {}
    try:
        for supply in supplies:
            if isinstance(supply.place, Wanted):
                future: Future[Archive] = Future()
                futures[supply.job] = future
                work = functools.partial(_fetch, supply.place, matrix, settings, watched)
                threading.Thread(target=_settle, args=(future, work, slots, stop), daemon=True).start()
        yield futures
    finally:
        stop.set()


def _settle(
    future: "Future[Archive]", work: Callable[[], Archive], slots: threading.Semaphore, stop: threading.Event
) -> None:
    with slots:
        if stop.is_set():
            return
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result raises it
            future.set_exception(error)


class _StoppedError(Exception):
    """The run that wanted a download has ended."""


@dataclass(frozen=True, slots=True)
class _Stoppable:
    """Progress that ends a download at its next block once the run has ended."""

    progress: Progress
    stop: threading.Event

    def task(self, label: str, total: int | None = None, *, unit: str = "bytes") -> Task:
        return _StoppableTask(self.progress.task(label, total, unit=unit), self.stop)

    def note(self, message: str) -> None:
        self.progress.note(message)


@dataclass(frozen=True, slots=True)
class _StoppableTask:
    inner: Task
    stop: threading.Event

    def advance(self, amount: int) -> None:
        if self.stop.is_set():
            raise _StoppedError
        self.inner.advance(amount)

    def done(self, note: str = "") -> None:
        self.inner.done(note)
