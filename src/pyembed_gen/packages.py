"""Joins the stages of pip packages: requirements to one bundle for each platform, whole or not at all.

    requirements ─▶ target ─▶ resolve ─▶ closure, skew ─▶ wheels ─▶ sitedir ─▶ pack ─▶ emit

What was chosen is not part of a bundle's recipe, since nobody knows it without asking an index: a bundle is up to date
while what was asked for is the same. ``--upgrade`` asks again.
"""

import hashlib
import json
import os
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from installer.records import parse_record_file
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pyembed_gen import closure, emit, lock, output, payload, piprun, plan, skew, target
from pyembed_gen import requirements as requirements_
from pyembed_gen.blobs import Blobs
from pyembed_gen.download import hash_file
from pyembed_gen.errors import PipError, UsageError
from pyembed_gen.failure import PipFailure, ResolveError
from pyembed_gen.manifest import VERSION, Manifest, Origin
from pyembed_gen.matrix import Matrix, line_of
from pyembed_gen.notes import Notes
from pyembed_gen.output import Result
from pyembed_gen.pack import Packed, Packer, Pending
from pyembed_gen.pipeline import Settings
from pyembed_gen.piprun import Pip
from pyembed_gen.plan import Job
from pyembed_gen.progress import Progress, Task
from pyembed_gen.refusal import IndexFile, Refusal, explain
from pyembed_gen.requirements import Reading, Requirements
from pyembed_gen.resolution import Resolution
from pyembed_gen.resolve import Options, ask, local_path, resolve
from pyembed_gen.sitedir import DROP, foreign_native, site_directory
from pyembed_gen.target import Target
from pyembed_gen.tree import File, Tree
from pyembed_gen.url import shown
from pyembed_gen.wheel import Wheel
from pyembed_gen.wheels import Stored, fetch
from pyembed_gen.workspace import workspace

__all__ = ["Package", "Preview", "Request", "generate", "packages_of", "preview"]


# Raised whenever a change to this program changes the bundle that equal inputs give.
_REVISION = 1
_PIPS = 6  # at once: most of their time they wait for an index
_DIST_INFO = re.compile(r"(?P<name>[^/]+)-(?P<version>[^/-]+)\.dist-info")
_REMOTE = re.compile(r"(https?|ftp)://", re.IGNORECASE)
_FIND_LINKS = "--find-links"
_MISSING = re.compile(r"(?P<requirement>.*?)(?: \(from (?P<asker>.*)\))?")  # as pip has it
_NOT_OFFERED = "give --allow-sdist"
_REMEDIES = 3  # in a line
_Asked: TypeAlias = tuple[tuple[Requirement, ...], tuple[Requirement, ...]]  # requirements, constraints


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for.

    ``bundles`` says for which platforms and Pythons, and where to; ``floors`` are those of :func:`target.choose`.
    ``allow_skew`` accepts several versions of one package; ``upgrade`` asks pip again; ``lock`` does so too, and
    writes what it chose into locks beside the first requirement file.
    """

    bundles: plan.Request
    requirements: Requirements
    options: Options = field(default_factory=Options)
    floors: Mapping[str, str] = field(default_factory=dict)
    allow_skew: bool = False
    upgrade: bool = False
    lock: bool = False

    @property
    def locks(self) -> Path | None:
        """The folder that may have locks: that of the first requirement file, if that is here."""
        first = next(iter(self.requirements.files), "")
        return (self.requirements.folder / first).parent if first and not _REMOTE.match(first) else None


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A distribution in a bundle: its normalised name, and its version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do for one bundle: pack which packages, unless they are there already."""

    job: Job
    packages: tuple[Package, ...]
    up_to_date: bool


