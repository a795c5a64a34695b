"""Whether all platforms get the same version of each package.

``packages`` calls :func:`check` with the resolutions of one run, before anything is downloaded. ``cli`` prints the
table of the error, or of what it returns, by :meth:`Skew.text`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.version import Version

from pyembed_gen.errors import PipError
from pyembed_gen.matrix import line_number, line_of
from pyembed_gen.resolution import Item, Resolution

__all__ = ["Row", "Skew", "SkewError", "check", "compare"]

_DECISION = "it is a decision, since an older version may lack security fixes"
_NAMED = 3  # packages in a message; the table has all


@dataclass(frozen=True, slots=True)
class Row:
    """A package that platforms have in several versions: its versions by the key of the platform.

    A platform on which nothing asks for the package is not in ``versions``. ``constraint`` is the line of a
    constraints file that makes all of them take the lowest of these versions; empty where a URL names a wheel.
    """

    name: str
    versions: Mapping[str, str]
    constraint: str


@dataclass(frozen=True, slots=True)
class Skew:
    """The packages of a Python line (3.14) that platforms have in several versions, as a table.

    ``platforms`` are the columns, in the order in which they were asked for; ``rows`` are sorted by name.
    """

    line: str
    platforms: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def constraints(self) -> tuple[str, ...]:
        """The lines of a constraints file that would remove the skew."""
        return tuple(row.constraint for row in self.rows if row.constraint)

    def text(self) -> str:
        """Return the table as lines of text, columns aligned, and the constraints below it."""
        cells = [
            (f"Python {self.line}", *self.platforms),
            *((row.name, *(row.versions.get(key, "-") for key in self.platforms)) for row in self.rows),
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
        if self.constraints:
            lines += ["", f"These constraints remove it (-c FILE); {_DECISION}:", *self.constraints]
        return "".join(f"{line}\n" for line in lines)


class SkewError(PipError):
    """Platforms would get different versions of a package. ``skews`` are the tables to print."""

    def __init__(self, message: str, *, hint: str, skews: tuple[Skew, ...]) -> None:
        super().__init__(message, hint=hint)
        self.skews = skews


def compare(resolutions: Sequence[Resolution]) -> tuple[Skew, ...]:
    """Return the skew of each Python line that has one, in the order of the lines.

    The local part of a version (PEP 440; the ``+cpu`` of 2.9.1+cpu) is not compared: it tells builds of one version
    apart, and an index may have it for some platforms only.
    """
    lines = sorted({line_of(resolution.target.version) for resolution in resolutions}, key=line_number)
    skews = (_skew(line, [one for one in resolutions if line_of(one.target.version) == line]) for line in lines)
    return tuple(skew for skew in skews if skew.rows)


def check(resolutions: Sequence[Resolution], *, allow: bool = False) -> tuple[Skew, ...]:
    """Return what :func:`compare` does if ``allow`` says so; raise SkewError otherwise if there is any."""
    skews = compare(resolutions)
    if skews and not allow:
        names = sorted({row.name for skew in skews for row in skew.rows})
        lines = sorted({line for skew in skews for line in skew.constraints})
        remedy = "accept it with --allow-skew"
        if lines:
            remedy = f"put {_listed(lines)} into a constraints file (-c FILE; {_DECISION}), or {remedy}"
        message = f"comparing the platforms: they would get different versions of {_listed(names)}"
        raise SkewError(message, hint=remedy, skews=skews)
    return skews


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return f"{', '.join(words[:_NAMED])}{more}"


def _skew(line: str, resolutions: Sequence[Resolution]) -> Skew:
    found: dict[str, dict[str, Item]] = {}
    for resolution in resolutions:
        for item in resolution.items:
            found.setdefault(item.name, {})[resolution.target.platform.key] = item
    rows = (_row(name, found[name]) for name in sorted(found))
    platforms = tuple(resolution.target.platform.key for resolution in resolutions)
    return Skew(line, platforms, tuple(row for row in rows if row))


def _row(name: str, items: Mapping[str, Item]) -> Row | None:
    """Return the row of a package, None if its versions are all the same."""
    public = {Version(item.version).public for item in items.values()}
    if len({Version(text) for text in public}) == 1:
        return None
    by_url = any(item.direct for item in items.values())
    constraint = "" if by_url else f"{name}=={min(public, key=Version)}"
    return Row(name, {key: item.version for key, item in items.items()}, constraint)
