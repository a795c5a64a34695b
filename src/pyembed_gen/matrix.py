"""The matrix: which interpreters are built for which platforms, and by which rules.

``matrix.toml`` is read once, here, into frozen values; nothing behind this module sees TOML. A user's
file is laid over the one shipped with the command, table by table, so it says only what differs.
"""

import difflib
import os
import re
import stat
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyembed_gen import sums
from pyembed_gen.errors import UsageError

__all__ = ["Feature", "Layout", "Matrix", "Output", "Platform", "Rule", "System", "default_directory", "find", "load"]

CODECS = ("gzip", "zstd", "none")

_KEY = re.compile(r"[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?")
_VERSION = re.compile(r"3\.\d{1,3}\.\d{1,3}((a|b|rc)\d{1,3})?")
_LINE = re.compile(r"3\.\d{1,3}")
_RELEASE = re.compile(r"\d{8}(T\d{4})?")
_PACKAGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHEELS = re.compile(r"((manylinux|musllinux|macosx) )?[a-z0-9_]+")
_FLOOR = re.compile(r"[0-9]{1,2}\.[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Rule:
    """A named reason to drop files: gitignore patterns relative to the installation's root."""

    name: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Feature:
    """A part kept beyond the ordinary: rules it disables, keep-globs and library roots it adds."""

    name: str
    disable: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie in an installation, relative to its root, with ``/``.

    ``stdlib`` may contain ``{line}`` (3.14) and ``{abi}`` (``t`` for free-threaded builds).
    ``keep``, ``libraries`` and ``roots`` are globs in which ``*`` does not cross ``/``.
    """

    interpreter: str
    stdlib: str
    keep: tuple[str, ...]
    libraries: tuple[str, ...]
    roots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class System:
    """What the markers of requirements see on an operating system, by their names in PEP 508."""

    os_name: str
    sys_platform: str
    platform_system: str


@dataclass(frozen=True, slots=True)
class Platform:
    """One row of the matrix: everything that differs between platforms.

    ``system`` to ``oldest`` choose wheels; a row without them (``None``, empty) has no pip packages. ``wheels`` is a
    platform tag, or the family of platform tags and the architecture: ``manylinux x86_64``; then ``floor`` and
    ``oldest`` are versions such as 2.17, of what the family counts.
    """

    key: str
    triple: str
    full: str
    stripped: str
    layout: Layout
    format: str
    machine: str
    constraint: str
    tag: str = ""
    abi: str = ""
    since: str = ""
    system: System | None = None
    platform_machine: str = ""
    wheels: str = ""
    floor: str = ""
    oldest: str = ""

    @property
    def goos(self) -> str:
        """GOOS."""
        return self.key.split("/")[0]

    @property
    def goarch(self) -> str:
        """GOARCH."""
        return self.key.split("/")[1]

    @property
    def directory(self) -> str:
        """Name of the bundle's directory, such as ``linux-amd64``."""
        return self.key.replace("/", "-")

    @property
    def stub(self) -> str:
        """File name of the Go stub, such as ``embed_linux_amd64.go``."""
        return f"embed_{self.key.replace('/', '_')}.go"

    def stdlib(self, line: str) -> str:
        """Path of the standard library of a Python line, such as ``lib/python3.14``."""
        return self.layout.stdlib.format(line=line, abi=self.abi)

    def has_line(self, line: str) -> bool:
        """Whether archives of this Python line exist for this platform."""
        return not self.since or line_number(line) >= line_number(self.since)


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how bundles are written unless the command line says otherwise."""

    directory: Path
    package: str
    codec: str
    strip: bool


@dataclass(frozen=True, slots=True)
class Matrix:
    """All that matrix.toml, matrix.lock and PRIMARY_PYTHON say."""

    pbs: str
    url: str
    archive: str
    versions: tuple[str, ...]
    primary: str
    platforms: Mapping[str, Platform]
    default_platforms: tuple[str, ...]
    features: tuple[str, ...]
    known_features: Mapping[str, Feature]
    drop: tuple[Rule, ...]
    output: Output
    lock: Mapping[str, str]

    def platform(self, key: str) -> Platform:
        """Return the row of ``goos/goarch[/variant]``; UsageError if there is none."""
        row = self.platforms.get(key)
        if row is None:
            key = key.replace("macos/", "darwin/").replace("/x86_64", "/amd64").replace("/aarch64", "/arm64")
            raise UsageError(f"platform {key!r} is not in the matrix", hint=_nearest(key, self.platforms, "platforms"))
        return row

    def asset(self, platform: Platform, version: str, pbs: str) -> str:
        """Return the archive's file name in a release: ``cpython-<version>+<tag>-<triple>-<flavour>``."""
        return f"cpython-{version}+{pbs}-{platform.triple}-{getattr(platform, self.archive)}"


def line_of(version: str) -> str:
    """Return the line of a version: 3.14 for 3.14.9."""
    return ".".join(version.split(".")[:2])


def line_number(line: str) -> int:
    """Return the minor number of a line, for comparing: 14 for 3.14."""
    return int(line.split(".")[1])


def is_version(text: str) -> bool:
    """Whether the text is a full CPython version such as 3.14.9 or 3.15.0rc1."""
    return _VERSION.fullmatch(text) is not None


def is_line(text: str) -> bool:
    """Whether the text is a Python line such as 3.14."""
    return _LINE.fullmatch(text) is not None


def is_release(text: str) -> bool:
    """Whether the text is a tag of python-build-standalone: a date, in old releases with a time."""
    return _RELEASE.fullmatch(text) is not None


def is_package(text: str) -> bool:
    """Whether the text can be a Go package name here (ASCII identifier, no blank, no keyword)."""
    return _PACKAGE.fullmatch(text) is not None and text != "_" and text not in _GO_KEYWORDS


def default_directory() -> Path:
    """Return the folder with the shipped matrix.toml, matrix.lock and PRIMARY_PYTHON.

    In a wheel it lies beside this module; in a checkout the files are at the top level.
    """
    shipped = Path(__file__).parent / "defaults"
    return shipped if shipped.is_dir() else Path(__file__).parents[2]


def find(start: Path, passed_over: Callable[[Path], None] = lambda _path: None) -> Path | None:
    """Return the nearest matrix.toml in ``start`` or above it.

    One that somebody else may have put there is passed over, and ``passed_over`` is told: a matrix decides what is
    downloaded and where it is written. It must belong to this user, to root or to the owner of ``start``, and others
    must not be able to write it.
    """
    for directory in (start, *start.parents):
        candidate = directory / "matrix.toml"
        if candidate.is_file():
            if _is_trusted(candidate, start):
                return candidate
            passed_over(candidate)
    return None


def _is_trusted(path: Path, start: Path) -> bool:
    if sys.platform == "win32":
        return True
    status = path.stat()
    return status.st_uid in (os.geteuid(), 0, start.stat().st_uid) and not status.st_mode & stat.S_IWOTH


def load(path: Path | None) -> Matrix:
    """Read the matrix of ``path`` over the shipped one (``None``: the shipped one alone).

    Raises UsageError for a file that cannot be read, is not TOML, or says something unknown.
    """
    defaults = default_directory()
    shipped = defaults / "matrix.toml"
    values = _read_toml(shipped)
    lock = _read_lock(defaults / "matrix.lock")
    primary = _read_line(defaults / "PRIMARY_PYTHON")
    base = Path.cwd()
    if path is not None:
        own = _read_toml(path)
        if path.resolve() != shipped.resolve():
            _check_keys(own, values, where=path.name)
            values = _overlay(values, own)
            lock |= _read_lock(path.parent / "matrix.lock")
            primary = _read_line(path.parent / "PRIMARY_PYTHON") or primary
        base = path.parent
    try:
        return _matrix(values, lock=lock, primary=primary, base=base)
    except _ValueProblemError as problem:
        where = path or shipped
        raise UsageError(f"reading {where}: {problem}", hint="see the comments in the shipped matrix.toml") from None


class _ValueProblemError(Exception):
    """A value of the wrong kind; ``load`` adds the file's name."""


def _matrix(values: Mapping[str, Any], *, lock: Mapping[str, str], primary: str, base: Path) -> Matrix:
    source, python, output = (_table(values, name) for name in ("source", "python", "output"))
    layouts = {name: _layout(name, _table(values["layout"], name)) for name in _table(values, "layout")}
    systems = {name: _system(_table(values["system"], name)) for name in _table(values, "system")}
    rows = _table(values, "platform")
    platforms = {key: _platform(key, _table(rows, key), layouts, systems) for key in rows}
    features = {name: _feature(name, _table(values["feature"], name)) for name in _table(values, "feature")}
    versions = _strings(python, "versions", is_version, "a version such as 3.14.9")
    if not versions:
        raise _ValueProblemError("[python] versions is empty")
    lines = [line_of(version) for version in versions]
    chosen = _strings(values, "platforms", lambda key: key in platforms, "a row of [platform]")
    enabled = _strings(values, "features", lambda name: name in features, "one of [feature]")
    return Matrix(
        pbs=_string(source, "pbs", is_release, "a release tag such as 20261021"),
        url=_string(source, "url").rstrip("/"),
        archive=_string(source, "archive", ("full", "stripped").__contains__, '"full" or "stripped"'),
        versions=versions,
        primary=primary if primary in lines else lines[0],
        platforms=platforms,
        default_platforms=chosen,
        features=enabled,
        known_features=features,
        drop=tuple(Rule(name, _strings(values["drop"], name)) for name in sorted(_table(values, "drop"))),
        output=Output(
            directory=base / _string(output, "dir", _is_path, "a path"),
            package=_string(output, "package", is_package, "a Go package name"),
            codec=_string(output, "codec", CODECS.__contains__, "gzip, zstd or none"),
            strip=_flag(output, "strip"),
        ),
        lock=lock,
    )


def _layout(name: str, table: Mapping[str, Any]) -> Layout:
    del name
    return Layout(
        interpreter=_string(table, "interpreter", _is_inside, "a path inside the installation"),
        stdlib=_string(table, "stdlib", _is_stdlib, "a path with at most {line} and {abi}"),
        keep=_strings(table, "keep"),
        libraries=_strings(table, "libraries"),
        roots=_strings(table, "roots"),
    )


def _system(table: Mapping[str, Any]) -> System:
    return System(
        os_name=_string(table, "os_name"),
        sys_platform=_string(table, "sys_platform"),
        platform_system=_string(table, "platform_system"),
    )


def _platform(
    key: str, table: Mapping[str, Any], layouts: Mapping[str, Layout], systems: Mapping[str, System]
) -> Platform:
    if _KEY.fullmatch(key) is None:
        raise _ValueProblemError(f'[platform."{key}"] is not goos/goarch or goos/goarch/variant in lower case')
    return Platform(
        key=key,
        triple=_string(table, "triple", _is_word, "a triple"),
        full=_string(table, "full", _is_word, "the end of an archive's name"),
        stripped=_string(table, "stripped", _is_word, "the end of an archive's name"),
        layout=layouts[_string(table, "layout", layouts.__contains__, "one of [layout]")],
        format=_string(table, "format", ("elf", "macho", "pe").__contains__, "elf, macho or pe"),
        machine=_string(table, "machine"),
        constraint=_string(table, "constraint", _is_constraint, "a Go build constraint"),
        tag=_string(table, "tag") if "tag" in table else "",
        abi=_string(table, "abi") if "abi" in table else "",
        since=_string(table, "since", is_line, "a line such as 3.13") if "since" in table else "",
        **_wheels(table, systems),
    )


def _wheels(table: Mapping[str, Any], systems: Mapping[str, System]) -> dict[str, Any]:
    """Return what a row says about wheels: all of it or nothing."""
    columns: dict[str, Any] = {}
    if "wheels" in table:
        kind = "a platform tag, or manylinux, musllinux or macosx and an architecture"
        columns = {
            "wheels": _string(table, "wheels", _is_wheels, kind),
            "system": systems[_string(table, "system", systems.__contains__, "one of [system]")],
            "platform_machine": _string(table, "platform_machine"),
        }
        if " " in columns["wheels"]:
            columns |= {name: _string(table, name, _is_floor, "a version such as 2.17") for name in ("floor", "oldest")}
    for name in ("system", "platform_machine", "floor", "oldest"):
        if name in table and name not in columns:
            raise _ValueProblemError(f"{name} means nothing for wheels {table.get('wheels')!r}")
    return columns


def _feature(name: str, table: Mapping[str, Any]) -> Feature:
    parts = {key: _strings(table, key) for key in ("disable", "keep", "roots") if key in table}
    return Feature(name, **parts)


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = values[name]
    if not isinstance(table, dict):
        raise _ValueProblemError(f"{name} must be a table, not {table!r}")
    return table


def _string(
    table: Mapping[str, Any],
    key: str,
    fits: Callable[[str], bool] = bool,
    kind: str = "a text that is not empty",
) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not fits(value):
        raise _ValueProblemError(f"{key} must be {kind}, not {value!r}")
    return value


def _strings(
    table: Mapping[str, Any],
    key: str,
    fits: Callable[[str], bool] = bool,
    kind: str = "a text that is not empty",
) -> tuple[str, ...]:
    values = table.get(key)
    if not isinstance(values, list):
        raise _ValueProblemError(f"{key} must be a list, not {values!r}")
    for value in values:
        if not isinstance(value, str) or not fits(value):
            raise _ValueProblemError(f"each of {key} must be {kind}, not {value!r}")
    return tuple(values)


def _flag(table: Mapping[str, Any], key: str) -> bool:
    value = table.get(key)
    if not isinstance(value, bool):
        raise _ValueProblemError(f"{key} must be true or false, not {value!r}")
    return value


def _is_inside(text: str) -> bool:
    return bool(text) and not text.startswith("/") and ".." not in text.split("/")


def _is_stdlib(text: str) -> bool:
    return _is_inside(text) and "{" not in text.replace("{line}", "").replace("{abi}", "")


def _is_constraint(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_.!&|() ]+", text) is not None


def _is_path(text: str) -> bool:
    return bool(text) and "\0" not in text


def _is_word(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_.+-]+", text) is not None


def _is_wheels(text: str) -> bool:
    return _WHEELS.fullmatch(text) is not None


def _is_floor(text: str) -> bool:
    return _FLOOR.fullmatch(text) is not None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"reading the matrix {path}: {error.strerror}", hint="name another with --config") from error
    except RecursionError:
        raise UsageError(f"reading the matrix {path}: it is nested too deeply", hint="mend the file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"reading the matrix {path}: not TOML: {error}", hint="mend that line") from error


def _read_lock(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"reading {path}: {error}", hint="check the file") from error
    return sums.parse(text, where=str(path), error=UsageError)


def _read_line(path: Path) -> str:
    try:
        line = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    if not is_line(line):
        raise UsageError(f"reading {path}: {line!r} is not a Python line", hint="write for example 3.14")
    return line


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _overlay(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


# Tables whose keys are names that a user chooses, with the keys that each such table may have.
_OPEN = {
    "drop": None,
    "feature": {"disable", "keep", "roots"},
    "layout": {"interpreter", "stdlib", "keep", "libraries", "roots"},
    "platform": set(Platform.__slots__) - {"key"},
    "system": set(System.__slots__),
}


def _check_keys(own: Mapping[str, Any], known: Mapping[str, Any], *, where: str) -> None:
    for key, value in own.items():
        if key not in known:
            raise UsageError(f"reading {where}: unknown key {key!r}", hint=_nearest(key, known, "keys"))
        if not isinstance(value, dict):
            continue
        if key not in _OPEN:
            _check_keys(value, known[key], where=f"{where} [{key}]")
            continue
        allowed = _OPEN[key]
        for name in value if key == "drop" else ():
            if value[name] == [] and name not in known[key]:
                hint = _nearest(name, known[key], "rules")
                raise UsageError(f"reading {where}: there is no rule {name!r} to switch off", hint=hint)
        for name, table in value.items():
            if allowed is not None and isinstance(table, dict):
                _check_keys(table, dict.fromkeys(allowed), where=f'{where} [{key}."{name}"]')


def _nearest(name: str, known: Mapping[str, Any], kind: str) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    nearest = f"nearest: {', '.join(close)}; " if close else ""
    return f"{nearest}all {kind}: {', '.join(sorted(known))}"


_GO_KEYWORDS = frozenset(
    (
        *("break", "case", "chan", "const", "continue", "default", "defer", "else", "fallthrough", "for", "func"),
        *("go", "goto", "if", "import", "interface", "map", "package", "range", "return", "select", "struct"),
        *("switch", "type", "var"),
    )
)