def generate(matrix: Matrix, request: Request, settings: Settings, progress: Progress) -> tuple[Result, ...]:
    """Make all bundles that are asked for, unless they are up to date.

    If one is not, all are resolved, so that all agree. Nothing is written unless everything could be made.
    Raises PipError, and the PyembedErrors of the stages.
    """
    progress = Notes(progress)
    since = time.monotonic()
    reading = requirements_.read(request.requirements)
    wanted = _wanted(matrix, request, settings, reading)
    jobs = [one.job for one in wanted]
    if all(one.current for one in wanted):
        output.write(jobs, {}, matrix, progress)
        return tuple(Result(one.job, one.current, 0.0, up_to_date=True) for one in wanted if one.current)
    with (
        workspace(settings.cache) as folder,
        Pip(folder) as pip,
        ThreadPoolExecutor(settings.jobs, "pack") as executor,
    ):
        run = _Run(request, reading, settings, progress, folder, pip)
        with _explaining(matrix):
            resolutions = run.resolve([one.target for one in wanted])
        stored = run.fetch(resolutions)
        locks = _locks(request, reading, resolutions, stored) if request.lock else {}
        wanted = tuple(_relocked(one, locks) for one in wanted) if locks else wanted
        packer = Packer(Blobs(folder), settings.cache.create(settings.cache.packs), jobs[0].codec, executor)
        try:
            made = run.pack(wanted, stored, packer)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        fresh = {one.job: bundle for one, bundle in zip(wanted, made, strict=True) if not _is_there(one, bundle)}
        output.write(jobs, fresh, matrix, progress)
        for path, (resolution, inputs) in locks.items():
            lock.write(path, resolution, inputs)
    seconds = time.monotonic() - since
    return tuple(
        Result(one.job, bundle.manifest, seconds if one.job in fresh else 0.0, up_to_date=one.job not in fresh)
        for one, bundle in zip(wanted, made, strict=True)
    )


def preview(matrix: Matrix, request: Request, settings: Settings, progress: Progress) -> tuple[Preview, ...]:
    """Return what :func:`generate` would do. It asks pip if anything is not up to date, and downloads no wheel."""
    progress = Notes(progress)
    reading = requirements_.read(request.requirements)
    wanted = _wanted(matrix, request, settings, reading)
    if all(one.current for one in wanted):
        return tuple(Preview(one.job, packages_of(one.current), up_to_date=True) for one in wanted if one.current)
    with workspace(settings.cache) as folder, Pip(folder) as pip, _explaining(matrix):
        resolutions = _Run(request, reading, settings, progress, folder, pip).resolve([one.target for one in wanted])
    return tuple(
        Preview(one.job, tuple(Package(item.name, item.version) for item in resolution.items), up_to_date=False)
        for one, resolution in zip(wanted, resolutions, strict=True)
    )


def packages_of(manifest: Manifest) -> tuple[Package, ...]:
    """Return the distributions in a bundle, sorted, by the folders of their metadata."""
    folders = (_DIST_INFO.fullmatch(entry.name) for entry in manifest.entries if entry.kind == "dir")
    return tuple(sorted(Package(canonicalize_name(each["name"]), each["version"]) for each in folders if each))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A bundle to make. ``current`` is the manifest of the one on disk, if that was made from what is asked for."""

    job: Job
    target: Target
    inputs: Sequence[object]
    recipe: str
    current: Manifest | None
    force: bool


def _wanted(matrix: Matrix, request: Request, settings: Settings, reading: Reading) -> tuple[_Wanted, ...]:
    jobs = [replace(job, pbs="", base="", asset="") for job in plan.plan(matrix, request.bundles)]
    inputs = _inputs(request, reading)
    anew = settings.force or request.upgrade or request.lock or inputs is None
    _check_locks(request)
    wanted = []
    for job in jobs:
        chosen = target.choose(job.platform, job.version, request.floors)
        found = _lock(request, chosen)
        recipe = _recipe(job, chosen, inputs or [], _sum(found) if found else "")
        current = None if anew else emit.up_to_date(job.directory, recipe)
        wanted.append(_Wanted(job, chosen, inputs or [], recipe, current, settings.force))
    output.check(jobs, [one.job for one in wanted if not one.current], matrix, packages=True)
    return tuple(wanted)


def _inputs(request: Request, reading: Reading) -> list[object] | None:
    """Return all that decides what is chosen, but for target and index; None if some of it cannot be known.

    Nothing of it says where on this machine files are, or is secret.
    """
    asked = request.requirements
    first = next((name for name in asked.files if not _REMOTE.match(name)), "")
    base = (asked.folder / first).parent if first else asked.folder
    if not all(one.sha256 for one in reading.inputs):
        return None
    options = request.options
    lines = [shlex.split(line.partition(" ")[2]) for line in reading.options if line.startswith(f"{_FIND_LINKS} ")]
    places = [*options.find_links, *(word for words in lines for word in words)]
    here = [path for url in reading.urls if (path := local_path(url)) and path.is_file()]
    return [
        [_near(name, asked.folder, base) for name in asked.files],
        [_near(name, asked.folder, base) for name in asked.constraints],
        [[_near(one.path, asked.folder, base), one.sha256] for one in reading.inputs],
        [shown(string) for string in asked.strings],
        [_sum(path) for path in here],
        [[path.name, _sum(path)] for place in places for path in _wheels_in(place, asked.folder)],
        [shown(url) for url in (options.index_url, *options.extra_index_urls)],
        [shown(place) for place in options.find_links if _REMOTE.match(place)],
        [options.no_index, options.pre, options.require_hashes],
    ]


def _near(name: str, folder: Path, base: Path) -> str:
    """Return a file's path as seen from ``base``, with ``/``."""
    if _REMOTE.match(name):
        return shown(name)
    try:
        return Path(os.path.relpath(folder / name, base)).as_posix()
    except ValueError:  # on another drive
        return Path(name).as_posix()


