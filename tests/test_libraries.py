"""A shared library stays when a loader could ask for it, and goes when nothing does."""

from collections.abc import Iterable, Mapping
from typing import Literal

import pytest

from pyembed_gen.binary import Binary
from pyembed_gen.libraries import unneeded

Format = Literal["elf", "macho", "pe"]


def elf(*needed: str, soname: str = "", runpath: Iterable[str] = (), program: bool = False) -> Binary:
    kind: Literal["program", "library"] = "program" if program else "library"
    return Binary("elf", ("x86_64",), kind, needed, soname, tuple(runpath))


def dylib(*needed: str, soname: str = "", runpath: Iterable[str] = (), program: bool = False) -> Binary:
    kind: Literal["program", "library"] = "program" if program else "library"
    return Binary("macho", ("aarch64",), kind, needed, soname, tuple(runpath))


def dll(*needed: str) -> Binary:
    return Binary("pe", ("x86_64",), "library", needed)


def gone(binaries: Mapping[str, Binary], entry: str, links: Mapping[str, str] | None = None) -> set[str]:
    """Return what is unneeded when everything but ``entry`` is a candidate."""
    links = links or {}
    candidates = {*binaries, *links} - {entry}
    return set(unneeded(binaries, links, candidates=candidates, entry_points=[entry]))


def test_transitive() -> None:
    """What a needed library needs is needed; what only an unneeded one needs is not."""
    tree = {
        "bin/py": elf("liba.so"),
        "lib/liba.so": elf("libb.so"),
        "lib/libb.so": elf("libc.so.6"),
        "lib/libx.so": elf("liby.so"),
        "lib/liby.so": elf(),
    }
    assert gone(tree, "bin/py") == {"lib/libx.so", "lib/liby.so"}


def test_libraries_that_need_each_other() -> None:
    """A circle of libraries ends, and is needed as a whole or not at all."""
    circle = {"lib/a.so": elf("b.so"), "lib/b.so": elf("a.so")}
    assert gone({"py": elf("a.so"), **circle}, "py") == set()
    assert gone({"py": elf(), **circle}, "py") == {"lib/a.so", "lib/b.so"}


@pytest.mark.parametrize("origin", ["$ORIGIN", "${ORIGIN}"])
def test_run_path_comes_first(origin: str) -> None:
    """A library that the run path leads to is the one that is needed, not its namesake."""
    tree = {
        "bin/py": elf("liba.so", runpath=["/usr/lib", f"{origin}/../lib/"]),
        "lib/liba.so": elf(),
        "other/liba.so": elf(),
    }
    assert gone(tree, "bin/py") == {"other/liba.so"}


def test_anywhere_without_run_path() -> None:
    """Without a run path that leads to it, every library with that name or soname may be meant."""
    tree = {
        "bin/py": elf("liba.so.1"),
        "lib/liba.so.1": elf(),
        "x/liba-1.2.so": elf(soname="liba.so.1"),
        "lib/libb.so": elf(),
    }
    assert gone(tree, "bin/py") == {"lib/libb.so"}


def test_origin_path() -> None:
    """A dependency may be a path beside the file that needs it, as in python-build-standalone's 3.13."""
    tree = {
        "bin/python3.13": elf("$ORIGIN/../lib/libpython3.13.so.1.0", "libc.so.6", program=True),
        "lib/libpython3.13.so.1.0": elf(soname="libpython3.13.so.1.0"),
        "lib/libpython3.so": elf("$ORIGIN/../lib/libpython3.13.so.1.0"),
    }
    assert gone(tree, "bin/python3.13", {"lib/libpython3.13.so": "libpython3.13.so.1.0"}) == {
        "lib/libpython3.so",
        "lib/libpython3.13.so",
    }


def test_needed_only_by_what_goes() -> None:
    """libpython3.so does not keep libpython: it is not needed itself."""
    tree = {
        "bin/python3.14": elf("libc.so.6", program=True),
        "lib/libpython3.14.so.1.0": elf(),
        "lib/libpython3.so": elf("$ORIGIN/../lib/libpython3.14.so.1.0"),
    }
    assert gone(tree, "bin/python3.14") == {"lib/libpython3.14.so.1.0", "lib/libpython3.so"}
    both = unneeded(tree, {}, candidates=set(tree), entry_points=["lib/libpython3.so"])
    assert both == {"bin/python3.14"}


