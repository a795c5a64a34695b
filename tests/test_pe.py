"""PE files say who they are and which libraries they need."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import Elf, macho, pe
from pyembed_gen import binary
from pyembed_gen import pe as reader
from pyembed_gen.binary import BinaryError

SIGNATURE, OPTIONAL = 0x80, 0x98


def _patched(content: bytes, offset: int, form: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, offset, value)
    return bytes(changed)


@pytest.mark.parametrize("plus", [True, False])
@pytest.mark.parametrize("old_delay", [True, False])
def test_read(plus: bool, old_delay: bool) -> None:
    """Imports, delay imports and forwarders are all needed, in PE32 and PE32+."""
    content = pe(
        ["python314.dll", "KERNEL32.dll"],
        delayed=["WMI.dll", "KERNEL32.dll"],
        exports=[None, "python314.PyX", "api-ms-win-x-l1-1-0.Fn", "a.drv.#7"],
        plus=plus,
        old_delay=old_delay,
    )
    assert binary.read(content) == binary.Binary(
        format="pe",
        machines=("x86_64",),
        kind="library",
        needed=("python314.dll", "KERNEL32.dll", "WMI.dll", "api-ms-win-x-l1-1-0.dll", "a.drv"),
    )


@pytest.mark.parametrize(
    ("machine", "name"),
    [(0x8664, "x86_64"), (0x14C, "i386"), (0xAA64, "aarch64"), (0x1C4, "arm"), (0x200, "machine-512")],
)
def test_machine(machine: int, name: str) -> None:
    """The machine is the one of the file header."""
    found = reader.read(pe(machine=machine))
    assert found == binary.Binary("pe", (name,), "library")


@pytest.mark.parametrize(("flags", "kind"), [(0x2022, "library"), (0x22, "program"), (0, "object")])
def test_kind(flags: int, kind: str) -> None:
    """The file header says what a file is, not its name."""
    found = reader.read(pe(flags=flags))
    assert found
    assert found.kind == kind


@pytest.mark.parametrize(
    "content",
    [
        b"MZ",
        b"MZ is how this text begins, which goes on for longer than a header of DOS would.",
        b"MZ" + bytes(100),
        _patched(pe(), SIGNATURE, "<I", int.from_bytes(b"NE\0\0", "little")),
    ],
)
def test_other_files_with_mz(content: bytes) -> None:
    """Text, DOS programs and those of 16 bit Windows are not PE."""
    assert binary.read(content) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pe()[:100], "outside"),
        (pe(["a.dll"])[:-20], "outside"),
        (_patched(pe(), OPTIONAL, "<H", 0x107), "optional header 0x107"),
        (_patched(pe(), SIGNATURE + 6, "<H", 97), "97 sections"),
        (_patched(pe(), SIGNATURE + 20, "<H", 100), "data directories"),
        (_patched(pe(["a.dll"]), OPTIONAL + 120, "<I", 0x9000), "no section has address"),
        (_patched(pe(["a.dll"]), 0x41C + 8, "<I", 0x9000), "outside|no section"),
        (_patched(pe(exports=[None]), 0x410 + 20, "<I", 70000), "more than 65536"),
        (pe(["a.dll"] * 4097), "more than 4096"),
        (pe([f"{'a' * 600}.dll"]), "does not end"),
    ],
)
def test_malformed(content: bytes, message: str) -> None:
    """A damaged file is refused with a message that says what is wrong with it."""
    with pytest.raises(BinaryError, match=message):
        binary.read(content)


def test_few_directories() -> None:
    """A file may have fewer data directories than there are kinds of them."""
    content = _patched(pe(["a.dll"], delayed=["b.dll"]), OPTIONAL + 108, "<I", 2)
    found = reader.read(content)
    assert found
    assert found.needed == ("a.dll",)


def test_table_ends_without_thunks() -> None:
    """The loader stops at an import without addresses to fill in, and so does the reader."""
    content = pe(["a.dll", "b.dll"])
    place = content.index(struct.pack("<5I", 1, 0, 0, 0x1018, 1))
    found = reader.read(_patched(content, place + 16, "<I", 0))
    assert found
    assert found.needed == ("a.dll",)


def test_no_exports() -> None:
    """An export table may be there and export nothing."""
    found = reader.read(_patched(pe(exports=[None]), 0x410 + 20, "<I", 0))
    assert found
    assert found.needed == ()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (pe()[:8], True),
        (Elf().build()[:8], True),
        (macho([])[:8], True),
        (bytes.fromhex("cafebabe00000002"), True),
        (bytes.fromhex("cafebabf00000002"), True),
        (b"#!/bin/sh", True),
        (bytes.fromhex("cafebabe00000034"), False),
        (bytes.fromhex("cafebabe"), False),
        (b"import os", False),
        (b"", False),
    ],
)
def test_looks_executable(head: bytes, expected: bool) -> None:
    """The first bytes tell which files are to be executable on a host without modes."""
    assert binary.looks_executable(head) is expected


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"import os\n", b"\0" * 100])
def test_neither_of_the_three(content: bytes) -> None:
    """What is neither ELF, Mach-O nor PE says nothing of itself."""
    assert binary.read(content) is None


def test_reader_does_not_leave_its_part() -> None:
    """Offsets before the beginning are as far outside as those behind the end."""
    part = binary.Reader(memoryview(b"abcdef"), "file", "<", 2, 5)
    assert part.take(0, 3) == b"cde"
    for offset, size in ((-1, 1), (0, 4), (3, 1), (0, -1)):
        with pytest.raises(BinaryError, match="outside"):
            part.take(offset, size)


@given(st.data())
def test_mutations_raise_nothing_else(data: st.DataObject) -> None:
    """Whatever is damaged in a file, reading it ends, and fails with BinaryError if it fails."""
    content = bytearray(pe(["a.dll"], delayed=["b.dll"], exports=["c.d", None], plus=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(2, len(content) - 1))] = data.draw(st.sampled_from([0, 1, 8, 0x7F, 0x80, 0xFF]))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(BinaryError):
        binary.read(damaged)
