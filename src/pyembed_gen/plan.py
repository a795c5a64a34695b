"""From the matrix and what was asked for to jobs, one for each bundle that will be written."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyembed_gen import matrix as matrix_
from pyembed_gen.errors import UsageError
from pyembed_gen.matrix import Feature, Matrix, Platform, Rule

__all__ = ["Codec", "Job", "Request", "plan"]

DEFAULT_LEVELS = {"gzip": 10, "zstd": 22, "none": 0}
LEVELS = {"gzip": (1, 12), "zstd": (1, 22), "none": (0, 0)}


@dataclass(frozen=True, slots=True)
class Codec:
    """How payloads are compressed: ``gzip`` (levels 1 to 12), ``zstd`` (1 to 22) or ``none``."""

    name: str
    level: int


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for; empty or None where it leaves the choice to the matrix."""

    platforms: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    pbs: str = ""
    mirror: str = ""
    out: Path | None = None
    package: str = ""
    codec: str = ""
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One bundle to make: what goes in, by which rules, and where it belongs.

    ``version`` is empty until a source on disk has said which Python it holds.
    """

    platform: Platform
    version: str
    pbs: str
    base: str
    asset: str
    out: Path
    package: str
    codec: Codec
    strip: bool
    drop: tuple[Rule, ...]
    keep: tuple[str, ...]
    roots: tuple[str, ...]

    @property
    def line(self) -> str:
        """Python line, such as 3.14."""
        return matrix_.line_of(self.version)

    @property
    def label(self) -> str:
        """What people call this job: the platform, and the version."""
        return f"{self.platform.key} {self.version}"

    @property
    def directory(self) -> Path:
        """Where the bundle belongs."""
        return self.out / self.platform.directory


def plan(matrix: Matrix, request: Request, *, versions: Sequence[str] = ()) -> tuple[Job, ...]:
    """Turn a request into jobs, ordered by output directory and platform.

    ``versions`` are the exact versions to build (several Python lines go to ``<out>/py<line>/`` each); by
    default they are chosen from the matrix by :func:`choose_versions`. Raises UsageError for whatever the
    matrix does not have.
    """
    chosen = tuple(versions) or choose_versions(matrix, request.pythons, matrix.versions)
    rows = _rows(matrix, request.platforms)
    codec = _codec(matrix, request)
    features = tuple(matrix.known_features[name] for name in matrix.features)
    pbs = request.pbs or matrix.pbs
    if not matrix_.is_release(pbs):
        raise UsageError(f"--pbs {pbs!r} is not a release tag", hint="write the date, such as 20261021")
    package = request.package or matrix.output.package
    if not matrix_.is_package(package):
        raise UsageError(
            f"--package {package!r} is not a Go package name", hint="an identifier and no Go keyword, such as data"
        )
    root = request.out or matrix.output.directory
    jobs = [
        Job(
            platform=row,
            version=version,
            pbs=pbs,
            base=(request.mirror or matrix.url).rstrip("/"),
            asset=matrix.asset(row, version, pbs),
            out=root / f"py{matrix_.line_of(version)}" if len(chosen) > 1 else root,
            package=package,
            codec=codec,
            strip=matrix.output.strip,
            drop=_active(matrix.drop, features),
            keep=(*row.layout.keep, *(glob for feature in features for glob in feature.keep)),
            roots=(*row.layout.roots, *(glob for feature in features for glob in feature.roots)),
        )
        for version in chosen
        for row in rows
        if _exists(row, version, asked=bool(request.platforms))
    ]
    return tuple(sorted(jobs, key=lambda job: (str(job.out), job.platform.key)))


def choose_versions(
    matrix: Matrix, pythons: Sequence[str], available: Sequence[str], *, where: str = "the matrix"
) -> tuple[str, ...]:
    """Return exact versions for what was asked: lines take the newest of ``available``, versions stand.

    ``where`` is what errors call the place that has them. Without a request it is the primary line. Two versions
    of one line are refused: they would share a folder.
    """
    chosen: dict[str, str] = {}
    for python in pythons or (matrix.primary,):
        line = matrix_.line_of(python)
        version = python if matrix_.is_version(python) else _newest(python, available, where)
        if chosen.setdefault(line, version) != version:
            raise UsageError(
                f"--python asks for two versions of {line}: {chosen[line]} and {version}",
                hint="run once for each, with its own --out",
            )
    return tuple(chosen[line] for line in sorted(chosen, key=matrix_.line_number))


def versions_in(assets: Iterable[str], pbs: str) -> tuple[str, ...]:
    """Return the CPython versions that the assets of a release are archives of."""
    names = (asset.removeprefix("cpython-").partition("+") for asset in assets if asset.startswith("cpython-"))
    return tuple(sorted({version for version, _, rest in names if rest.startswith(f"{pbs}-")}))


def _newest(line: str, available: Sequence[str], where: str) -> str:
    if not matrix_.is_line(line):
        raise UsageError(f"--python {line!r} is not a version", hint="write 3.14 or 3.14.9")
    fitting = [version for version in available if matrix_.line_of(version) == line]
    if not fitting:
        lines = ", ".join(sorted({matrix_.line_of(version) for version in available}, key=matrix_.line_number))
        raise UsageError(f"Python {line} is not in {where}", hint=f"it has {lines or 'none'}")
    return max(fitting, key=version_key)


def version_key(version: str) -> tuple[int, int, int, str, int]:
    """Return a key that orders versions as CPython means them: 3.15.0rc1 before 3.15.0."""
    match = re.fullmatch(r"3\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?", version)
    if match is None:
        raise ValueError(version)
    minor, patch, stage, number = match.groups()
    return int(minor), int(patch), int(stage is None), stage or "", int(number or 0)


def _rows(matrix: Matrix, asked: Sequence[str]) -> tuple[Platform, ...]:
    keys = dict.fromkeys(asked or matrix.default_platforms)
    return tuple(matrix.platform(key) for key in sorted(keys))


def _exists(row: Platform, version: str, *, asked: bool) -> bool:
    if row.has_line(matrix_.line_of(version)):
        return True
    if asked:
        raise UsageError(f"{row.key} has no Python {version}", hint=f"its builds begin with {row.since}")
    return False


def _active(rules: Sequence[Rule], features: Sequence[Feature]) -> tuple[Rule, ...]:
    disabled = {name for feature in features for name in feature.disable}
    return tuple(rule for rule in rules if rule.patterns and rule.name not in disabled)


def _codec(matrix: Matrix, request: Request) -> Codec:
    name = request.codec or matrix.output.codec
    level = DEFAULT_LEVELS[name] if request.level is None else request.level
    low, high = LEVELS[name]
    if not low <= level <= high:
        hint = f"it has {low} to {high}" if high else "nothing is compressed, so leave --level out"
        raise UsageError(f"--level {level} is not a level of {name}", hint=hint)
    return Codec(name, level)
