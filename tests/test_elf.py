"""ELF files say who they are, whatever their word size and byte order, and a run path can be replaced."""

import contextlib
import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import deflate
import pytest
import zstandard
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from native import BASE, Elf, Loose
from pyembed_gen import binary, elf
from pyembed_gen.binary import BinaryError

MACHINES = [
    ("x86_64", 62, 64, "<"),
    ("aarch64", 183, 64, "<"),
    ("i386", 3, 32, "<"),
    ("arm", 40, 32, "<"),
    ("ppc64le", 21, 64, "<"),
    ("s390x", 22, 64, ">"),
    ("riscv64", 243, 64, "<"),
    ("machine-8", 8, 32, ">"),
]


def _samples() -> list[Path]:
    """Return real ELF files that every Linux installation of this project has."""
    packages = [Path(module.__file__).parent for module in (deflate, zstandard)]
    modules = [min(package.rglob("*.so")) for package in packages]
    return [*modules, Path(os.path.realpath(sys.executable))]


@pytest.mark.parametrize(("name", "machine", "bits", "order"), MACHINES)
def test_read_of_every_machine(name: str, machine: int, bits: int, order: str) -> None:
    """Names, run path and interpreter are read for each machine, though .dynstr straddles two segments."""
    file = Elf(
        bits=bits,
        order=order,
        machine=machine,
        interpreter="/lib/ld.so",
        needed=["libz.so.1", "libc.so.6", "libz.so.1"],
        runpath="$ORIGIN/../lib:/usr/lib:",
        between=[Loose(".gap", b"x" * 99)],
    )
    found = binary.read(file.build())
    assert found == binary.Binary(
        format="elf",
        machines=(name,),
        kind="program",
        needed=("libz.so.1", "libc.so.6"),
        runpath=("$ORIGIN/../lib", "/usr/lib"),
        interpreter="/lib/ld.so",
    )


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (Elf(type=2), "program"),
        (Elf(), "library"),
        (Elf(flags_1=0x08000001), "program"),
        (Elf(flags_1=1), "library"),
        (Elf(interpreter="/lib/ld.so"), "program"),
        (Elf(interpreter="/lib/ld.so", soname="libc.so.6"), "library"),
        (Elf(type=1), "object"),
        (Elf(type=4), "object"),
    ],
)
def test_kind(file: Elf, kind: str) -> None:
    """A PIE is a program and a C library that can be run is a library, though both are ET_DYN."""
    assert elf.read(file.build()).kind == kind


def test_section_headers_do_not_matter() -> None:
    """A file without section headers reads like one with them."""
    file = Elf(needed=["liba.so"], soname="libb.so.2", between=[Loose(".gap")])
    assert elf.read(file.build()) == elf.read(replace(file, sections=False).build())
    assert elf.read(file.build()).soname == "libb.so.2"


def test_rpath_counts_only_without_runpath() -> None:
    """DT_RUNPATH makes the loader ignore DT_RPATH."""
    assert elf.read(Elf(rpath="/old").build()).runpath == ("/old",)
    assert elf.read(Elf(rpath="/old", runpath="/new").build()).runpath == ("/new",)


def test_static_file_needs_nothing() -> None:
    """A file without a dynamic segment is read, and needs nothing."""
    content = bytearray(Elf(type=2).build())
    content[64 + 2 * 56 : 64 + 2 * 56 + 4] = bytes(4)
    assert elf.read(bytes(content)) == binary.Binary("elf", ("x86_64",), "program")


def test_names_that_are_no_utf8_survive() -> None:
    """A name in another encoding can be turned back into its bytes."""
    content = Elf(needed=["libXX.so"]).build().replace(b"libXX.so", b"lib\xff\xfe.so")
    assert elf.read(content).needed[0].encode("utf-8", "surrogateescape") == b"lib\xff\xfe.so"


@pytest.mark.parametrize("path", _samples(), ids=lambda path: path.name)
def test_agrees_with_pyelftools(path: Path) -> None:
    """Real files read as pyelftools reads them."""
    with path.open("rb") as stream:
        other = ELFFile(stream)
        dynamic = next(each for each in other.iter_segments() if isinstance(each, DynamicSegment))
        needed = tuple(tag.needed for tag in dynamic.iter_tags("DT_NEEDED"))
        names = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}
        machine = names.get(other["e_machine"], elf.read(path.read_bytes()).machines[0])
    found = elf.read(path.read_bytes())
    assert found.needed == needed
    assert found.machines == (machine,)


def test_memory_map_is_not_held() -> None:
    """A mapped file can be closed after it was read, or found to be broken."""
    with _samples()[0].open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    assert binary.read(mapped)
    with memoryview(mapped)[:80] as part, pytest.raises(BinaryError):
        binary.read(part)
    mapped.close()


def _patched(content: bytes, offset: int, form: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, offset, value)
    return bytes(changed)


