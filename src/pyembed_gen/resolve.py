"""What pip chooses for a target: requirements to exact wheels, for each target on its own.

pip is asked what it would install (``--dry-run --report``), in a process in which a canary went first: what a pip
says that is not steered is never used. Of its report only what can be a wheel is taken.
"""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

from packaging.markers import InvalidMarker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from pyembed_gen import canary, closure, failure
from pyembed_gen.download import hash_file
from pyembed_gen.errors import PipError
from pyembed_gen.failure import PipFailure, ResolveError
from pyembed_gen.piprun import VERSION, Command, Outcome, Pip, warning
from pyembed_gen.progress import Progress
from pyembed_gen.requirements import Requirements, read
from pyembed_gen.resolution import Item, Resolution
from pyembed_gen.target import Target
from pyembed_gen.url import shown

__all__ = ["COMMON", "Options", "ask", "cleaned", "local_path", "resolve"]

COMMON = ("--only-binary=:all:", "--no-color", "--no-input", "--disable-pip-version-check", "--progress-bar=off")
"""Arguments of every command: wheels alone, and output that is read by a program."""
_RESOLVE = ("install", "--dry-run", "--ignore-installed", "--root-user-action=ignore", *COMMON)
_REPORT_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line that are pip's: where to look, and what may be chosen.

    They come on top of what requirement files and the settings of the machine say, as with pip.
    """

    index_url: str = field(default="", repr=False)
    extra_index_urls: tuple[str, ...] = field(default=(), repr=False)
    find_links: tuple[str, ...] = field(default=(), repr=False)
    no_index: bool = False
    trusted_hosts: tuple[str, ...] = ()
    pre: bool = False
    require_hashes: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """The options that say where to look, and whether at pre-releases."""
        return (
            *([f"--index-url={self.index_url}"] if self.index_url else []),
            *(f"--extra-index-url={url}" for url in self.extra_index_urls),
            *(f"--find-links={place}" for place in self.find_links),
            *(["--no-index"] if self.no_index else []),
            *(f"--trusted-host={host}" for host in self.trusted_hosts),
            *(["--pre"] if self.pre else []),
        )

    @property
    def arguments(self) -> tuple[str, ...]:
        """All options."""
        return (*self.sources, *(["--require-hashes"] if self.require_hashes else []))


def resolve(
    requirements: Requirements,
    targets: Sequence[Target],
    *,
    pip: Pip,
    folder: Path,
    progress: Progress,
    options: Options | None = None,
    jobs: int = 0,
) -> tuple[Resolution, ...]:
    """Return what satisfies the requirements for each target, in their order.

    ``folder`` is for temporary files. ``jobs`` is how many pips run at once; 0: as many as there are processors. An
    error other than ResolveError stops ``pip`` for good.

    Raises PipError for requirements that cannot be read or cannot be wheels and for a pip that cannot be steered, and
    ResolveError, which has all targets that fail, if for some there is no solution.
    """
    read(requirements)  # before pip: what cannot be a wheel is refused, with its place
    question = _Question(requirements, options or Options(), pip, folder, progress)
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1, "pip") as pool:
        try:
            answers = [*pool.map(question.ask, targets)]
        except BaseException:
            pip.stop()
            pool.shutdown(cancel_futures=True)
            raise
    failures = [answer for answer in answers if isinstance(answer, PipFailure)]
    if failures:
        raise ResolveError(failures)
    return tuple(answer for answer in answers if isinstance(answer, Resolution))


def ask(
    requirements: Requirements, target: Target, *, pip: Pip, options: Options | None = None
) -> tuple[tuple[Requirement, ...], tuple[Requirement, ...]]:
    """Return the requirements and the constraints, as pip understands them; they are the same for every target.

    Of requirements only the files are read. Raises PipError and ResolveError as :func:`resolve` does.
    """
    read(requirements)
    arguments = (*_RESOLVE, *target.options, *_arguments(requirements, options or Options()))
    outcome = pip.run([Command(arguments, telling="only")], target, cwd=requirements.folder)
    if outcome.codes != (0,):
        raise ResolveError([failure.read(outcome, target)])
    return _asked(outcome, target)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is the same for all targets."""

    requirements: Requirements
    options: Options
    pip: Pip
    folder: Path
    progress: Progress

    def ask(self, target: Target) -> Resolution | PipFailure:
        """Ask pip."""
        task = self.progress.task(f"resolving for {target.label}", unit="packages")
        ended = "failed"

        def watch(line: str) -> None:
            if line.startswith(("Collecting ", "Processing ")):
                task.advance(1)
            elif text := warning(line):
                self.progress.note(f"pip for {target.label}: {text}")

        try:
            with TemporaryDirectory(prefix="canary-", dir=self.folder, ignore_cleanup_errors=True) as name:
                wheels, proof, report = Path(name), Path(name) / "canary.json", Path(name) / "report.json"
                canary.write(wheels, target)
                arguments = _arguments(self.requirements, self.options)
                commands = [
                    canary.command(wheels, target, proof, (*_RESOLVE, *target.options)),
                    Command((*_RESOLVE, *target.options, f"--report={report}", *arguments), telling="also"),
                ]
                outcome = self.pip.run(commands, target, cwd=self.requirements.folder, watch=watch)
                canary.check(_json(proof), target)
                if outcome.codes != (0, 0):
                    return replace(failure.read(outcome, target), outcome=outcome)
                resolution = _checked(_items(_json(report), target), outcome, target)
            ended = f"{len(resolution.items)} packages"
            return resolution
        finally:
            task.done(ended)


