"""Mach-O files say who they are, and a dependency can be renamed in place."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import fat, macho
from pyembed_gen import binary
from pyembed_gen import macho as reader
from pyembed_gen.binary import BinaryError

LOAD, ID, LINKER, LAZY = 0xC, 0xD, 0xE, 0x20
WEAK, RPATH, REEXPORT, UPWARD = 0x80000018, 0x8000001C, 0x8000001F, 0x80000023
X86_64, ARM64 = 0x01000007, 0x0100000C
COMMANDS = [
    (ID, "/install/lib/libtk9.dylib"),
    (LOAD, "@rpath/liba.dylib"),
    (WEAK, "/usr/lib/libb.dylib"),
    (REEXPORT, "@loader_path/c.dylib"),
    (UPWARD, "@executable_path/../lib/d.dylib"),
    (LAZY, "libe.dylib"),
    (RPATH, "@loader_path/../lib"),
]
NEEDED = tuple(name for number, name in COMMANDS if number not in {ID, RPATH})


@pytest.mark.parametrize(("bits", "order"), [(64, "<"), (32, "<"), (64, ">"), (32, ">")])
def test_read(bits: int, order: str) -> None:
    """Every kind of dependency is needed, in files of both word sizes and byte orders."""
    assert binary.read(macho(COMMANDS, bits=bits, order=order)) == binary.Binary(
        format="macho",
        machines=("aarch64",),
        kind="library",
        needed=NEEDED,
        soname="libtk9.dylib",
        runpath=("@loader_path/../lib",),
    )


def test_program() -> None:
    """A program names its dynamic linker and has no soname."""
    found = reader.read(macho([(LINKER, "/usr/lib/dyld"), (LOAD, "/usr/lib/libSystem.B.dylib")], kind=2, cpu=X86_64))
    assert (found.kind, found.machines, found.interpreter) == ("program", ("x86_64",), "/usr/lib/dyld")
    assert found.soname == ""


@pytest.mark.parametrize(
    ("number", "kind"), [(1, "object"), (2, "program"), (6, "library"), (8, "library"), (10, "object")]
)
def test_kind(number: int, kind: str) -> None:
    """Bundles are libraries; objects and debug symbols are nothing that a loader takes."""
    assert reader.read(macho([], kind=number)).kind == kind


def test_unknown_machine() -> None:
    """A processor without a name of its own is given by its number."""
    assert reader.read(macho([], cpu=99)).machines == ("machine-99",)


@pytest.mark.parametrize("wide", [False, True])
def test_universal(wide: bool) -> None:
    """A universal file has all its machines, and needs what any of its architectures needs."""
    one, other = macho([(LOAD, "a"), (LOAD, "b")], cpu=X86_64), macho([(LOAD, "b"), (LOAD, "c")])
    found = binary.read(fat([(X86_64, one), (ARM64, other)], wide=wide))
    assert found
    assert found.machines == ("x86_64", "aarch64")
    assert found.needed == ("a", "b", "c")


def test_universal_static_library() -> None:
    """An archive of objects for several architectures is an object."""
    found = binary.read(fat([(X86_64, b"!<arch>\nabc"), (ARM64, b"!<arch>\ndef")]))
    assert found == binary.Binary("macho", ("x86_64", "aarch64"), "object")


def test_java_class_is_nothing() -> None:
    """A Java class begins like a universal Mach-O but is none."""
    content = bytes.fromhex("cafebabe00000034") + bytes(100)
    assert binary.read(content) is None
    assert not binary.looks_executable(content)


def _count(content: bytes, number: int) -> bytes:
    return content[:16] + struct.pack("<I", number) + content[20:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xcf\xfa\xed\xfe", "outside"),
        (macho(COMMANDS)[:60], "outside"),
        (macho(COMMANDS)[:-1], "outside the others"),
        (_count(macho(COMMANDS), 20000), "more than 16384"),
        (_count(macho(COMMANDS), 16), "outside"),
        (macho([(LOAD, "abc")])[:36] + bytes(4) + macho([(LOAD, "abc")])[40:], "outside the others"),
        (macho([(LOAD, "abcdefg")]).replace(b"g\0", b"gh"), "does not end"),
        (
            macho([(LOAD, "a")]).replace(struct.pack("<III", LOAD, 32, 24), struct.pack("<III", LOAD, 32, 99)),
            "outside",
        ),
        (fat([]), "no architecture"),
        (fat([(ARM64, b"text....")]), "another format"),
        (fat([(ARM64, macho(COMMANDS))])[:-1], "slice lies outside"),
        (fat([(ARM64, b"")] * 3)[:40], "outside"),
    ],
)
def test_malformed(content: bytes, message: str) -> None:
    """A damaged file is refused with a message that says what is wrong with it."""
    with pytest.raises(BinaryError, match=message):
        binary.read(content)


def test_names_are_bounded() -> None:
    """A name has 4 KiB at most, however large its load command is."""
    assert reader.read(macho([(LOAD, "a" * 4095)])).needed == ("a" * 4095,)
    assert reader.read(macho([(LOAD, "a")], room=9000)).needed == ("a",)
    with pytest.raises(BinaryError, match="does not end within 4096 bytes"):
        reader.read(macho([(LOAD, "a" * 4096)]))


@pytest.mark.parametrize("wide", [False, True])
def test_slices_that_overlap(wide: bool) -> None:
    """One range cannot be the code of two architectures."""
    content = bytearray(fat([(X86_64, macho(COMMANDS)), (ARM64, macho(COMMANDS))], wide=wide))
    step, place, form = (32, 8, ">Q") if wide else (20, 8, ">I")
    first = struct.unpack_from(form, content, 8 + place)[0]
    struct.pack_into(form, content, 8 + step + place, first)
    with pytest.raises(BinaryError, match="slices overlap"):
        binary.read(content)


def test_commands_of_all_slices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many architectures may not have more load commands than one."""
    content = fat([(X86_64, macho(COMMANDS)), (ARM64, macho(COMMANDS))])
    monkeypatch.setattr(reader, "MAX_COMMANDS", 2 * len(COMMANDS) + 2)
    assert reader.read(content).needed == NEEDED
    monkeypatch.setattr(reader, "MAX_COMMANDS", 2 * len(COMMANDS) + 1)
    with pytest.raises(BinaryError, match="load commands"):
        reader.read(content)


