"""Why a requirement has no wheel for a target, what there is instead, and what to try: the cheapest first.

``resolve`` (or whoever shows its errors) calls :func:`explain` once pip has said that it finds nothing for a
requirement; pip names versions, never what their wheels are for. The files that an index has come from a callable, so
that nothing here asks the network. What is proposed was tried: with that floor or that Python a wheel fits.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from pyembed_gen.closure import takes_python
from pyembed_gen.errors import PipError, UsageError
from pyembed_gen.matrix import line_number, line_of
from pyembed_gen.target import Target
from pyembed_gen.url import shown

__all__ = ["IndexFile", "Listing", "Refusal", "explain"]

_SOURCE = "there is no wheel of it, only source"
_REMEDIES = 3  # in a line
_PLATFORMS = 6
_LIBRARIES = MappingProxyType({"manylinux": "glibc", "musllinux": "musl", "macosx": "macos"})
_NEWEST = MappingProxyType({"manylinux": "2.99", "musllinux": "1.99"})  # floors above all that wheels ask for
_OTHER = MappingProxyType({"manylinux": "musllinux", "musllinux": "manylinux"})
_COUNTED = re.compile(r"(manylinux|musllinux|macosx)_([0-9]{1,3})_([0-9]{1,3})_\w+")
_ALIASED = ("2.5", "2.12", "2.17")  # glibc of manylinux1, manylinux2010 and manylinux2014
_READABLE = (
    (re.compile(r"(many|musl)?linux(_\d+_\d+|\d*)_"), "Linux "),
    (re.compile(r"macosx_\d+_\d+_"), "macOS "),
    (re.compile(r"win_"), "Windows "),
)


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file of an index: its name, its Requires-Python, and whether it was yanked (PEP 503, 592, 691)."""

    filename: str
    requires_python: str = ""
    yanked: bool = False


class Listing(Protocol):
    """Says which files the indexes in use have of a project."""

    def __call__(self, name: str, /) -> Sequence[IndexFile] | None:
        """Return the files of a normalised name, None if no index knows it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a target gets no wheel of a requirement.

    ``requirement`` is as it was written, without marker; ``asker`` is who has it, ``pandas 3.0.1``, empty for the
    requirement files. ``reason`` is a clause; ``remedies`` are what to try, each an imperative, the cheapest first.
    """

    requirement: str
    asker: str
    target: Target
    reason: str
    remedies: tuple[str, ...]

    def error(self) -> PipError:
        """Return the refusal as the error to raise."""
        asked = f" (which {self.asker} asks for)" if self.asker else ""
        message = f"choosing wheels for {self.target.label}: {self.requirement}{asked}: {self.reason}"
        return PipError(message, hint=", or ".join(self.remedies))


def explain(
    requirement: Requirement,
    target: Target,
    listing: Listing,
    *,
    versions: Sequence[str] = (),
    constraints: Sequence[Requirement] = (),
    asker: str = "",
) -> Refusal:
    """Return why no wheel of a requirement fits a target.

    ``versions`` are the Pythons that may be proposed, as 3.14.9, one a line. ``constraints`` are all in use whose
    markers hold.
    """
    name = canonicalize_name(requirement.name)
    files = listing(name)
    case = _Case(name, requirement, target, versions, constraints, _parsed(name, files or ()))
    reason, remedies = case.unknown() if files is None else case.explained()
    written = shown(str(requirement).partition(";")[0].strip())
    return Refusal(written, asker, target, reason, tuple(remedies[:_REMEDIES]))


@dataclass(frozen=True, slots=True)
class _File:
    """A wheel, or a source distribution if it has no tags."""

    version: Version
    tags: frozenset[Tag]
    requires_python: str
    yanked: bool


