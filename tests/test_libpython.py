"""A shared libpython is found, and the interpreter that links it is made to find it beside itself."""

import sysconfig
from pathlib import Path

import pytest

import pbs
from pyembed_gen import binary, libpython
from pyembed_gen.errors import ArchiveError

FRAMEWORK = "/Library/Frameworks/Python.framework/Versions/3.99/Python"


@pytest.fixture(autouse=True)
def no_libdir(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the running interpreter's own LIBDIR lead nowhere."""
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: None)


def elf(*, runpath: str = "") -> bytes:
    """Return an interpreter that links libpython 3.99."""
    return pbs.elf("x86_64", kind="program", needed=("libc.so.6", "libpython3.99.so.1.0"), runpath=runpath)


def test_static_interpreter_links_none(tmp_path: Path) -> None:
    """An interpreter that has all in itself needs nothing, and neither does a script."""
    assert libpython.linked(pbs.elf("x86_64", kind="program", needed=("libc.so.6",)), tmp_path, "3.99") is None
    assert libpython.linked(b"#!/bin/sh\n", tmp_path, "3.99") is None


def test_library_is_found_beside_the_program(tmp_path: Path) -> None:
    """Without better knowledge the library is looked for in ../lib of the program."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libpython3.99.so.1.0").touch()
    found = libpython.linked(elf(), tmp_path / "bin" / "python3", "3.99")
    assert found is not None
    assert found.path == tmp_path / "lib" / "libpython3.99.so.1.0"
    assert found.name == "libpython3.99.so.1.0"


def test_library_is_found_in_libdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LIBDIR of the running interpreter says where its library is installed."""
    (tmp_path / "libpython3.99.so.1.0").touch()
    monkeypatch.setattr(sysconfig, "get_config_var", {"LIBDIR": str(tmp_path)}.get)
    found = libpython.linked(elf(), Path("/nowhere/bin/python3"), "3.99")
    assert found is not None
    assert found.path == tmp_path / "libpython3.99.so.1.0"


def test_missing_library_is_an_error() -> None:
    """An interpreter whose libpython cannot be found is refused, not packaged without it."""
    with pytest.raises(ArchiveError, match=r"its library libpython3\.99\.so\.1\.0 was not found"):
        libpython.linked(elf(), Path("/nowhere/bin/python3"), "3.99")


def test_absolute_runpath_becomes_relative(tmp_path: Path) -> None:
    """pyenv's RUNPATH becomes $ORIGIN/../lib in place; nothing else changes."""
    content = elf(runpath="/opt/pyenv/versions/3.99.0/lib")
    library = libpython.Linked(tmp_path, "libpython3.99.so.1.0", "libpython3.99.so.1.0")
    changed = libpython.relocated(content, tmp_path, library)
    facts = binary.read(changed)
    assert facts is not None
    assert facts.runpath == ("$ORIGIN/../lib",)
    assert len(changed) == len(content)


@pytest.mark.parametrize("runpath", ["", "$ORIGIN/../lib"])
def test_interpreter_that_is_right_already_is_not_touched(tmp_path: Path, runpath: str) -> None:
    """Without a RUNPATH the system's loader finds the library; with a relative one it lies beside."""
    content = elf(runpath=runpath)
    assert libpython.relocated(content, tmp_path, libpython.Linked(tmp_path, "l", "l")) == content


def test_runpath_without_room_is_an_error(tmp_path: Path) -> None:
    """A RUNPATH that is too short to be rewritten in place is refused with what to do instead."""
    with pytest.raises(ArchiveError, match=r"its library path cannot be made relative: .*; use --source"):
        libpython.relocated(elf(runpath="/l"), tmp_path, libpython.Linked(tmp_path, "l", "l"))


def test_framework_interpreter_loads_its_library_from_beside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """python.org's interpreter for macOS loads @executable_path/../lib/libpython3.99.dylib, and is signed anew."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "codesign").write_text('#!/bin/sh\nfor last; do :; done\nprintf signed >> "$last"\n', encoding="ascii")
    (tools / "codesign").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    content = pbs.macho("aarch64", kind="program", needed=(FRAMEWORK,))
    library = libpython.Linked(tmp_path, FRAMEWORK, "libpython3.99.dylib")
    changed = libpython.relocated(content, tmp_path / "Python", library)
    assert changed.endswith(b"signed")
    facts = binary.read(changed.removesuffix(b"signed"))
    assert facts is not None
    assert facts.needed == ("@executable_path/../lib/libpython3.99.dylib",)


def test_framework_library_is_looked_for_where_the_program_names_it(tmp_path: Path) -> None:
    """The absolute name in the Mach-O file leads to the library, which gets libpython's name in the bundle."""
    folder = tmp_path / "Python.framework" / "Versions" / "3.99"
    folder.mkdir(parents=True)
    (folder / "Python").touch()
    content = pbs.macho("aarch64", kind="program", needed=(f"{folder}/Python",))
    found = libpython.linked(content, Path("/nowhere/python3"), "3.99")
    assert found == libpython.Linked(folder / "Python", f"{folder}/Python", "libpython3.99.dylib")


def test_mac_program_that_cannot_be_signed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without codesign the result could not run, so it is refused."""
    monkeypatch.setenv("PATH", str(tmp_path))
    content = pbs.macho("aarch64", kind="program", needed=(FRAMEWORK,))
    with pytest.raises(ArchiveError, match="signing a copy of"):
        libpython.relocated(content, tmp_path / "Python", libpython.Linked(tmp_path, FRAMEWORK, "libpython3.99.dylib"))
