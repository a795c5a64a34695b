"""Stripping takes symbols and debug information out of a linked file and nothing that is loaded."""

import gzip
import hashlib
import json
import mmap
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from native import SYMBOLS, Elf, Loose
from pyembed_gen import elf, strip

SHAPES = [
    (62, 64, "<"),
    (183, 64, "<"),
    (3, 32, "<"),
    (40, 32, "<"),
    (21, 64, "<"),
    (22, 64, ">"),
    (243, 64, "<"),
]
DEBUG = (
    Loose(".comment", b"GCC: 13\0", flags=0x30),
    Loose(".debug_info", b"\5" * 3000),
    Loose(".zdebug_line", b"\6" * 300),
    Loose(".gnu.build.attributes", b"\7" * 24, type=7, align=4),
    Loose(".gnu_debuglink", b"x.debug\0crc!"),
    Loose(".rela.text", b"\2" * 240, type=4, link=".symtab", info=".text", align=8),
    Loose(".llvm_addrsig", b"\1\2", type=0x6FFF4C03, link=".symtab"),
    *SYMBOLS,
)


def _sections(content: bytes, path: Path) -> dict[str, tuple[int, int, str, str]]:
    """Return what pyelftools sees: name to offset, size, linked section and section of ``sh_info``."""
    path.write_bytes(content)
    with path.open("rb") as stream:
        file = ELFFile(stream)
        found = {}
        for section in file.iter_sections():
            linked = file.get_section(section["sh_link"]).name
            info = file.get_section(section["sh_info"]).name if section["sh_flags"] & 0x40 else ""
            found[section.name] = (section["sh_offset"], section["sh_size"], linked, info)
        return found


@pytest.mark.parametrize(("machine", "bits", "order"), SHAPES)
def test_removes_what_is_not_loaded(machine: int, bits: int, order: str, tmp_path: Path) -> None:
    """Symbols, debug sections and kept relocations go; what is loaded stays, for every machine."""
    content = Elf(machine=machine, bits=bits, order=order, needed=["libc.so.6"], loose=DEBUG).build()
    stripped = strip.strip(content)
    assert stripped
    before, after = (_sections(each, tmp_path / "a.so") for each in (content, stripped))
    gone = {section.name for section in DEBUG}
    assert set(before) - set(after) == gone
    assert all(after[name] == before[name] for name in after if name != ".shstrtab")
    assert elf.read(stripped) == elf.read(content)
    assert len(content) - len(stripped) > sum(len(section.content) for section in DEBUG)
    end = before[".bss"][0]
    head = 16 + (48 if bits == 64 else 36)
    assert stripped[head:end] == content[head:end]


def test_same_bytes_again() -> None:
    """Stripping is deterministic, and a stripped file has nothing left to strip."""
    content = Elf(loose=DEBUG).build()
    first, second = strip.strip(content), strip.strip(bytearray(content))
    assert first == second
    assert first
    assert strip.strip(first) is None
    assert hashlib.sha256(first).hexdigest() == "e88f4f18b0e0508914a35c2ba4354a25124532d3a8269b398385e8e7ca71ac78"


def test_other_sections_stay(tmp_path: Path) -> None:
    """A payload, probes and ABI attributes, which programs read from their own file, keep their content."""
    kept = (
        Loose("pydata", b"archive" * 9),
        Loose(".note.stapsdt", b"probe" * 8, type=7, align=4),
        Loose(".ARM.attributes", b"A\1\2", type=0x70000003),
        Loose(".shadow", b"", type=8),
    )
    content = Elf(loose=(*DEBUG[:3], kept[0], *DEBUG[3:], *kept[1:])).build()
    stripped = strip.strip(content)
    assert stripped
    after = _sections(stripped, tmp_path / "a.so")
    for section in kept:
        offset, size, _, _ = after[section.name]
        assert stripped[offset : offset + size] == section.content
        assert offset % section.align == 0 or not size
    assert ".symtab" not in after