DYNAMIC_AT = 64 + 2 * 56


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF", "outside"),
        (_patched(Elf().build(), 4, "B", 3), "class"),
        (_patched(Elf().build(), 5, "B", 0), "byte order"),
        (_patched(Elf().build(), 6, "B", 9), "version"),
        (_patched(Elf().build(), 54, "<H", 57), "unknown size"),
        (_patched(Elf().build(), 58, "<H", 65), "unknown size"),
        (_patched(Elf().build(), 56, "<H", 0xFFFF), "too many program headers"),
        (_patched(Elf().build(), 56, "<H", 0xFFF0), "outside"),
        (_patched(Elf().build(), 32, "<Q", 1 << 63), "outside"),
        (_patched(Elf().build(), DYNAMIC_AT + 16, "<Q", 0), "no segment has address 0x0"),
        (Elf(extra_dynamic=[(5, 1)], needed=["a"]).build(), "no segment has address"),
        (Elf(extra_dynamic=[(10, 2)], needed=["libabc"]).build(), "does not end"),
        (Elf(extra_dynamic=[(10, 1 << 20)], needed=["a" * 5000]).build(), "does not end"),
        (Elf(extra_dynamic=[(1, 1 << 60)]).build(), "does not end"),
        (Elf(extra_dynamic=[(99, 0)] * 4100).build(), "more than 4096 entries"),
    ],
)
def test_malformed(content: bytes, message: str) -> None:
    """A damaged file is refused with a message that says what is wrong with it."""
    with pytest.raises(BinaryError, match=message):
        binary.read(content)


def test_no_string_table() -> None:
    """A dynamic table that names libraries but no string table is refused."""
    content = Elf(needed=["liba.so"]).build()
    place = re.search(re.escape(struct.pack("<Q", 5)) + rb"..\x40\0", content, re.DOTALL)
    assert place
    content = _patched(content, place.start(), "<Q", 99)
    with pytest.raises(BinaryError, match="no string table"):
        elf.read(content)


def test_too_many_segments() -> None:
    """A file with hundreds of segments, through which every name would be searched, is refused."""
    head = bytearray(Elf().build()[:64])
    struct.pack_into("<H", head, 56, 200)
    struct.pack_into("<QQ", head, 32, 64, 0)
    with pytest.raises(BinaryError, match="more than 128 segments"):
        elf.read(bytes(head) + struct.pack("<IIQQQQQQ", 1, 0, 0, 0, 0, 0, 0, 0) * 200)


@pytest.mark.parametrize("count", ["hash", "gnu_hash", "sections"])
@pytest.mark.parametrize(("name", "machine", "bits", "order"), MACHINES)
def test_set_runpath(name: str, machine: int, bits: int, order: str, count: str) -> None:
    """A new run path replaces the old one, and no other byte of the file changes."""
    old = "/home/builder/.pyenv/versions/3.11.7/lib"
    file = Elf(
        bits=bits,
        order=order,
        machine=machine,
        runpath=old,
        rpath=old,
        needed=["libc.so.6"],
        count=count,
        versions_needed=[("libc.so.6", "GLIBC_2.17"), ("libm.so.6", "GLIBC_2.29")],
        versions_defined=["libx.so", "LIBX_1"],
    )
    if name == "s390x" and count == "hash":
        file.count = "sections"  # DT_HASH has 64 bit words there, which is why it is not read
    content = file.build()
    changed = elf.set_runpath(content, "$ORIGIN/../lib")
    assert changed == content.replace(old.encode(), b"$ORIGIN/../lib".ljust(len(old), b"\0"))
    assert elf.read(changed).runpath == ("$ORIGIN/../lib",)


def test_set_runpath_without_section_headers() -> None:
    """The number of symbols is found in DT_GNU_HASH when there is nothing else to tell it."""
    file = Elf(runpath="/some/where", count="gnu_hash", sections=False, symbols=["first", "last"])
    assert elf.read(elf.set_runpath(file.build(), "/x")).runpath == ("/x",)
    shared = replace(file, symbols=["first", "where"], merged=[("/some/where", "where")])
    with pytest.raises(BinaryError, match="shares"):
        elf.set_runpath(shared.build(), "/x")