class _Fitting:
    """Whether files fit a target; its tags are computed once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._tags = frozenset(target.tags)

    def among(self, files: Iterable[_File]) -> list[_File]:
        """Return the wheels that fit."""
        return [file for file in files if not self._tags.isdisjoint(file.tags) and self.takes(file)]

    def takes(self, file: _File) -> bool:
        """Whether the file is for this Python."""
        return takes_python(file.requires_python, self._target.version)


@dataclass(frozen=True, slots=True)
class _Way:
    """A way out: what stands in it, empty if that goes without saying, and what to do."""

    reason: str
    remedy: str


@dataclass(frozen=True)
class _Case:
    """A requirement, a target, and the files that there are."""

    name: str
    requirement: Requirement
    target: Target
    versions: Sequence[str]
    constraints: Sequence[Requirement]
    files: Sequence[_File]

    def unknown(self) -> tuple[str, list[str]]:
        """No index has that name."""
        return "no index in use has a package of this name", [
            "check its spelling",
            "name the index that has it with --extra-index-url",
        ]

    def explained(self) -> tuple[str, list[str]]:
        """Return the reason, and all remedies."""
        if not self.files:
            return "there are neither wheels nor source of it", ["check its spelling, and the index"]
        if not self._matching:
            return self._no_version()
        if self._fitting.among(self._usable):
            newest = max(file.version for file in self._fitting.among(self._usable))
            reason = f"{newest} has a wheel that fits, and something else excludes it"
            return reason, ["loosen the other requirements, constraints and hashes of it"]
        ways = [*self._withdrawn(), *self._floor(), *self._source(), *self._other_versions(), *self._pythons()]
        ways += self._both() if not ways else ()
        told = next((way.reason for way in ways if way.reason), "") or next(self._nearly(), "") or self._elsewhere()
        remedies = [way.remedy for way in ways][: _REMEDIES - 1]
        return told, [*remedies, f"leave {self.target.platform.key} out with --only-platforms"]

    @cached_property
    def _specifiers(self) -> Sequence[Requirement]:
        """What limits the versions."""
        own = [one for one in self.constraints if canonicalize_name(one.name) == self.name]
        return (self.requirement, *own)

    @cached_property
    def _matching(self) -> Sequence[_File]:
        """The files of all versions that are asked for."""
        return [file for file in self.files if self._is_asked_for(file)]

    def _is_asked_for(self, file: _File) -> bool:
        return all(one.specifier.contains(file.version, prereleases=True) for one in self._specifiers)

    @cached_property
    def _usable(self) -> Sequence[_File]:
        """Those of them that pip considers first: not yanked, unless pinned, and final, unless asked for."""
        operators = [one.operator for limit in self._specifiers for one in limit.specifier if "*" not in one.version]
        pinned = not {"==", "==="}.isdisjoint(operators)
        files = [file for file in self._matching if pinned or not file.yanked]
        if any(limit.specifier.prereleases for limit in self._specifiers):
            return files
        return [file for file in files if not file.version.is_prerelease] or files

    @cached_property
    def _fitting(self) -> _Fitting:
        return _Fitting(self.target)

    def _no_version(self) -> tuple[str, list[str]]:
        anchors = [*_anchors(self._specifiers)]
        good = [file for file in self.files if not file.yanked and not file.version.is_prerelease]
        fitting = self._fitting.among(good)
        near = _nearest([file.version for file in fitting or good or self.files], anchors)
        limits = [shown(str(one)) for one in self._specifiers[1:]]
        also = f" that the constraint {', '.join(limits)} allows" if limits else ""
        has = "with a wheel that fits " if fitting else ""
        return f"there is no such version{also}; the nearest {has}{_are(near)}", [f"ask for {self.name} {_or(near)}"]

    def _withdrawn(self) -> Iterator[_Way]:
        """Pre-releases and yanked versions."""
        fitting = self._fitting.among(self._matching)
        early = [file.version for file in fitting if not file.yanked]
        yanked = [file.version for file in fitting if file.yanked]
        if early:
            pin = f"{self.name}=={max(early)}"
            yield _Way("only pre-releases have a wheel that fits", f"pin it ({pin}) or give --pre")
        elif yanked:
            pin = f"{self.name}=={max(yanked)}"
            reason = "only versions that were withdrawn (yanked) have a wheel that fits"
            yield _Way(reason, f"pin it ({pin}) if you know why it was")

    def _floor(self) -> Iterator[_Way]:
        found = _least_floor(self._usable, self.target)
        if found:
            library = _LIBRARIES[_family(self.target)]
            yield _Way(f"its wheels need {_spelled(library)} {found}", f"give --{library} {found}")

    def _source(self) -> Iterator[_Way]:
        """Source that may be built: not where there are wheels with native code."""
        has_source = any(not file.tags and self._fitting.takes(file) for file in self._usable)
        if has_source and not _platforms(self._matching):
            has_wheels = any(file.tags for file in self._usable)
            reason = "" if has_wheels else _SOURCE
            yield _Way(reason, f"give --allow-sdist {self.name}, which builds it if it is pure Python")

    def _other_versions(self) -> Iterator[_Way]:
        """Versions that are not asked for: the next newer one, or else the newest."""
        others = [file for file in self.files if not file.yanked and not file.version.is_prerelease]
        versions = [file.version for file in self._fitting.among(others) if not self._is_asked_for(file)]
        newest = max(file.version for file in self._matching)
        if newer := [version for version in versions if version > newest]:
            yield _Way("", f"ask for {self.name} {min(newer)}")
        elif versions:
            yield _Way("", f"ask for {self.name} {max(versions)}")

    def _pythons(self) -> Iterator[_Way]:
        lines = [line_of(version) for version, target in self._retargeted() if _Fitting(target).among(self._usable)]
        if lines:
            more = f" ({', '.join(lines[1:])} would do too)" if lines[1:] else ""
            reason = f"it has wheels for this platform, but for Python {', '.join(lines)}"
            yield _Way(reason, f"give --python {lines[0]}{more}")

    def _both(self) -> Iterator[_Way]:
        """Another Python on a newer floor."""
        for version, target in self._retargeted():
            found = _least_floor(self._usable, target)
            if found:
                library = _LIBRARIES[_family(self.target)]
                reason = f"its wheels need {_spelled(library)} {found} and Python {line_of(version)}"
                yield _Way(reason, f"give --{library} {found} --python {line_of(version)}")
                return

    def _retargeted(self) -> Iterator[tuple[str, Target]]:
        """Yield the target with the other Pythons, newest first."""
        own = line_of(self.target.version)
        for version in sorted(self.versions, key=lambda one: line_number(line_of(one)), reverse=True):
            line = line_of(version)
            if line != own and self.target.platform.has_line(line):
                yield version, replace(self.target, version=version)

    def _nearly(self) -> Iterator[str]:
        """Yield what wheels are for that nearly fit, where no option would help."""
        platform = self.target.platform
        if platform.abi and _Fitting(replace(self.target, platform=replace(platform, abi=""))).among(self._usable):
            yield "its wheels are for the build with the GIL, and abi3 does not count here"
        other = _OTHER.get(_family(self.target))
        if other:
            wheels = f"{other} {platform.wheels.partition(' ')[2]}"
            row = replace(platform, wheels=wheels, floor=_NEWEST[other], oldest=_NEWEST[other])
            if _Fitting(Target(row, self.target.version, row.floor)).among(self._usable):
                yield f"its wheels for Linux need {_LIBRARIES[other]}"

    def _elsewhere(self) -> str:
        """Say which platforms there are wheels for, whatever their Python."""
        wheels = [file for file in self._usable if file.tags]
        platforms = _platforms(wheels)
        if not self._usable:
            return "all such versions were withdrawn (yanked)"
        if not wheels:
            return _SOURCE
        if not platforms:
            return "its wheels are for other Pythons"
        more = ", ..." if platforms[_PLATFORMS:] else ""
        return f"its wheels are for {', '.join(platforms[:_PLATFORMS])}{more}"


def _parsed(name: str, files: Iterable[IndexFile]) -> list[_File]:
    """Read the names of files; what is no wheel and no source distribution of that name is passed over, as pip does."""
    found = []
    for file in files:
        try:
            if file.filename.endswith(".whl"):
                own, version, _, tags = parse_wheel_filename(file.filename)
            else:
                (own, version), tags = parse_sdist_filename(file.filename), frozenset()
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
        if own == name:
            found.append(_File(version, tags, file.requires_python, file.yanked))
    return found


def _family(target: Target) -> str:
    """Return the family of platform tags, or the one whole tag."""
    return target.platform.wheels.partition(" ")[0]


def _least_floor(files: Sequence[_File], target: Target) -> str:
    """Return the least floor above the target's with which a file fits, empty if there is none."""
    family = _family(target)
    counted = (_COUNTED.fullmatch(tag.platform) for file in files for tag in file.tags)
    floors = {f"{match[2]}.{match[3]}" for match in counted if match and match[1] == family}
    if family == "manylinux":
        floors.update(_ALIASED)
    for floor in sorted(floors, key=Version):
        if target.floor and Version(floor) > Version(target.floor) and _fits_on(files, target, floor):
            return floor
    return ""