def test_sections_before_loaded_ones_keep_numbers(tmp_path: Path) -> None:
    """Dynamic symbols number their section, so a removed section before loaded ones leaves an empty header."""
    between = (Loose(".debug_info", b"\5" * 5000), Loose("payload", b"mine" * 5))
    content = Elf(between=between).build()
    stripped = strip.strip(content)
    assert stripped
    header, old = elf.open_header(memoryview(content))
    table, other = elf.open_header(memoryview(stripped))
    names = elf.section_names(table, other, elf.sections(table, other))
    originals = elf.section_names(header, old, elf.sections(header, old))
    assert names.index(".dynsym") == originals.index(".dynsym")
    assert names[1] == ""
    offset, size, _, _ = _sections(stripped, tmp_path / "a.so")["payload"]
    assert stripped[offset : offset + size] == b"mine" * 5
    assert content.index(b"mine") == offset


def test_hole_between_segments_becomes_zeros() -> None:
    """Where patchelf left symbols between segments, the file cannot shrink but its symbols become zeros."""
    content = Elf(between=(Loose(".debug_info", b"\5" * 50000), *SYMBOLS), loose=()).build()
    stripped = strip.strip(content)
    assert stripped
    assert len(stripped) <= len(content)
    assert b"\5\5" not in stripped
    assert len(gzip.compress(stripped)) < len(gzip.compress(content)) or len(gzip.compress(stripped)) < 2000
    assert elf.read(stripped) == elf.read(content)


def test_hole_too_small_for_the_table() -> None:
    """A file that would grow, because its section headers fit nowhere, is left alone."""
    file = Elf(between=[Loose(".debug_info", b"\5" * 8)], loose=[])
    grown = strip.strip(file.build())
    assert grown is None or len(grown) <= len(file.build())


def test_zeros_larger_than_a_piece() -> None:
    """A hole of several MiB is zeroed to its last byte."""
    content = Elf(between=[Loose(".debug_info", b"\5" * (3 << 20))], loose=()).build()
    stripped = strip.strip(content)
    assert stripped
    assert stripped.count(5) < 100


def _flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0xFF
    return bytes(changed)


def _nameless(content: bytes) -> bytes:
    changed = bytearray(content)
    struct.pack_into("<H", changed, 62, 0)
    return bytes(changed)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"#!/bin/sh\n", id="script"),
        pytest.param(b"", id="empty"),
        pytest.param(Elf(type=1, loose=DEBUG).build(), id="object"),
        pytest.param(Elf(type=4, loose=DEBUG).build(), id="core dump"),
        pytest.param(Elf(loose=DEBUG, sections=False).build(), id="no section headers"),
        pytest.param(Elf(loose=()).build(), id="nothing to remove"),
        pytest.param(Elf(loose=[Loose("pydata")]).build(), id="only sections that stay"),
        pytest.param(Elf(loose=DEBUG, appended=b"payload").build(), id="data appended"),
        pytest.param(Elf(loose=DEBUG, shadow=True).build(), id="separate debug information"),
        pytest.param(Elf(loose=[*DEBUG, Loose("odd", align=1 << 20)]).build(), id="absurd alignment"),
        pytest.param(Elf(loose=DEBUG).build()[:-1], id="truncated"),
        pytest.param(_nameless(Elf(loose=DEBUG).build()), id="no section names"),
        pytest.param(Elf(loose=DEBUG).build()[:2000], id="cut in the middle"),
    ],
)
def test_left_alone(content: bytes) -> None:
    """What is no linked file, has nothing to lose, or might miss something afterwards is left as it is."""
    assert strip.strip(content) is None


def test_appended_zeros_are_no_payload() -> None:
    """Padding behind the file does not keep it from being stripped."""
    assert strip.strip(Elf(loose=DEBUG, appended=bytes(512)).build())


def _table(content: bytes) -> tuple[int, int]:
    return struct.unpack_from("<Q", content, 40)[0], struct.unpack_from("<H", content, 60)[0]


def test_names_shared_with_another_section() -> None:
    """Section names that another section uses too cannot be rewritten, so the file is left alone."""
    content = bytearray(Elf(loose=[*DEBUG, Loose("odd")]).build())
    table, count = _table(content)
    struct.pack_into("<I", content, table + 64 * (count - 2) + 40, count - 1)
    assert strip.strip(content) is None


