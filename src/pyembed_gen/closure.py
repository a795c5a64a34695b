"""Whether a resolution is what its requirements ask for on its target, found out with ``packaging`` alone.

``resolve`` calls :func:`check` for what pip gave: pip is steered in ways that it does not promise to keep, so that it
is not taken at its word. ``lock`` calls :func:`problems` for what a lock file holds, which no pip has seen.
The rules are pip's: a requirement counts if its marker holds for no extra or for one that is asked for; requirements
of all extras add up; specifiers take pre-releases here, since whether to look at them was decided before.
"""

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote, urlsplit

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, is_normalized_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from pyembed_gen.errors import PipError
from pyembed_gen.resolution import Item, Resolution
from pyembed_gen.target import Target
from pyembed_gen.url import shown

__all__ = ["check", "location", "prereleases", "problems", "takes_python"]

_HINT = (
    "pip did not resolve as this program made it to: reinstall pyembed-gen together with the pip that it asks for, "
    "and report it if that does not help"
)
_FILES, _CONSTRAINTS = "the requirements ask", "the constraints ask"


def check(requirements: Sequence[Requirement], resolution: Resolution, constraints: Sequence[Requirement] = ()) -> None:
    """Raise PipError if pip's resolution is not the closure of the requirements, or if one of its wheels does not fit.

    ``requirements`` and ``constraints`` are those of the files and the command line, one each; one that names a URL
    or a local wheel is there as ``name @ url``.
    """
    found = problems(requirements, resolution, constraints)
    if found:
        more = f" (and {len(found) - 1} more such problems)" if len(found) > 1 else ""
        raise PipError(f"checking what pip chose for {resolution.target.label}: {found[0]}{more}", hint=_HINT)


def problems(
    requirements: Sequence[Requirement], resolution: Resolution, constraints: Sequence[Requirement] = ()
) -> tuple[str, ...]:
    """Return what is wrong with a resolution, one clause each; nothing if it is the requirements' closure and fits.

    Each clause names who asks for what and what was chosen; the target is not named.
    """
    closure = _Closure(resolution)
    closure.follow(requirements)
    closure.constrain(constraints)
    found = [
        *closure.broken,
        *(problem for demand in closure.demands for problem in closure.unmet(demand)),
        *closure.unasked(),
    ]
    tags = frozenset(resolution.target.tags)
    for item in resolution.items:
        found += _misfits(item, resolution.target, tags)
    return tuple(dict.fromkeys(found))


def prereleases(
    requirements: Sequence[Requirement], resolution: Resolution, constraints: Sequence[Requirement] = ()
) -> tuple[str, ...]:
    """Return, as one line each, the wheels of pre-releases that no specifier speaks of.

    pip takes one where no final release has a wheel that fits, without a word.
    """
    closure = _Closure(resolution)
    closure.follow(requirements)
    closure.constrain(constraints)
    asked = {demand.name for demand in closure.demands if demand.requirement.specifier.prereleases}
    return tuple(
        f"{_label(item)} is a pre-release that nothing asks for: no final release has a wheel for "
        f"{resolution.target.label}"
        for item in resolution.items
        if item.name not in asked and not item.direct and (version := _version(item)) and version.is_prerelease
    )


def location(url: str) -> str:
    """Return a URL without what may be secret or does not tell where the file is: user, password, query, fragment."""
    return re.sub(r"[?#].*", "", re.sub(r"://[^/]*@", "://", url), flags=re.DOTALL)


def takes_python(requires_python: str, version: str) -> bool:
    """Whether a Requires-Python takes a version of CPython, as pip has it.

    pip compares the release, so that 3.15.0rc1 is a 3.15, and takes a specifier that it cannot read for none.
    """
    try:
        specifiers = SpecifierSet(requires_python)
    except InvalidSpecifier:
        return True
    return specifiers.contains(Version(version).base_version, prereleases=True)


@dataclass(frozen=True, slots=True)
class _Demand:
    """A requirement that counts on the target, and who has it."""

    asker: str
    requirement: Requirement

    @property
    def name(self) -> str:
        """The name that it asks for, normalised."""
        return canonicalize_name(self.requirement.name)

    def __str__(self) -> str:
        return f"{self.asker} for {shown(str(self.requirement))}"