def _wheels_in(place: str, folder: Path) -> Iterator[Path]:
    """Yield the wheels of a local folder in which pip looks."""
    path = local_path(place) or folder / place
    if not _REMOTE.match(place) and path.is_dir():
        yield from sorted(path.glob("*.whl"))


def _sum(path: Path) -> str:
    try:
        return hash_file(path).sha256
    except OSError as error:
        raise PipError(f"reading {path}: {error.strerror or error}") from error


def _check_locks(request: Request) -> None:
    """Refuse --lock where locks have no place."""
    if request.lock and request.locks is None:
        raise UsageError("--lock writes beside a requirement file, and none is named", hint="name one with -r")


def _lock(request: Request, chosen: Target) -> Path | None:
    """Return the lock that counts for a target."""
    if request.lock or request.locks is None:
        return None
    found = lock.find(request.locks, chosen)
    if found and request.upgrade:
        raise UsageError(f"--upgrade asks for other wheels than {found} holds", hint="give --lock, which renews it")
    return found


def _pre(request: Request, reading: Reading) -> bool:
    """Whether pre-releases are asked for, by an option or in a file."""
    return request.options.pre or "--pre" in reading.options


def _digest(request: Request, reading: Reading, asked: _Asked, folder: Path) -> str:
    """Return what tells whether a lock in a folder is for what is asked for."""
    return lock.digest(*asked, ["--pre"] if _pre(request, reading) else [], folder=folder)


def _locks(
    request: Request, reading: Reading, resolutions: Sequence[Resolution], stored: Sequence[Sequence[Stored]]
) -> dict[Path, tuple[Resolution, str]]:
    """Return what belongs into which lock; by now all sums are known."""
    folder = request.locks
    several = len({line_of(one.target.version) for one in resolutions}) > 1
    locks = {}
    for resolution, each in zip(resolutions, stored, strict=True):
        if folder is not None:
            summed = replace(resolution, items=tuple(one.item for one in each))
            inputs = _digest(request, reading, (resolution.requirements, resolution.constraints), folder)
            locks[lock.destination(folder, resolution.target, several=several)] = (summed, inputs)
    return locks


def _relocked(wanted: _Wanted, locks: Mapping[Path, tuple[Resolution, str]]) -> _Wanted:
    """Return a bundle to make with the recipe that it has once its lock is written."""
    (text,) = (
        lock.render(resolution, inputs, path.parent)
        for path, (resolution, inputs) in locks.items()
        if resolution.target == wanted.target
    )
    recipe = _recipe(wanted.job, wanted.target, wanted.inputs, hashlib.sha256(text.encode()).hexdigest())
    return replace(wanted, recipe=recipe)


def _recipe(job: Job, chosen: Target, inputs: Sequence[object], locked: str) -> str:
    row = job.platform
    values = {
        "revision": _REVISION,
        "format": VERSION,
        "pip": piprun.VERSION,
        "inputs": inputs,
        "lock": locked,
        "target": [row.key, row.triple, row.format, row.machine, row.wheels, row.abi, chosen.version, chosen.floor],
        "environment": dict(chosen.environment),
        "drop": [[rule.name, *rule.patterns] for rule in DROP],
        "codec": [job.codec.name, job.codec.level, payload.library(job.codec), payload.CHUNK],
    }
    return hashlib.sha256(json.dumps([output.PIP, values], sort_keys=True).encode()).hexdigest()


def _is_there(wanted: _Wanted, bundle: Packed) -> bool:
    """Whether what was made anew is what is on disk."""
    found = None if wanted.force else emit.up_to_date(wanted.job.directory, wanted.recipe)
    return found is not None and found.to_json() == bundle.manifest.to_json()


