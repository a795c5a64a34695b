"""Locks: what was chosen for a target, in a file that the next run takes instead of asking pip.

Format: PEP 751, one ``pylock.<name>.toml`` for each target, since markers cannot tell glibc from musl, nor one build
of CPython from another. They are read with ``packaging.pylock``; any installer can read them that knows the format.
What this program needs beside is in ``[tool.pyembed-gen]``.

``packages`` calls :func:`find` and :func:`read` before it would resolve, and with ``--lock`` :func:`destination` and
:func:`write` once every wheel is verified. Nothing secret is written: URLs lose user, password, query and fragment.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.markers import Marker
from packaging.pylock import Package, PackageArchive, PackageWheel, Pylock, PylockValidationError
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from pyembed_gen import closure
from pyembed_gen.errors import PipError, WriteError
from pyembed_gen.matrix import line_of
from pyembed_gen.resolution import Item, Resolution
from pyembed_gen.target import Target

__all__ = ["destination", "digest", "find", "read", "render", "write"]

_TOOL = "pyembed-gen"
_VERSION = "1.0"
_ANEW = "run with --lock to write it anew"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_T = TypeVar("_T")
_SCHEMES = ("https", "http", "file")


def find(folder: Path, target: Target) -> Path | None:
    """Return the lock of a target: the one of its Python line, or else the one that names no line; None without."""
    paths = (folder / _name(target, with_line=True), folder / _name(target, with_line=False))
    return next((path for path in paths if path.is_file()), None)


def destination(folder: Path, target: Target, *, several: bool) -> Path:
    """Return where the lock of a target is written.

    ``several`` says that the run is for several Python lines: their locks, ``pylock.linux-amd64-py314.toml``, name
    the line. Others do not, ``pylock.linux-amd64.toml``, unless there is one that does: :func:`find` prefers it.
    """
    path = folder / _name(target, with_line=True)
    return path if several or path.is_file() else folder / _name(target, with_line=False)


def digest(
    requirements: Sequence[Requirement],
    constraints: Sequence[Requirement] = (),
    options: Sequence[str] = (),
    *,
    folder: Path,
) -> str:
    """Return what tells whether requirements are still those of a lock, in hex.

    ``options`` are others that decide what is chosen, such as ``--pre``, in any wording. Order, spelling and
    credentials do not count, nor where ``folder`` is, the lock's: local wheels count by their path from there.
    """
    base = folder.absolute()
    inputs = {
        "requirements": sorted({_spelled(one, base) for one in requirements}),
        "constraints": sorted({_spelled(one, base) for one in constraints}),
        "options": sorted(set(options)),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def write(path: Path, resolution: Resolution, inputs: str) -> None:
    """Write a lock, whole or not at all; ``inputs`` is the :func:`digest`.

    Raises PipError as :func:`render` does, WriteError if the file cannot be written.
    """
    text = render(resolution, inputs, path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            partial.write_bytes(text.encode())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        hint = "check that its folder is there and that you may write it, or run without --lock"
        raise WriteError(f"writing {path}: {error.strerror or error}", hint=hint) from error


def render(resolution: Resolution, inputs: str, folder: Path) -> str:
    """Return the text of a lock that lies in ``folder``: equal resolutions give equal bytes.

    Raises PipError for a wheel whose sha256 is not known.
    """
    target = resolution.target
    pylock = Pylock(
        lock_version=Version(_VERSION),
        environments=[_environment(target)],
        requires_python=SpecifierSet(f"=={line_of(target.version)}.*"),
        created_by=_TOOL,
        packages=[_package(item, folder) for item in sorted(resolution.items, key=lambda item: item.name)],
        tool={_TOOL: {"platform": target.platform.key, "inputs": inputs}},
    )
    pylock.validate()
    header = f"# What {_TOOL} chose for {target.label}; `{_TOOL} pip --lock` writes it anew.\n\n"
    return header + "".join(f"{line}\n" for line in _toml(pylock.to_dict()))


def read(
    path: Path,
    target: Target,
    requirements: Sequence[Requirement],
    constraints: Sequence[Requirement] = (),
    *,
    inputs: str,
) -> Resolution:
    """Read a lock back as what it was written from; ``inputs`` is the :func:`digest` of what is asked for now.

    Only URLs have lost what is secret, and specifiers of Requires-Python may stand in another order.

    Raises PipError, which says to lock anew, for a file that is no lock of this program, for one of another target
    or of other requirements, and for one that is not their closure or has a wheel that does not fit.
    """
    try:
        pylock = _pylock(path)
        _check_purpose(pylock, target, inputs)
        items = (_item(package, path.absolute().parent) for package in pylock.packages)
        resolution = Resolution(target, tuple(sorted(items, key=lambda item: item.name)))
    except _LockProblemError as problem:
        raise PipError(f"reading the lock {path}: {problem}", hint=_ANEW) from problem.__cause__
    if found := closure.problems(requirements, resolution, constraints):
        more = f" (and {len(found) - 1} more such problems)" if len(found) > 1 else ""
        hint = f"put back what was edited, or {_ANEW}"
        raise PipError(f"reading the lock {path}: it does not fit {target.label}: {found[0]}{more}", hint=hint)
    return resolution


class _LockProblemError(Exception):
    """What is wrong with a lock; ``read`` adds the file's name."""


