"""Packages the CPython that runs the generator: its base installation, never the virtual environment.

The result runs where the same system libraries are, so it is marked as not portable. It is laid out as
PBS lays out its installations, whoever built the interpreter: pyenv, Debian, python.org or PBS itself.
"""

import io
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from pyembed_gen import directory, libpython
from pyembed_gen.directory import Folder
from pyembed_gen.members import Member, Source
from pyembed_gen.pbs import FACTS

__all__ = ["interpreter", "is_free_threaded", "source", "version"]

# PYTHON.json of a PBS archive lists these for its version; no interpreter says it of itself.
_TEST_PACKAGES = [
    "ctypes.test",
    "distutils.tests",
    "idlelib.idle_test",
    "lib2to3.tests",
    "sqlite3.test",
    "test",
    "tkinter.test",
    "unittest.test",
]


def interpreter() -> Path:
    """Return the real path of the base interpreter that runs the generator.

    A framework build (python.org and Homebrew on macOS) has a small launcher as ``bin/python3``; the interpreter
    itself is in an application bundle.
    """
    application = Path(sys.base_prefix) / "Resources" / "Python.app" / "Contents" / "MacOS" / "Python"
    if application.is_file():
        return application
    return Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()


def version() -> str:
    """Return the exact version of the interpreter that runs the generator."""
    return platform.python_version().rstrip("+")


def is_free_threaded() -> bool:
    """Whether the interpreter that runs the generator was built without the GIL (PEP 703)."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def source(triple: str) -> Source:
    """Return the running interpreter's installation as a source; ``triple`` is what it will be called."""

    def members() -> Iterator[Member]:
        yield _facts(triple)
        yield from _licenses()
        if sys.platform == "win32":
            yield from directory.walk(
                Folder(Path(sys.base_prefix), "python"), top=Path(sys.base_prefix).resolve(), skip=_skip
            )
        else:
            yield from _interpreter()
            yield from _stdlib()

    return Source(members=members, label=f"{interpreter()} of this machine", portable=False)


def _facts(triple: str) -> Member:
    facts = {
        "python_version": version(),
        "target_triple": triple,
        "python_stdlib_test_packages": _TEST_PACKAGES,
        "licenses": ["PSF-2.0"],
        "license_path": "licenses/LICENSE.cpython.txt",
    }
    return _content(FACTS, json.dumps(facts).encode())


def _content(name: str, content: bytes, *, executable: bool = False) -> Member:
    return Member(name, "file", len(content), executable, content=io.BytesIO(content))


def _licenses() -> Iterator[Member]:
    package = f"python{_line()}"
    candidates = (
        _stdlib_path() / "LICENSE.txt",
        Path(sys.base_prefix) / "LICENSE.txt",
        Path("/usr/share/doc") / f"{package}-minimal" / "copyright",
        Path("/usr/share/doc") / package / "copyright",
    )
    for candidate in candidates:
        if candidate.is_file():
            yield from directory.file(candidate, "python/licenses/LICENSE.cpython.txt")
            return


def _interpreter() -> Iterator[Member]:
    path = interpreter()
    name = f"python{_line()}{sys.abiflags}"
    content = path.read_bytes()
    library = libpython.linked(content, path, _line())
    if library is not None:
        yield from directory.file(library.path, f"python/lib/{library.name}")
        content = libpython.relocated(content, path, library)
    yield _content(f"python/bin/{name}", content, executable=True)
    for alias in dict.fromkeys(("python", "python3", f"python{_line()}")):
        if alias != name:
            yield Member(f"python/bin/{alias}", "link", target=name)


def _stdlib() -> Iterator[Member]:
    stdlib = _stdlib_path()
    abi = "t" if is_free_threaded() else ""
    name = f"python/lib/python{_line()}{abi}"
    seen: set[str] = set()
    for folder in (Folder(stdlib, name), *_more_folders(name)):
        for member in directory.walk(folder, top=stdlib.resolve(), skip=_skip):
            if member.name not in seen:
                seen.add(member.name)
                yield member


def _more_folders(name: str) -> Iterator[Folder]:
    """Yield the platform's part of the standard library, where a distribution keeps it apart."""
    platstdlib = Path(sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}))
    if platstdlib.is_dir():
        yield Folder(platstdlib, name)
    dynload = sysconfig.get_config_var("DESTSHARED")
    if dynload and Path(dynload).is_dir():
        yield Folder(Path(dynload), f"{name}/lib-dynload")


def _stdlib_path() -> Path:
    return Path(os.__file__).resolve().parent


def _skip(name: str) -> bool:
    return name.rpartition("/")[2] in ("site-packages", "dist-packages", "__pycache__")


def _line() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