@pytest.mark.parametrize("field", ["type", "flags"])
def test_names_in_a_strange_section(field: str) -> None:
    """Section names that are loaded, or are no string table, cannot be rewritten."""
    content = bytearray(Elf(loose=DEBUG).build())
    table, count = _table(content)
    place, value = {"type": (4, 1), "flags": (8, 2)}[field]
    struct.pack_into("<I", content, table + 64 * (count - 1) + place, value)
    assert strip.strip(content) is None


def test_section_inside_a_segment_stays() -> None:
    """A debug section whose bytes are loaded all the same keeps its bytes and its header."""
    loose = (Loose(".debug_info", bytes(3000)), *SYMBOLS)
    content = bytearray(Elf(loose=loose).build())
    table, _ = _table(content)
    names = elf.section_names(*_opened(bytes(content)))
    struct.pack_into("<QQ", content, table + 64 * names.index(".debug_info") + 24, 64, 100)
    stripped = strip.strip(content)
    assert stripped
    left = elf.section_names(*_opened(stripped))
    assert ".debug_info" in left
    assert ".symtab" not in left
    assert stripped[64:164] == content[64:164]


def _opened(content: bytes) -> tuple:  # type: ignore[type-arg]
    reader, header = elf.open_header(memoryview(content))
    return reader, header, elf.sections(reader, header)


CONTENT = Elf(loose=(*DEBUG, Loose("pydata", b"archive"))).build()
STRIPPED = strip.strip(CONTENT) or b""


def test_check_guards_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a file ever be put together wrongly, the original is kept."""
    assert strip.strip(CONTENT) == STRIPPED
    for wrong in (_flipped(STRIPPED, 0x20), STRIPPED[:-1], STRIPPED + bytes(len(CONTENT)), b""):
        monkeypatch.setattr(strip, "_assemble", lambda _view, _plan, wrong=wrong: iter([wrong]))
        assert strip.strip(CONTENT) is None


def test_check_accepts() -> None:
    """The result of strip passes, and so does a file compared with itself."""
    assert strip.check(CONTENT, STRIPPED)
    assert strip.check(CONTENT, CONTENT)


def test_check_refuses_a_larger_file() -> None:
    """The other way round is no stripping."""
    assert not strip.check(STRIPPED, CONTENT)


def test_check_refuses_every_changed_loaded_byte() -> None:
    """No byte of headers, segments, loaded sections, kept content or the section table can differ unnoticed."""
    table, _ = _table(STRIPPED)
    reader, header, sections = _opened(STRIPPED)
    ranges = [(each.offset, each.size) for each in sections if each.type not in {0, 8}]
    ranges += [(each.offset, each.filesz) for each in elf.segments(reader, header)]
    ranges += [(table + 64, len(STRIPPED) - table - 64)]
    covered = {place for start, size in ranges for place in range(start, start + size)}
    accepted = [place for place in sorted(covered) if strip.check(CONTENT, _flipped(STRIPPED, place))]
    size_of_names = table + 64 * header.shstrndx + 32  # may be larger than the names in it
    assert accepted == [size_of_names]


@pytest.mark.parametrize("other", [b"", b"text", STRIPPED[:100], STRIPPED[:-64], Elf(soname="x").build()])
def test_check_refuses_other_files(other: bytes) -> None:
    """A truncated result, another file, or no file at all is refused."""
    assert not strip.check(CONTENT, other)


def test_real_extension_module_still_imports(tmp_path: Path) -> None:
    """A wheel's extension module and the running interpreter's own pass the check where there is work to do."""
    package = Path(zstandard.__file__).parent
    copy = tmp_path / "zstandard"
    copy.mkdir()
    for path in package.iterdir():
        if path.is_file():
            content = path.read_bytes()
            (copy / path.name).write_bytes(strip.strip(content) or content)
    code = """
import zstandard
print(zstandard.__file__, zstandard.ZstdDecompressor().decompress(zstandard.compress(b"a" * 99)))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, check=True, capture_output=True
    )
    assert str(copy) in result.stdout.decode()
    assert b"a" * 99 in result.stdout


def test_running_interpreter() -> None:
    """What strip makes of the running interpreter says of itself what the original says."""
    content = Path(os.path.realpath(sys.executable)).read_bytes()
    stripped = strip.strip(content) or content
    assert elf.read(stripped) == elf.read(content)