def _check_offline(request: Request, reading: Reading, targets: Sequence[Target]) -> None:
    """Refuse what pip would ask a server for, whatever it is told."""
    remote = [one.path for one in reading.inputs if _REMOTE.match(one.path)]
    if not all(_lock(request, one) for one in targets):
        remote += [line for line in reading.options if line.startswith(_FIND_LINKS) and "://" in line]
        remote += [url for url in reading.urls if _REMOTE.match(url)]
    if remote:
        what = f"resolving {shown(remote[0])}: --offline allows only what is on this machine"
        raise PipError(what, hint="run once with --lock and without --offline")


@contextmanager
def _explaining(matrix: Matrix) -> Iterator[None]:
    """Say of requirements for which pip finds nothing what there is instead."""
    try:
        yield
    except ResolveError as error:
        refusals = [found for each in error.failures if (found := _refusal(each, matrix))]
        if len(refusals) < len(error.failures):
            raise
        groups: dict[str, list[str]] = {}
        for one in refusals:
            asked = f" (which {one.asker} asks for)" if one.asker else ""
            groups.setdefault(f"{one.requirement}{asked}: {one.reason}", []).append(one.target.label)
        parts = (f"hoosing wheels for {'; '.join(labels)}: {what}" for what, labels in groups.items())
        remedies = (remedy for one in refusals for remedy in one.remedies if not remedy.startswith(_NOT_OFFERED))
        hint = ", or ".join([*dict.fromkeys(remedies)][:_REMEDIES])
        raise PipError("c" + ". C".join(parts), hint=hint or error.hint) from error