class _Closure:
    """What counts of the requirements, followed through the items of a resolution."""

    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution
        self._items: Mapping[str, Item] = {canonicalize_name(item.name): item for item in resolution.items}
        self._reached: set[tuple[str, str]] = set()  # name and extra, empty for the distribution itself
        self._constraints: list[_Demand] = []
        self._asked: list[_Demand] = []
        self.broken: list[str] = []

    @property
    def demands(self) -> Sequence[_Demand]:
        """All that count, with constraints."""
        return (*self._asked, *self._constraints)

    def constrain(self, constraints: Sequence[Requirement]) -> None:
        """Take over the constraints that speak of an item."""
        counting = self._counting(_CONSTRAINTS, constraints, "")
        self._constraints += [demand for demand in counting if demand.name in self._items]

    def follow(self, requirements: Sequence[Requirement]) -> None:
        """Collect what the requirements ask for, and what that asks for in turn."""
        pending = deque(self._counting(_FILES, requirements, ""))
        while pending:
            demand = pending.popleft()
            self._asked.append(demand)
            for extra in ("", *sorted(map(canonicalize_name, demand.requirement.extras))):
                pending.extend(self._reach(demand.name, extra))

    def unmet(self, demand: _Demand) -> Iterator[str]:
        """Yield what is wrong with the item that a demand names."""
        item = self._items.get(demand.name)
        if item is None:
            yield f"{demand}, and nothing was chosen"
            return
        url = demand.requirement.url
        if url is not None:
            if _place(url) != _place(item.url):
                yield f"{demand}, and {shown(item.url)} was chosen"
            return
        version = _version(item)
        if version is None or not demand.requirement.specifier.contains(version, prereleases=True):
            yield f"{demand}, and {item.version} was chosen"

    def unasked(self) -> Iterator[str]:
        """Yield the items that nobody asks for, or not in that way."""
        names = {demand.name for demand in self._asked}
        by_url = {demand.name for demand in self.demands if demand.requirement.url}
        for name, item in self._items.items():
            if name not in names:
                yield f"{_label(item)} was chosen, and nothing asks for it"
            elif item.direct and name not in by_url:
                yield f"{_label(item)} was chosen from {shown(item.url)}, and nothing asks for that URL"
        if len(self._items) != len(self._resolution.items):
            yield "a name was chosen twice"

    def _reach(self, name: str, extra: str) -> Sequence[_Demand]:
        """Return what an item requires with an extra, or without any; nothing the second time."""
        item = self._items.get(name)
        if item is None or (name, extra) in self._reached:
            return ()
        self._reached.add((name, extra))
        parsed = (self._parsed(item, text) for text in item.requires)
        return self._counting(f"{_label(item)} asks", [found for found in parsed if found], extra)

    def _parsed(self, item: Item, text: str) -> Requirement | None:
        try:
            return Requirement(text)
        except InvalidRequirement:
            self.broken.append(f"{_label(item)} asks for {text!r}, which is no requirement")
            return None

    def _counting(self, asker: str, requirements: Sequence[Requirement], extra: str) -> list[_Demand]:
        demands = (_Demand(asker, requirement) for requirement in requirements)
        return [demand for demand in demands if self._holds(demand, extra)]

    def _holds(self, demand: _Demand, extra: str) -> bool:
        marker = demand.requirement.marker
        try:
            return marker is None or marker.evaluate({**self._environment, "extra": extra})
        except (UndefinedComparison, UndefinedEnvironmentName) as error:
            self.broken.append(f"{demand}, whose marker means nothing: {error}")
            return False

    @cached_property
    def _environment(self) -> Mapping[str, str]:
        return self._resolution.target.environment


def _misfits(item: Item, target: Target, tags: Collection[Tag]) -> Iterator[str]:
    """Yield why an item is not a wheel of its name and version that fits the target."""
    if not is_normalized_name(item.name):
        yield f"the name {item.name!r} is not normalised"
    if not takes_python(item.requires_python, target.version):
        yield f"{_label(item)} asks for Python {item.requires_python}, which {target.version} is not"
    try:
        name, version, _, own = parse_wheel_filename(item.filename)
    except InvalidWheelFilename:
        yield f"{_label(item)} was chosen as {item.filename!r}, which is no wheel"
        return
    if name != canonicalize_name(item.name) or version != _version(item):
        yield f"{item.filename} was chosen as {_label(item)}, which it is not"
    if own.isdisjoint(tags):
        yield f"{item.filename} was chosen, which does not fit"


def _label(item: Item) -> str:
    return f"{item.name} {item.version}"


def _version(item: Item) -> Version | None:
    try:
        return Version(item.version)
    except InvalidVersion:
        return None


def _place(url: str) -> tuple[str, str, str]:
    """Return what two URLs of one file have in common, however they are written."""
    parts = urlsplit(location(url))
    host = parts.netloc.lower()
    return parts.scheme, "" if host == "localhost" else host, unquote(parts.path)