def _name(target: Target, *, with_line: bool) -> str:
    line = f"-py{line_of(target.version).replace('.', '')}" if with_line else ""
    return f"pylock.{target.platform.directory}{line}.toml"


def _spelled(requirement: Requirement, base: Path) -> str:
    """Return a requirement in the one way in which it is compared."""
    url = closure.location(requirement.url or "")
    parts = (
        canonicalize_name(requirement.name),
        sorted(map(canonicalize_name, requirement.extras)),
        str(requirement.specifier),
        (_path(url, base) if url.startswith("file:") else None) or url,
        str(requirement.marker or ""),
    )
    return json.dumps(parts)


def _environment(target: Target) -> Marker:
    """Return the marker that tells systems apart, as far as markers can; versions are left to ``requires-python``."""
    names = ("sys_platform", "platform_machine", "implementation_name")
    return Marker(" and ".join(f'{name} == "{target.environment[name]}"' for name in names))


def _package(item: Item, folder: Path) -> Package:
    if not item.sha256:
        hint = "name an index that has them, or the wheel's URL"
        raise PipError(f"locking {item.name} {item.version}: the sha256 of {item.filename} is not known", hint=hint)
    own = {
        "requested": item.requested,
        "extras": list(item.extras),
        "requires": [_CREDENTIALS.sub("", text) for text in item.requires],
    }
    url: str | None = closure.location(item.url)
    path = _path(item.url, folder.absolute()) if item.url.startswith("file:") else None
    if path:
        url = None
    hashes = {"sha256": item.sha256}
    return Package(
        name=canonicalize_name(item.name),
        version=Version(item.version),
        requires_python=_specifiers(item.requires_python),
        archive=PackageArchive(url=url, path=path, hashes=hashes) if item.direct else None,
        wheels=None if item.direct else [PackageWheel(name=item.filename, url=url, path=path, hashes=hashes)],
        tool={_TOOL: {key: value for key, value in own.items() if value}},
    )


def _specifiers(text: str) -> SpecifierSet | None:
    """Return a Requires-Python; None if there is none, or one that pip could not read either."""
    try:
        return SpecifierSet(text) if text else None
    except InvalidSpecifier:
        return None


def _path(url: str, base: Path) -> str | None:
    """Return the path of a file: URL from a folder, with ``/``; None if no path leads there (another drive)."""
    try:
        return Path(os.path.relpath(url2pathname(urlsplit(closure.location(url)).path), base)).as_posix()
    except ValueError:
        return None