def _refusal(why: PipFailure, matrix: Matrix) -> Refusal | None:
    """Return why there is nothing, if that is what pip says."""
    match = _MISSING.fullmatch(why.requirement)
    if why.kind != "missing" or why.outcome is None or match is None:
        return None
    try:
        asked = Requirement(match["requirement"])
        lines = why.outcome.asked.constraints if why.outcome.asked else ()
        constraints = [Requirement(line) for line in lines]
    except InvalidRequirement:
        return None
    environment = dict(why.target.environment)
    counting = [one for one in constraints if one.marker is None or one.marker.evaluate(environment)]
    files: dict[str, Sequence[IndexFile]] = {
        canonicalize_name(name): found for name, found in why.outcome.files.items()
    }

    def listing(name: str) -> Sequence[IndexFile] | None:
        # A folder has wheels of others too, and pip takes the page of an index for a file of that name.
        own = [file for file in files.get(name, ()) if canonicalize_name(file.filename).startswith(f"{name}-")]
        return own or None

    asker = match["asker"] or ""
    asker = "" if asker.startswith(("-r ", "-c ")) else asker.replace("==", " ")
    return explain(asked, why.target, listing, versions=matrix.versions, constraints=counting, asker=asker)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A bundle whose files are being compressed."""

    tree: Tree
    pending: Mapping[str, Pending]
    task: Task


@dataclass(frozen=True, slots=True)
class _Run:
    request: Request
    reading: Reading
    settings: Settings
    progress: Progress
    folder: Path
    pip: Pip

    def resolve(self, targets: Sequence[Target]) -> tuple[Resolution, ...]:
        """Choose wheels for all targets, by lock or by pip; they agree unless skew is allowed."""
        if self.settings.offline:
            _check_offline(self.request, self.reading, targets)
        locked = self._locked(targets)
        chosen = resolve(
            self.request.requirements,
            [one for one in targets if one not in locked],
            pip=self.pip,
            folder=self.folder,
            progress=self.progress,
            options=self._options(),
            jobs=_PIPS,
        )
        for one in chosen:
            if locked:
                self.progress.note(f"there is no lock for {one.target.label}; --lock writes one")
            self._tell_prereleases(one)
        found_by_target = {**locked, **{one.target: one for one in chosen}}
        resolutions = tuple(found_by_target[one] for one in targets)
        for found in skew.check(resolutions, allow=self.request.allow_skew):
            names = ", ".join(row.name for row in found.rows)
            self.progress.note(f"platforms get different versions of {names} for Python {found.line}")
        return resolutions

    def _locked(self, targets: Sequence[Target]) -> dict[Target, Resolution]:
        """Return what locks say. pip is asked only how it understands the requirements."""
        paths = {one: found for one in targets if (found := _lock(self.request, one))}
        if not paths:
            return {}
        asked = ask(self.request.requirements, targets[0], pip=self.pip, options=self._options())
        return {
            one: lock.read(path, one, *asked, inputs=_digest(self.request, self.reading, asked, path.parent))
            for one, path in paths.items()
        }

    def _tell_prereleases(self, resolution: Resolution) -> None:
        if not _pre(self.request, self.reading):
            for line in closure.prereleases(resolution.requirements, resolution, resolution.constraints):
                self.progress.note(line)

    def fetch(self, resolutions: Sequence[Resolution]) -> tuple[tuple[Stored, ...], ...]:
        """Return the wheels of each resolution."""
        return fetch(
            resolutions,
            requirements=self.request.requirements,
            pip=self.pip,
            cache=self.settings.cache,
            workspace=self.folder,
            progress=self.progress,
            options=self._options(),
            offline=self.settings.offline,
            jobs=_PIPS,
        )

    def pack(self, wanted: Sequence[_Wanted], stored: Sequence[Sequence[Stored]], packer: Packer) -> tuple[Packed, ...]:
        """Make the bundles; while one is unpacked, those before it are compressed."""
        begun = [self._begin(one, each, packer) for one, each in zip(wanted, stored, strict=True)]
        made = []
        for one, each, started in zip(wanted, stored, begun, strict=True):
            origin = _origin(one, each)
            made.append(packer.finish(started.tree, started.pending, recipe=one.recipe, origin=origin))
            started.task.done()
        return tuple(made)

    def _begin(self, wanted: _Wanted, stored: Sequence[Stored], packer: Packer) -> _Begun:
        row = wanted.job.platform
        tree = site_directory([_wheel(each) for each in stored], packer.blobs, drop=DROP, platform=row)
        self._check_native(tree, packer.blobs, wanted, stored)
        task = self.progress.task(f"packing for {wanted.target.label}", sum(file.size for file in tree.files))
        return _Begun(tree, packer.start(tree, task), task)

    def _check_native(self, tree: Tree, blobs: Blobs, wanted: _Wanted, stored: Sequence[Stored]) -> None:
        row = wanted.job.platform
        for each in foreign_native(tree, blobs, row):
            whose = _owner(each.name, tree, blobs, stored)
            problem = f"{each.name} of {whose} is {each.found}, not {row.format} for {row.machine}"
            if each.fatal:
                hint = f"report it to who built that wheel, or leave {row.key} out with --only-platforms"
                raise PipError(f"packing for {wanted.target.label}: {problem}", hint=hint)
            self.progress.note(f"{wanted.target.label}: {problem}; it is packed as data")

    def _options(self) -> Options:
        """Return pip's options; offline it looks only where files are."""
        options = self.request.options
        if not self.settings.offline:
            return options
        links = tuple(place for place in options.find_links if not _REMOTE.match(place))
        return replace(options, index_url="", extra_index_urls=(), find_links=links, no_index=True)


def _wheel(stored: Stored) -> Wheel:
    item = stored.item
    direct = b""
    if item.direct and local_path(item.url) is None:  # a path of this machine is nobody else's business
        info = {"archive_info": {"hashes": {"sha256": item.sha256}}, "url": item.url}  # PEP 610
        direct = json.dumps(info, sort_keys=True).encode()
    return Wheel(stored.path, item.filename, item.name, item.version, item.requested, direct)


def _origin(wanted: _Wanted, stored: Iterable[Stored]) -> Origin:
    sums = sorted(f"{each.item.sha256} {each.item.filename}" for each in stored)
    return Origin(
        python=wanted.job.version,
        pbs="",
        triple=wanted.job.platform.triple,
        flavour=output.PIP,
        archive="wheels",
        sha256=hashlib.sha256("\n".join(sums).encode()).hexdigest(),
        portable=True,
    )


def _owner(name: str, tree: Tree, blobs: Blobs, stored: Iterable[Stored]) -> str:
    """Return the file name of the wheel that has a file."""
    filenames = {each.item.name: each.item.filename for each in stored}
    for folder in {file.name.partition("/")[0] for file in tree.files}:
        match = _DIST_INFO.fullmatch(folder)
        record = tree.by_name.get(f"{folder}/RECORD")
        if match and isinstance(record, File):
            with blobs.path(record.sha256).open(encoding="utf-8", newline="") as rows:
                if any(row[0] == name for row in parse_record_file(rows)):
                    return filenames.get(canonicalize_name(match["name"]), folder)
    return "a wheel"