@settings(max_examples=200)
@given(st.data())
def test_mutations(data: st.DataObject) -> None:
    """Whatever is damaged, strip raises nothing and returns nothing that check refuses."""
    bits, order = data.draw(st.sampled_from([(64, "<"), (32, ">")]))
    between = data.draw(st.sampled_from([(), (Loose(".debug_info", b"\5" * 900),)]))
    content = bytearray(Elf(bits=bits, order=order, between=between, loose=(*DEBUG, Loose("pydata"))).build())
    places = st.one_of(st.integers(0, 400), st.integers(len(content) - 1500, len(content) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(places)] = data.draw(st.sampled_from([0, 1, 2, 8, 0x7F, 0x80, 0xFF]))
    damaged = bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    stripped = strip.strip(damaged)
    assert stripped is None or (len(stripped) <= len(damaged) and strip.check(damaged, stripped))


@pytest.fixture(scope="session")
def unstripped() -> dict[str, Path]:
    """Return the data directories of go-embed-python v0.0.0-3.13.1, whose libpython has its symbols."""
    version = "v0.0.0-3.13.1-20241219-1"
    module = f"github.com/kluctl/go-embed-python@{version}"
    found = subprocess.run(
        ["go", "mod", "download", "-json", module],
        check=True,
        capture_output=True,
        env={**os.environ, "GOFLAGS": "-mod=mod"},
    )
    data = Path(json.loads(found.stdout)["Dir"]) / "python" / "internal" / "data"
    return {name: data / name for name in ("linux-amd64", "linux-arm64")}


@pytest.mark.peer
@pytest.mark.parametrize(("platform", "most"), [("linux-amd64", 24_700_000), ("linux-arm64", 21_300_000)])
def test_libpython(unstripped: dict[str, Path], platform: str, most: int, tmp_path: Path) -> None:
    """The 110.8 MB libpython of 3.13.1 shrinks to what is loaded, in one copy of the output."""
    path = tmp_path / "libpython.so"
    compressed = unstripped[platform] / "lib" / "libpython3.13.so.1.0.gz"
    path.write_bytes(gzip.decompress(compressed.read_bytes()))
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        tracemalloc.start()
        stripped = strip.strip(content)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert stripped
        assert len(stripped) < most
        assert peak < len(stripped) + (8 << 20)
        assert strip.check(content, stripped)


@pytest.mark.peer
@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="runs a linux/amd64 program")
def test_stripped_interpreter_runs(unstripped: dict[str, Path], tmp_path: Path) -> None:
    """CPython 3.13.1, stripped, imports C libraries, calls back from C, runs threads and prints a traceback."""
    source = unstripped["linux-amd64"]
    for entry in json.loads((source / "files.json").read_text())["files"]:
        target = tmp_path / entry["name"]
        if entry["perm"] >> 31 & 1:
            target.mkdir(parents=True)
        elif "symlink" in entry:
            target.symlink_to(entry["symlink"])
        else:
            packed = source / f"{entry['name']}.gz"
            plain = (
                gzip.decompress(packed.read_bytes())
                if entry.get("compressed")
                else (source / entry["name"]).read_bytes()
            )
            target.write_bytes(strip.strip(plain) or plain)
            target.chmod(entry["perm"] & 0o777)
    code = """
import ctypes, sqlite3, ssl, threading
assert sqlite3.connect(":memory:").execute("select 6*7").fetchone() == (42,)
ssl.create_default_context()
done = []
threads = [threading.Thread(target=done.append, args=(n,)) for n in range(20)]
[t.start() for t in threads], [t.join() for t in threads]
pointer = ctypes.POINTER(ctypes.c_int)
values = (ctypes.c_int * 3)(3, 1, 2)
ctypes.CDLL(None).qsort(values, 3, 4, ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)(lambda a, b: a[0] - b[0]))
print(len(done), list(values))
raise RuntimeError("expected")
"""
    program = tmp_path / "bin" / "python3.13"
    result = subprocess.run([program, "-I", "-c", code], check=False, capture_output=True, text=True)
    assert result.stdout == "20 [1, 2, 3]\n"
    assert result.stderr.endswith("RuntimeError: expected\n")
    assert (tmp_path / "lib" / "libpython3.13.so.1.0").stat().st_size < 24_700_000