def _toml(pylock: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a lock; there are no tables and values in one but those of :func:`render`."""
    yield from (f"{key} = {_value(value)}" for key, value in pylock.items() if key not in {"packages", "tool"})
    if not pylock["packages"]:
        yield "packages = []"
    for package in pylock["packages"]:
        yield from ("", "[[packages]]")
        yield from (f"{key} = {_value(value)}" for key, value in package.items() if key != "tool")
        if package["tool"][_TOOL]:
            yield from _table(f"packages.tool.{_TOOL}", package["tool"][_TOOL])
    yield from _table(f"tool.{_TOOL}", pylock["tool"][_TOOL])


def _table(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"[{name}]")
    for key, value in values.items():
        lines = [f"  {_value(one)}," for one in value] if isinstance(value, list) else []
        yield from (f"{key} = [", *lines, "]") if lines else (f"{key} = {_value(value)}",)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_value(one)}' for key, one in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's strings and booleans are those of TOML, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _pylock(path: Path) -> Pylock:
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise _LockProblemError(error.strerror or error) from error
    except ValueError as error:
        raise _LockProblemError(f"it is no TOML: {error}") from error
    if values.get("lock-version") != _VERSION:
        raise _LockProblemError(f"its lock-version is not {_VERSION}")
    try:
        return Pylock.from_dict(values)
    except PylockValidationError as error:
        raise _LockProblemError(str(error)) from error


def _check_purpose(pylock: Pylock, target: Target, inputs: str) -> None:
    platform = _own(pylock.tool, "platform", str, "")
    if not platform:
        raise _LockProblemError(f"{_TOOL} did not write it")
    if platform != target.platform.key:
        raise _LockProblemError(f"it is for {platform}, not for {target.platform.key}")
    python = str(pylock.requires_python or "")
    if not closure.takes_python(python, target.version):
        raise _LockProblemError(f"it is for Python {python}, which {target.version} is not")
    if _own(pylock.tool, "inputs", str, "") != inputs:
        raise _LockProblemError("requirements changed since the lock was written")


def _item(package: Package, folder: Path) -> Item:
    name = package.name
    files: list[PackageArchive | PackageWheel] = [*filter(None, [package.archive]), *(package.wheels or [])]
    if len(files) != 1 or package.sdist or package.marker or package.version is None:
        raise _LockProblemError(f"{name} is not one wheel of one version, without a marker")
    url = _url(files[0], folder)
    if url is None:
        raise _LockProblemError(f"{name} is at no URL that begins with {', '.join(_SCHEMES)}")
    sha256 = files[0].hashes.get("sha256", "")
    if _SHA256.fullmatch(sha256) is None:
        raise _LockProblemError(f"{name} has no sha256 of 64 lower-case hex digits")
    try:
        return Item(
            name=name,
            version=str(package.version),
            url=url,
            filename=files[0].filename if isinstance(files[0], PackageWheel) else unquote(url.rpartition("/")[2]),
            sha256=sha256,
            requires=_texts(package.tool, "requires"),
            requires_python=str(package.requires_python or ""),
            extras=_texts(package.tool, "extras"),
            requested=_own(package.tool, "requested", bool, default=False),
            direct=package.archive is not None,
        )
    except _LockProblemError as problem:
        raise _LockProblemError(f"{name}: {problem}") from None


def _url(file: PackageArchive | PackageWheel, folder: Path) -> str | None:
    """Return where a wheel is; None if that is no URL that could be asked for."""
    if not file.url:
        return Path(os.path.abspath(folder / (file.path or ""))).as_uri()  # noqa: PTH100 - resolves no links
    url = closure.location(file.url)
    try:
        return url if urlsplit(url).scheme in _SCHEMES else None
    except ValueError:
        return None


def _own(tool: Mapping[str, Any] | None, key: str, kind: type[_T], default: _T) -> _T:
    """Return a value of this program's table."""
    table = (tool or {}).get(_TOOL, {})
    value = table.get(key, default) if isinstance(table, Mapping) else None
    if not isinstance(value, kind):
        raise _LockProblemError(f"{key} in [tool.{_TOOL}] is not what it should be")
    return value


def _texts(tool: Mapping[str, Any] | None, key: str) -> tuple[str, ...]:
    values = _own(tool, key, list, [])
    if not all(isinstance(value, str) for value in values):
        raise _LockProblemError(f"{key} in [tool.{_TOOL}] has something that is no string")
    return tuple(values)