def _arguments(requirements: Requirements, options: Options) -> tuple[str, ...]:
    return (
        *options.arguments,
        *(f"--requirement={name}" for name in requirements.files),
        *(f"--constraint={name}" for name in requirements.constraints),
        "--",
        *requirements.strings,
    )


def _checked(items: tuple[Item, ...], outcome: Outcome, target: Target) -> Resolution:
    """Return a resolution that was found out to be what was asked for. Raises PipError if it is not."""
    requirements, constraints = _asked(outcome, target)
    resolution = Resolution(target, items, requirements, constraints)
    closure.check(requirements, resolution, constraints)
    return resolution


def _asked(outcome: Outcome, target: Target) -> tuple[tuple[Requirement, ...], tuple[Requirement, ...]]:
    """Return the requirements and the constraints that pip was asked for."""
    if outcome.asked is None:
        raise PipError(f"resolving for {target.label}: pip did not tell what it was asked for")
    return (
        tuple(_parsed(line, target) for line in outcome.asked.requirements),
        tuple(_parsed(line, target) for line in outcome.asked.constraints),
    )


def _parsed(line: str, target: Target) -> Requirement:
    try:
        return Requirement(line)
    except InvalidRequirement as error:
        raise PipError(f"resolving {shown(line)!r} for {target.label}: {shown(str(error))}") from error


def local_path(url: str) -> Path | None:
    """Return the path that a file: URL names, None for any other URL."""
    parts = urlsplit(url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None


def _items(report: Mapping[str, Any] | None, target: Target) -> tuple[Item, ...]:
    """Read pip's report. Raises PipError if it is not the one that is known, or if something in it is no wheel."""
    if report is None or (report["version"], report["pip_version"]) != (_REPORT_VERSION, VERSION):
        raise PipError(f"resolving for {target.label}: pip wrote no report of version {_REPORT_VERSION}")
    if report["environment"] != target.environment:
        raise PipError(f"resolving for {target.label}: pip's markers saw another environment")
    items = sorted((_item(entry, target) for entry in report["install"]), key=lambda item: item.name)
    if len({item.name for item in items}) < len(items):
        raise PipError(f"resolving for {target.label}: pip's report has a package twice")
    extras = _extras(report, items, target)
    return tuple(replace(item, extras=tuple(sorted(extras[item.name]))) for item in items)


def _item(entry: Mapping[str, Any], target: Target) -> Item:
    metadata, download = entry["metadata"], entry["download_info"]
    label = f"{metadata['name']} {metadata['version']}"
    url = cleaned(download["url"])
    filename = unquote(urlsplit(url).path.rpartition("/")[2])
    try:
        name, version, _, _ = parse_wheel_filename(filename)
        same = (name, version) == (canonicalize_name(metadata["name"]), Version(metadata["version"]))
    except (InvalidWheelFilename, InvalidVersion):
        same = False
    if not same or "archive_info" not in download:
        hint = "build a wheel of it (pip wheel --no-deps) and name that"
        raise PipError(f"resolving {label} for {target.label}: {shown(url)} is no wheel of it", hint=hint)
    return Item(
        name=canonicalize_name(metadata["name"]),
        version=str(Version(metadata["version"])),
        url=url,
        filename=filename,
        sha256=_sum(download["archive_info"], url, label),
        requires=tuple(metadata.get("requires_dist", ())),
        requires_python=metadata.get("requires_python", ""),
        requested=entry["requested"],
        direct=entry["is_direct"],
    )


def _sum(archive: Mapping[str, Any], url: str, label: str) -> str:
    """Return the sum that the index gives. A file that is here is its own witness; else it is found out later."""
    path = local_path(url)
    if path is None:
        return str(archive.get("hashes", {}).get("sha256", "")).lower()
    try:
        return hash_file(path).sha256
    except OSError as error:
        raise PipError(f"reading {label} from {path}: {error.strerror or error}") from error


def cleaned(url: str) -> str:
    """Return a URL without what may be secret: user, password, a signed query; and without a fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _extras(report: Mapping[str, Any], items: Sequence[Item], target: Target) -> dict[str, set[str]]:
    """Return the extras of each package that are asked for, by requirements or by other packages."""
    found: dict[str, set[str]] = {item.name: set() for item in items}
    for entry in report["install"]:
        name = canonicalize_name(entry["metadata"]["name"])
        found[name] |= {canonicalize_name(extra) for extra in entry.get("requested_extras", ())}
    known = -1
    while known < sum(map(len, found.values())):
        known = sum(map(len, found.values()))
        for item in items:
            for needed in _needed(item, found[item.name], target):
                if needed.extras:
                    found.get(canonicalize_name(needed.name), set()).update(map(canonicalize_name, needed.extras))
    return found


def _needed(item: Item, extras: set[str], target: Target) -> list[Requirement]:
    """Return the requirements of a package that count for the target."""
    needed = []
    for text in item.requires:
        try:
            requirement = Requirement(text)
        except (InvalidRequirement, InvalidMarker) as error:
            raise PipError(f"reading the metadata of {item.name} {item.version}: {text!r}: {error}") from error
        marker = requirement.marker
        environments = ({**target.environment, "extra": extra} for extra in ("", *sorted(extras)))
        if marker is None or any(marker.evaluate(environment) for environment in environments):
            needed.append(requirement)
    return needed