def test_set_dylib_path() -> None:
    """A dependency is renamed in every architecture, and no byte outside its name changes."""
    old, new = "/install/lib/libpython3.10.dylib", "@executable_path/../lib/p.dylib"
    content = fat([(X86_64, macho([(LOAD, old)], cpu=X86_64)), (ARM64, macho([(ID, old), (WEAK, old), (LOAD, "z")]))])
    changed = reader.set_dylib_path(content, old, new)
    assert reader.read(changed).needed == (new, "z")
    assert reader.read(changed).soname == "libpython3.10.dylib"
    assert len(changed) == len(content)
    assert changed.count(new.encode() + b"\0") == 2
    assert reader.set_dylib_path(changed, new, old) == content


def test_set_dylib_path_uses_the_padding() -> None:
    """The new name may be longer than the old one, up to the end of the load command with its NUL."""
    content = macho([(LOAD, "abc"), (LOAD, "next")])
    assert reader.read(reader.set_dylib_path(content, "abc", "abcdefg")).needed == ("abcdefg", "next")
    with pytest.raises(BinaryError, match="no room"):
        reader.set_dylib_path(content, "abc", "abcdefgh")


def test_set_dylib_path_refuses() -> None:
    """A name that is not there, or a new one with NUL, is refused; the file's own name is no dependency."""
    content = macho(COMMANDS)
    with pytest.raises(BinaryError, match="does not load"):
        reader.set_dylib_path(content, "/install/lib/libtk9.dylib", "x")
    with pytest.raises(BinaryError, match="NUL"):
        reader.set_dylib_path(content, "libe.dylib", "a\0b")


@given(st.data())
def test_mutations_raise_nothing_else(data: st.DataObject) -> None:
    """Whatever is damaged in a file, reading or changing it ends, and fails with BinaryError if it fails."""
    thin = macho(COMMANDS)
    content = bytearray(
        data.draw(st.sampled_from([thin, fat([(X86_64, thin), (ARM64, thin)]), fat([(7, thin)], wide=True)]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.sampled_from([0, 1, 8, 0x7F, 0x80, 0xFF]))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    for change in (lambda: binary.read(damaged), lambda: reader.set_dylib_path(damaged, "libe.dylib", "x")):
        with contextlib.suppress(BinaryError):
            change()