def test_links() -> None:
    """A link through which a library is found is needed with what it leads to; other links are not."""
    tree = {"py": elf("liba.so.1"), "lib/liba.so.1.2": elf()}
    links = {"lib/liba.so.1": "liba.so.1.2", "lib/liba.so": "liba.so.1"}
    assert gone(tree, "py", links) == {"lib/liba.so"}


def test_entry_point_is_a_link() -> None:
    """An entry point may be a link, also through a directory that is one."""
    tree = {"usr/bin/py3": elf("liba.so", runpath=["$ORIGIN"]), "usr/bin/liba.so": elf(), "liba.so": elf()}
    links = {"bin": "usr/bin", "py": "./bin/../bin/py3"}
    assert gone(tree, "py", links) == {"liba.so"}


def test_link_circles() -> None:
    """Links in a circle lead nowhere, and end."""
    links = {"a.so": "b.so", "b.so": "a.so", "d": "d/x"}
    assert gone({"py": elf("a.so", "$ORIGIN/d/e")}, "py", links) == {"d"}


def test_entry_points_that_are_no_binaries() -> None:
    """A script needs nothing, and neither does a name that the tree lacks."""
    assert unneeded({"a.so": elf()}, {}, candidates=["a.so"], entry_points=["run.py", "gone"]) == {"a.so"}


def test_candidate_that_could_not_be_read() -> None:
    """A candidate about which nothing is known is needed by its file name."""
    found = unneeded({"py": elf("x.so")}, {}, candidates=["lib/x.so", "lib/y.so"], entry_points=["py"])
    assert found == {"lib/y.so"}


def test_macos_paths() -> None:
    """@rpath, @loader_path and @executable_path lead from the library, or from the program that loads it."""
    tree = {
        "bin/python": dylib(
            "@executable_path/../lib/libpython.dylib", runpath=["@executable_path/../rp"], program=True
        ),
        "lib/libpython.dylib": dylib("@rpath/liba.dylib", "@loader_path/sub/libb.dylib"),
        "rp/liba.dylib": dylib("@rpath/libc.dylib", runpath=["@loader_path/own/"]),
        "rp/own/libc.dylib": dylib("@executable_path/x.dylib"),
        "bin/x.dylib": dylib(),
        "lib/sub/libb.dylib": dylib(),
        "lib/x.dylib": dylib(),
        "lib/liba.dylib": dylib(),
        "lib/libb.dylib": dylib(),
        "lib/libc.dylib": dylib(),
    }
    assert gone(tree, "bin/python") == {"lib/x.dylib", "lib/liba.dylib", "lib/libb.dylib", "lib/libc.dylib"}


def test_macos_absolute_path() -> None:
    """A path of the machine that built a library means the file of that name, or the library of that name."""
    tree = {
        "bin/python": dylib("/install/lib/libpython3.10.dylib", "@rpath/libt.1.dylib", program=True),
        "lib/libpython3.10.dylib": dylib(),
        "lib/libt.dylib": dylib(soname="libt.1.dylib"),
        "lib/libu.dylib": dylib("/usr/lib/libSystem.B.dylib"),
    }
    assert gone(tree, "bin/python") == {"lib/libu.dylib"}


def test_windows() -> None:
    """Names on Windows have no case, may lack .dll, and are found in any directory of the tree."""
    tree = {
        "python.exe": dll("PYTHON314.dll", "KERNEL32.dll", "vcruntime140"),
        "python314.dll": dll(),
        "VCRUNTIME140.dll": dll(),
        "DLLs/zlib1.dll": dll(),
        "DLLs/_ctypes.pyd": dll("libffi-8.dll"),
        "DLLs/LibFFI-8.DLL": dll(),
    }
    found = unneeded(
        tree,
        {},
        candidates=[name for name in tree if name.lower().endswith("dll")],
        entry_points=["python.exe", "DLLs/_ctypes.pyd"],
    )
    assert found == {"DLLs/zlib1.dll"}
