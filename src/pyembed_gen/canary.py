"""Proof that a pip is steered: a question whose right answer is known, asked in the same process before the real one.

Wheels that lie in a folder are resolved for the target. What a pip would take that sees the machine it runs on, in its
markers, its tags or its Python, differs from what the target takes; so a wrong answer shows, whatever was the cause.
Where machine and target do not differ, seeing the one is seeing the other.

    asked for    pyembed-canary-hit[deep]   and pyembed-canary-miss, if the markers are not the target's
    hit 1        has the target's lowest tag, and is right; needs the others under markers, deep by its extra
    hit 2, 3     have tags of this machine and of other platforms that the target does not take
    hit 4        is for every Python but the target's
    deep 1, 2    bound to 1 by a constraint with the target's markers, to 2 by one with others
    miss         is for markers that are not the target's; its tag is no tag of the target
"""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.tags import Tag, sys_tags
from packaging.version import Version

from pyembed_gen.errors import PipError
from pyembed_gen.piprun import VERSION, Command
from pyembed_gen.target import Target

__all__ = ["check", "command", "write"]

_PREFIX = "pyembed-canary"
_HIT, _MISS, _DEEP = (f"{_PREFIX}-{name}" for name in ("hit", "miss", "deep"))
_RIGHT = {_HIT: "1", _DEEP: "1"}
# Of each kind one: some of them are foreign to any target.
_FOREIGN = ("manylinux1_x86_64", "manylinux2014_aarch64", "macosx_10_9_x86_64", "macosx_11_0_arm64", "win_amd64")
_MOST = 2  # platform tags of this machine from either end of its list: a file name has no room for all


@dataclass(frozen=True, slots=True)
class _Wheel:
    """A wheel without content. ``tag`` is compressed: dots stand between alternatives."""

    name: str
    version: str
    tag: str = "py3-none-any"
    python: str = ""
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write it, as small as pip takes it."""
        stem = f"{self.name.replace('-', '_')}-{self.version}"
        metadata = [
            *("Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"),
            *([f"Requires-Python: {self.python}"] if self.python else []),
            *(f"Provides-Extra: {extra}" for extra in self.extras),
            *(f"Requires-Dist: {requirement}" for requirement in self.requires),
        ]
        wheel = ["Wheel-Version: 1.0", "Root-Is-Purelib: true", f"Tag: {self.tag}"]
        with zipfile.ZipFile(folder / f"{stem}-{self.tag}.whl", "w") as archive:
            for name, lines in (("METADATA", metadata), ("WHEEL", wheel), ("RECORD", [])):
                archive.writestr(f"{stem}.dist-info/{name}", "".join(f"{line}\n" for line in lines))


def write(folder: Path, target: Target, machine: Sequence[Tag] | None = None) -> None:
    """Write the wheels for a target, and a constraint file, into an empty folder.

    ``machine`` are the tags of the machine that pip runs on, by default of this one.
    """
    for wheel in _wheels(target, tuple(sys_tags()) if machine is None else machine):
        wheel.write(folder)
    yes, no = _markers(target.environment)
    (folder / "constraints.txt").write_text(f"{_DEEP}==1; {yes}\n{_DEEP}==2; {no}\n", "ascii")


def command(folder: Path, target: Target, report: Path, arguments: Iterable[str]) -> Command:
    """Return pip's command for what :func:`write` wrote. ``arguments`` are those of every resolution."""
    yes, no = _markers(target.environment)
    where = ("--no-index", f"--find-links={folder}", f"--constraint={folder / 'constraints.txt'}")
    own = ("--quiet", "--quiet", f"--report={report}")
    return Command((*arguments, *where, *own, f"{_HIT}[deep]; {yes}", f"{_MISS}; {no}"), settings=False)


def check(report: Mapping[str, Any] | None, target: Target) -> None:
    """Raise PipError unless pip's report, None if there is none, has what is right for the target."""
    found = {item["metadata"]["name"]: item["metadata"]["version"] for item in report["install"]} if report else {}
    if found == _RIGHT and report and report["environment"] == target.environment:
        return
    took = ", ".join(f"{name} {version}" for name, version in sorted(found.items())) or "nothing"
    raise PipError(
        f"steering pip {VERSION} for {target.label}: of wheels whose right choice is known it took {took}",
        hint="install pyembed-gen into a virtual environment of its own; if that does not help, please report it",
    )


def _wheels(target: Target, machine: Sequence[Tag]) -> list[_Wheel]:
    yes, no = _markers(target.environment)
    python = Version(target.version).base_version
    right = str(target.lowest_tag)
    platforms = _foreign_platforms(target, machine)
    foreign = f"{target.tags[0].interpreter}-{target.tags[0].abi}-{'.'.join(platforms)}"
    needs = (f"{_DEEP}; {yes}", f"{_MISS}; {no}", f"{_DEEP}; ({yes}) and extra == 'deep'")
    also = (f"{_MISS}; ({no}) and extra == 'deep'",)
    return [
        _Wheel(_HIT, "1", right, f"=={python}", (*needs[1:], *also), ("deep",)),
        _Wheel(_HIT, "2", foreign),
        *(_Wheel(_HIT, "3", str(tag)) for tag in _foreign_pythons(target, machine)),
        _Wheel(_HIT, "4", right, f"!={python}", (), ("deep",)),
        *(_Wheel(_DEEP, version) for version in ("1", "2")),
        _Wheel(_MISS, "1", foreign),
        _Wheel(_MISS, "2"),
    ]


def _foreign_platforms(target: Target, machine: Sequence[Tag]) -> list[str]:
    """Return platform tags that the target does not take: of other platforms, and of this machine."""
    taken = {tag.platform for tag in target.tags}
    own = [name for name in dict.fromkeys(tag.platform for tag in machine) if name not in taken]
    return sorted({*(name for name in _FOREIGN if name not in taken), *own[:_MOST], *own[-_MOST:]})


def _foreign_pythons(target: Target, machine: Sequence[Tag]) -> list[Tag]:
    """Return the tag with this machine's Python that comes nearest to the target, if the target does not take it."""
    tag = Tag(machine[0].interpreter, machine[0].abi, target.lowest_tag.platform)
    return [] if tag in target.tags else [tag]


def _markers(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return a marker that holds for an environment alone, and one that holds for any other."""
    yes = " and ".join(f"{name} == '{value}'" for name, value in sorted(environment.items()))
    no = " or ".join(f"{name} != '{value}'" for name, value in sorted(environment.items()))
    return yes, no
