"""The shared libpython of an interpreter that links one: where it is, and how the pair is made to move.

An interpreter of PBS finds its library beside itself. One that a developer built or installed finds it by an
absolute path: a RUNPATH (pyenv on Linux), or the name in LC_LOAD_DYLIB (pyenv and python.org on macOS).
"""

import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyembed_gen import binary, elf, macho
from pyembed_gen.binary import Binary, BinaryError
from pyembed_gen.errors import ArchiveError

__all__ = ["Linked", "linked", "relocated"]

_RUNPATH = "$ORIGIN/../lib"
_DYLIB_FOLDER = "@executable_path/../lib"
_HINT = "use --source with a PBS archive"


@dataclass(frozen=True, slots=True)
class Linked:
    """A shared libpython: the file, how the interpreter names it, and its file name in a bundle's ``lib``."""

    path: Path
    needed: str
    name: str


def linked(content: bytes, program: Path, line: str) -> Linked | None:
    """Return the libpython that an interpreter links, or None if it has all in itself.

    Raises ArchiveError if it links one that cannot be found.
    """
    facts = binary.read(content)
    for needed in facts.needed if facts else ():
        name = needed.rpartition("/")[2]
        if name.startswith("libpython"):
            return Linked(_find(needed, program), needed, name)
        if "/Python.framework/" in needed:  # macOS, python.org and Homebrew
            return Linked(_find(needed, program), needed, f"libpython{line}.dylib")
    return None


def relocated(content: bytes, program: Path, library: Linked) -> bytes:
    """Return the interpreter changed to find its library in ``../lib``; ArchiveError if there is no room for that.

    A change to a Mach-O file breaks its signature, so it gets an ad-hoc one from macOS's ``codesign``.
    """
    facts = binary.read(content)
    try:
        if facts is None or facts.format == "elf":
            return _elf(content, facts)
        return _signed(macho.set_dylib_path(content, library.needed, f"{_DYLIB_FOLDER}/{library.name}"), program)
    except BinaryError as error:
        raise ArchiveError(
            f"packaging {program}: its library path cannot be made relative: {error}", hint=_HINT
        ) from error


def _elf(content: bytes, facts: Binary | None) -> bytes:
    if facts is None or not facts.runpath or _RUNPATH in facts.runpath:
        return content  # the system's loader finds the library, or it lies beside already
    return elf.set_runpath(content, _RUNPATH)


def _signed(content: bytes, program: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / program.name
        path.write_bytes(content)
        try:
            command = ["codesign", "--force", "--sign", "-", str(path)]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ArchiveError(f"signing a copy of {program}: {error}", hint=_HINT) from error
        return path.read_bytes()


def _find(needed: str, program: Path) -> Path:
    name = needed.rpartition("/")[2]
    for folder in _folders(needed, name, program):
        if (folder / name).is_file():
            return folder / name
    raise ArchiveError(f"packaging {program}: its library {name} was not found", hint=_HINT)


def _folders(needed: str, name: str, program: Path) -> Iterator[Path]:
    yield from _mapped(name)
    if needed.startswith("/"):
        yield Path(needed).parent
    libdir = sysconfig.get_config_var("LIBDIR")
    if libdir:
        yield Path(libdir)
    yield program.parent.parent / "lib"


def _mapped(name: str) -> Iterator[Path]:
    """Yield the folder that this very process has its libpython from, where the kernel says so (Linux)."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        _, slash, path = line.partition("/")
        if slash and path.endswith(f"/{name}"):
            yield Path(f"/{path}").parent
            return
