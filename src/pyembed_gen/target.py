"""What wheels are chosen for: a platform, a Python version and the oldest system that they must run on.

Nothing here asks the machine that it runs on. The order of tags and what they mean are those of ``packaging``, which
is told everything; only what it measures on a Linux machine, the platform tags of a C library, is counted here.
Facts: PEP 425 and 600 (tags), 508 (markers), 656 (musllinux), 703 and 803 (free-threaded ABIs).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.version import Version

from pyembed_gen.errors import UsageError
from pyembed_gen.matrix import Platform, System, line_number, line_of

__all__ = ["Target", "choose"]

_ALIASES = MappingProxyType({17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"})  # PEP 599, 571, 513
_OLDEST_GLIBC = MappingProxyType({"x86_64": 5, "i686": 5})  # minor version; the older tags exist for these alone
_OLDEST_GLIBC_ELSEWHERE = 17


@dataclass(frozen=True, slots=True)
class _Family:
    """Platform tags that count versions: of what, how such a version looks, which tags fit a machine that has it."""

    library: str
    pattern: re.Pattern[str]
    platforms: Callable[[tuple[int, int], str], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Target:
    """A Python of a platform, as pip and ``packaging`` must see it to choose wheels for it.

    ``version`` is a full CPython version such as 3.14.9 or 3.15.0rc1. ``floor`` is the oldest glibc (2.17), musl (1.2)
    or macOS (11.0) that the wheels must run on, empty where tags count none (Windows).
    Raises UsageError for a platform without wheels and for a floor that is no version or that the interpreter itself
    cannot run on.
    """

    platform: Platform
    version: str
    floor: str

    def __post_init__(self) -> None:
        if not self.platform.wheels:
            hint = "add the columns system, platform_machine and wheels to its row in matrix.toml"
            raise UsageError(f"choosing wheels for {self.platform.key}: the matrix names none for it", hint=hint)
        family = _family(self.platform)
        if family is None:
            return
        library, oldest = family.library, self.platform.oldest
        if family.pattern.fullmatch(self.floor) is None:
            problem = f"{self.floor!r} is not a version of {library} such as {oldest}"
        elif _numbers(self.floor) < _numbers(oldest):
            problem = f"{library} {self.floor} is older than {oldest}, which the interpreter itself needs"
        else:
            return
        hint = f"give --{library} {oldest} or newer"
        raise UsageError(f"choosing wheels for {self.platform.key}: {problem}", hint=hint)

    @property
    def label(self) -> str:
        """The target in messages: ``linux/amd64, Python 3.14``."""
        return f"{self.platform.key}, Python {line_of(self.version)}"

    @property
    def tags(self) -> tuple[Tag, ...]:
        """Every tag of a wheel that fits, most specific first. Computed at each call: some hundred to some thousand.

        A free-threaded Python takes no ``abi3``, but ``abi3t`` of all older lines, though no line before 3.15 has it:
        so ``packaging`` has it, and pip.
        """
        python = (3, line_number(line_of(self.version)))
        platforms = self._platforms
        return (
            *cpython_tags(python, [self._abi], platforms),
            *compatible_tags(python, self._interpreter, platforms),
        )

    @property
    def lowest_tag(self) -> Tag:
        """The least wanted tag that is still bound to the platform: who accepts it has taken all of ``tags``."""
        return next(tag for tag in reversed(self.tags) if tag.platform != "any")

    @property
    def environment(self) -> Mapping[str, str]:
        """What markers see, under the names that ``packaging.markers.default_environment`` has.

        ``platform_release`` and ``platform_version`` are empty: they are those of the kernel of the machine that the
        program will run on, which nobody knows here. No version comparison holds for an empty one.
        """
        system = cast("System", self.platform.system)  # a row with wheels has one
        return {
            "implementation_name": "cpython",
            "implementation_version": self._implementation_version,
            "os_name": system.os_name,
            "platform_machine": self.platform.platform_machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": system.platform_system,
            "platform_version": "",
            "python_full_version": self.version,
            "python_version": line_of(self.version),
            "sys_platform": system.sys_platform,
        }

    @property
    def options(self) -> tuple[str, ...]:
        """The options that make pip use ``tags``, every platform tag spelled out: pip adds few of them itself.

        pip takes no pre-release here and compares ``Requires-Python`` with the release alone, as it does inside one.
        """
        return (
            f"--python-version={Version(self.version).base_version}",
            "--implementation=cp",
            f"--abi={self._abi}",
            *(f"--platform={tag}" for tag in self._platforms),
        )

    @property
    def _interpreter(self) -> str:
        return f"cp{line_of(self.version).replace('.', '')}"

    @property
    def _abi(self) -> str:
        return f"{self._interpreter}{self.platform.abi}"

    @property
    def _platforms(self) -> tuple[str, ...]:
        family = _family(self.platform)
        if family is None:
            return (self.platform.wheels,)
        return tuple(family.platforms(_numbers(self.floor), self.platform.wheels.split()[1]))

    @property
    def _implementation_version(self) -> str:
        """The version with the first letter of its release level, as PEP 508 has it: c for a candidate, not rc."""
        version = Version(self.version)
        level, serial = version.pre or ("", "")
        return f"{version.base_version}{level[-1:]}{serial}"


def choose(platform: Platform, version: str, floors: Mapping[str, str] = MappingProxyType({})) -> Target:
    """Return the target of a row and a version.

    ``floors`` says what was asked for, by ``glibc``, ``musl`` and ``macos``; what it lacks is the row's default.
    Raises UsageError as ``Target`` does.
    """
    family = _family(platform)
    asked = floors.get(family.library) if family else ""
    return Target(platform, version, platform.floor if asked is None else asked)


def _family(platform: Platform) -> _Family | None:
    """Return the family of a row's platform tags, None if it is one whole tag."""
    name, blank, _ = platform.wheels.partition(" ")
    return _FAMILIES[name] if blank else None


def _numbers(floor: str) -> tuple[int, int]:
    major, minor = floor.split(".")
    return int(major), int(minor)


def _manylinux(glibc: tuple[int, int], arch: str) -> Iterator[str]:
    major, newest = glibc
    for minor in range(newest, _OLDEST_GLIBC.get(arch, _OLDEST_GLIBC_ELSEWHERE) - 1, -1):
        yield f"manylinux_{major}_{minor}_{arch}"
        if minor in _ALIASES:
            yield f"{_ALIASES[minor]}_{arch}"
    yield from _linux(arch)


def _musllinux(musl: tuple[int, int], arch: str) -> Iterator[str]:
    major, newest = musl
    for minor in range(newest, -1, -1):
        yield f"musllinux_{major}_{minor}_{arch}"
    yield from _linux(arch)


def _linux(arch: str) -> Iterator[str]:
    """Yield the tag that promises no C library: last, since only whoever built such a wheel knows where it runs.

    On a machine of its own pip has it first, for wheels that were built there.
    """
    yield f"linux_{arch}"


_FAMILIES: Mapping[str, _Family] = MappingProxyType(
    {
        "manylinux": _Family("glibc", re.compile(r"2\.(0|[1-9][0-9]{0,2})"), _manylinux),
        "musllinux": _Family("musl", re.compile(r"1\.(0|[1-9][0-9]?)"), _musllinux),
        "macosx": _Family("macos", re.compile(r"[1-9][0-9]\.(0|[1-9][0-9]?)"), mac_platforms),
    }
)