def test_set_runpath_across_segments() -> None:
    """A run path that straddles two segments of the file is replaced in both."""
    old = "/" + "x" * 200
    content = Elf(runpath=old, between=[Loose(".gap", b"y" * 50)]).build()
    assert old.encode() not in content
    changed = elf.set_runpath(content, "z" * 180)
    assert elf.read(changed).runpath == ("z" * 180,)
    assert len(changed) == len(content)
    assert b"y" * 50 in changed


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (Elf(), "neither DT_RUNPATH nor DT_RPATH"),
        (Elf(runpath="/lib"), "is longer than"),
        (Elf(runpath="/opt/a/long/path", count="nowhere", sections=False), "how many dynamic symbols"),
        (Elf(runpath="/opt/lib/python", needed=["python"], merged=[("/opt/lib/python", "python")]), "shares"),
        (Elf(runpath="/opt/lib/python", soname="python", merged=[("/opt/lib/python", "python")]), "shares"),
        (
            Elf(runpath="/opt/lib/python", symbols=["python"], merged=[("/opt/lib/python", "python")]),
            "shares",
        ),
        (
            Elf(
                runpath="/opt/lib/python",
                symbols=["x/opt/lib/python"],
                merged=[("x/opt/lib/python", "/opt/lib/python")],
            ),
            "shares",
        ),
        (
            Elf(
                runpath="/opt/lib/python",
                versions_needed=[("a", "b"), ("a", "python")],
                merged=[("/opt/lib/python", "python")],
            ),
            "shares",
        ),
        (
            Elf(
                runpath="/opt/lib/python",
                versions_needed=[("python", "b")],
                merged=[("/opt/lib/python", "python")],
            ),
            "shares",
        ),
        (
            Elf(
                runpath="/opt/lib/python",
                versions_defined=["a", "python"],
                merged=[("/opt/lib/python", "python")],
            ),
            "shares",
        ),
        (
            Elf(runpath="/opt/lib/python", rpath="/lib/python", merged=[("/opt/lib/python", "/lib/python")]),
            "shares",
        ),
        (Elf(runpath="/opt/lib/python", extra_dynamic=[(6, 1)]), "no segment"),
        (
            Elf(runpath="/opt/lib/python", extra_dynamic=[(4, BASE)]),
            "larger than the file",
        ),
    ],
)
def test_set_runpath_refuses(file: Elf, message: str) -> None:
    """Nothing is written when the text does not fit, or another name would change with it."""
    with pytest.raises(BinaryError, match=message):
        elf.set_runpath(file.build(), "$ORIGIN/.")


def test_set_runpath_refuses_nul() -> None:
    """A NUL would end the run path early."""
    with pytest.raises(BinaryError, match="NUL"):
        elf.set_runpath(Elf(runpath="/long/enough").build(), "a\0b")


def test_set_runpath_without_symbols() -> None:
    """A file without dynamic symbols has no symbol names that could share the text."""
    content = Elf(runpath="/some/where").build()
    content = content.replace(struct.pack("<QQ", 6, 0x400000 + 344), struct.pack("<QQ", 98, 0))
    assert elf.read(elf.set_runpath(content, "/x")).runpath == ("/x",)


def test_set_runpath_endless_tables() -> None:
    """Tables that never end, or claim to be endless, are refused."""
    file = Elf(runpath="/some/where", count="gnu_hash", sections=False, symbols=["a"] * 70000)
    content = file.build()
    chain_end = content.index(struct.pack("<IIII", 1, 1, 1, 0)) + 16 + 8 + 4 + 4 * 69999
    with pytest.raises(BinaryError, match="hash table does not end"):
        elf.set_runpath(_patched(content, chain_end, "<I", 0), "/x")
    bucket = content.index(struct.pack("<IIII", 1, 1, 1, 0)) + 16 + 8
    with pytest.raises(BinaryError, match="how many dynamic symbols"):
        elf.set_runpath(_patched(content, bucket, "<I", 0), "/x")
    many = Elf(runpath="/some/where", versions_defined=["v"], extra_dynamic=[(0x6FFFFFFD, 1 << 31)])
    with pytest.raises(BinaryError, match="records of versions"):
        elf.set_runpath(many.build(), "/x")
    versions = Elf(runpath="/some/where", versions_defined=["v"] * 5000)
    with pytest.raises(BinaryError, match="names of versions"):
        elf.set_runpath(versions.build(), "/x")


@given(st.data())
def test_mutations_raise_nothing_else(data: st.DataObject) -> None:
    """Whatever is damaged in a file, reading or changing it ends, and fails with BinaryError if it fails."""
    file = data.draw(
        st.sampled_from([Elf(count=count, needed=["a"], runpath="/long/path") for count in ("hash", "gnu_hash")])
    )
    file.versions_needed, file.versions_defined = [("a", "b")], ["c"]
    file.bits = data.draw(st.sampled_from([32, 64]))
    content = bytearray(file.build())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(6, len(content) - 1))
        content[place] = data.draw(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    for change in (lambda: binary.read(damaged), lambda: elf.set_runpath(damaged, "/x")):
        with contextlib.suppress(BinaryError):
            change()


def test_pyenv_style_interpreter_runs_from_elsewhere(tmp_path: Path) -> None:
    """The running interpreter, moved with its library and given a relative run path, finds that library."""
    program = Path(os.path.realpath(sys.executable))
    library = Path(sysconfig.get_config_var("LIBDIR")) / str(sysconfig.get_config_var("INSTSONAME"))
    content = program.read_bytes()
    old = elf.read(content).runpath
    if not old or not elf.read(content).needed[0].startswith("libpython"):
        with pytest.raises(BinaryError):
            elf.set_runpath(content, "x" * 9999)
        return
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    shutil.copy(library, tmp_path / "lib")
    moved = tmp_path / "bin" / "python"
    moved.write_bytes(elf.set_runpath(content, "$ORIGIN/../lib"))
    moved.chmod(0o755)
    code = "import pathlib; print(pathlib.Path('/proc/self/maps').read_text())"
    environment = {"PYTHONHOME": sys.base_prefix}
    maps = subprocess.run([moved, "-S", "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert str(tmp_path / "lib" / library.name) in maps.stdout