def _fits_on(files: Sequence[_File], target: Target, floor: str) -> bool:
    try:
        return bool(_Fitting(replace(target, floor=floor)).among(files))
    except UsageError:
        return False  # no floor that there can be, whatever a wheel says


def _spelled(library: str) -> str:
    return "macOS" if library == "macos" else library


def _platforms(files: Iterable[_File]) -> list[str]:
    """Return the platforms that wheels are bound to, in words, without the versions of systems."""
    found = set()
    for platform in {tag.platform for file in files for tag in file.tags} - {"any"}:
        words = platform
        for pattern, word in _READABLE:
            words = pattern.sub(word, words)
        found.add(words)
    return sorted(found)


def _anchors(requirements: Iterable[Requirement]) -> Iterator[Version]:
    """Yield the versions that specifiers name."""
    for requirement in requirements:
        for one in requirement.specifier:
            try:
                yield Version(one.version.removesuffix(".*"))
            except InvalidVersion:
                continue


def _nearest(versions: Sequence[Version], anchors: Sequence[Version]) -> list[Version]:
    """Return the version next below the anchors and the one next above, as far as there are such; else the newest."""
    if not anchors:
        return [max(versions)]
    below = [version for version in versions if version <= min(anchors)]
    above = [version for version in versions if version >= max(anchors)]
    near = [*([max(below)] if below else []), *([min(above)] if above else [])]
    return list(dict.fromkeys(near)) or [max(versions)]


def _or(versions: Sequence[Version]) -> str:
    return " or ".join(map(str, versions))


def _are(versions: Sequence[Version]) -> str:
    return f"{'are' if versions[1:] else 'is'} {' and '.join(map(str, versions))}"
