"""The archives that tests are built on are what they claim to be."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

import pbs

TRIPLES = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-gnueabihf",
    "s390x-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
    "aarch64-pc-windows-msvc",
    "i686-pc-windows-msvc",
]


def entries(data: bytes) -> list[tarfile.TarInfo]:
    """Return the entries of an uncompressed archive."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmembers()


@pytest.mark.parametrize("triple", TRIPLES)
def test_tiny_archive_reads_back(triple: str, tmp_path: Path) -> None:
    """A tiny archive has PYTHON.json first, no directories, and every member as it was given."""
    members = pbs.tiny_members("3.14.6", triple)
    digest = pbs.write_archive(tmp_path / "a.tar.zst", members)

    packed = (tmp_path / "a.tar.zst").read_bytes()
    found = entries(pbs.zstd_decompress(packed))
    assert digest == hashlib.sha256(packed).hexdigest()
    assert [info.name for info in found] == [member.name for member in members]
    assert found[0].name == "python/PYTHON.json"
    assert {info.type for info in found} <= {tarfile.REGTYPE, tarfile.SYMTYPE}
    assert len(packed) < 20_000
    assert 30 <= len(members) <= 50


@pytest.mark.parametrize("triple", TRIPLES)
def test_paths_in_python_json_exist(triple: str) -> None:
    """What PYTHON.json points to is in the archive."""
    members = {member.name: member for member in pbs.tiny_members("3.13.1", triple)}
    document = json.loads(members["python/PYTHON.json"].data)

    extensions = document["build_info"]["extensions"].values()
    paths = [document["python_exe"], document["license_path"]]
    paths += [path for (entry,) in extensions for path in entry["license_paths"]]
    assert document["target_triple"] == triple
    assert [path for path in paths if f"python/{path}" not in members] == []


def test_links_have_targets() -> None:
    """No symlink of a tiny archive dangles."""
    members = pbs.tiny_members("3.14.6", "x86_64-unknown-linux-gnu")
    names = {member.name for member in members}
    links = [member for member in members if member.link]

    assert len(links) == 3
    assert [m for m in links if f"{m.name.rpartition('/')[0]}/{m.link}" not in names] == []


def test_frame_asks_for_the_real_window(tmp_path: Path) -> None:
    """By default a zstd frame asks its reader for 128 MiB and hides its size."""
    pbs.write_archive(tmp_path / "a.tar.zst", [pbs.Member("python/x", b"x" * 1000)])

    header = (tmp_path / "a.tar.zst").read_bytes()[:6]
    descriptor, window = header[4], header[5]
    assert header[:4] == b"\x28\xb5\x2f\xfd"
    assert descriptor & 0b1110_0000 == 0  # no content size, not a single segment (RFC 8878, 3.1.1.1)
    assert 1 << (10 + (window >> 3)) == 2**27


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
@pytest.mark.parametrize("order", ["normal", "shuffled"])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_same_members_give_the_same_bytes(codec: str, order: str, form: int, tmp_path: Path) -> None:
    """An archive depends on its members and options alone, and every form of it can be read."""
    members = pbs.tiny_members("3.14.6", "x86_64-unknown-linux-gnu")
    sums = {
        pbs.write_archive(tmp_path / name, members, codec=codec, order=order, format=form)  # type: ignore[arg-type]
        for name in ("a", "b")
    }

    data = (tmp_path / "a").read_bytes()
    raw = gzip.decompress(data) if codec == "gzip" else pbs.zstd_decompress(data)
    names = [info.name for info in entries(raw)]
    assert len(sums) == 1
    assert sorted(names) == sorted(member.name for member in members)
    assert (names[0] == "python/PYTHON.json") == (order == "normal")


def test_hostile_members_are_written_as_given(tmp_path: Path) -> None:
    """Hard links, devices and names that climb out can be put into an archive."""
    members = [
        pbs.Member("python/../../etc/passwd", b"x"),
        pbs.Member("python/hard", hard="python/other"),
        pbs.Member("python/pipe", type=tarfile.FIFOTYPE),
    ]
    pbs.write_archive(tmp_path / "a.tar.gz", members, codec="gzip")

    climbing, hard, pipe = entries(gzip.decompress((tmp_path / "a.tar.gz").read_bytes()))
    assert climbing.name == "python/../../etc/passwd"
    assert (hard.type, hard.linkname) == (tarfile.LNKTYPE, "python/other")
    assert pipe.isfifo()


def test_mirror_has_sums(tmp_path: Path) -> None:
    """A mirror has its archives and SHA256SUMS in a directory named by the tag, sorted by name."""
    members = pbs.tiny_members("3.14.6", "x86_64-apple-darwin")
    full = pbs.asset_name("3.14.6", "20260610", "x86_64-apple-darwin")
    small = "cpython-3.14.6+20260610-x86_64-apple-darwin-install_only_stripped.tar.gz"
    root = pbs.write_mirror(tmp_path, "20260610", {full: members, small: pbs.install_only(members)})

    lines = (root / "20260610/SHA256SUMS").read_text(encoding="utf-8").splitlines()
    found = [line.split("  ") for line in lines]
    assert [name for _, name in found] == sorted([full, small])
    for digest, name in found:
        assert hashlib.sha256((root / "20260610" / name).read_bytes()).hexdigest() == digest
    stripped = entries(gzip.decompress((root / "20260610" / small).read_bytes()))
    assert "python/bin/python3.14" in {info.name for info in stripped}


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "riscv64", "ppc64le", "s390x", "i686", "armv7"])
def test_elf_says_what_it_needs(arch: str) -> None:
    """Segments and sections of a made-up ELF file agree, and its symbols can be told from the rest."""
    data = pbs.elf(arch, needed=["libc.so.6", "libm.so.6"], soname="liba.so", runpath="$ORIGIN", debug=600)

    file = ELFFile(io.BytesIO(data))
    dynamic = file.get_section_by_name(".dynamic")
    assert isinstance(dynamic, DynamicSection)
    by_section = [tag.entry.d_tag for tag in dynamic.iter_tags()]
    (segment,) = [part for part in file.iter_segments() if part["p_type"] == "PT_DYNAMIC"]
    assert [tag.needed for tag in segment.iter_tags("DT_NEEDED")] == ["libc.so.6", "libm.so.6"]
    assert [tag.soname for tag in segment.iter_tags("DT_SONAME")] == ["liba.so"]
    assert [tag.runpath for tag in dynamic.iter_tags("DT_RUNPATH")] == ["$ORIGIN"]
    assert by_section == [tag.entry.d_tag for tag in segment.iter_tags()]
    assert file.get_section_by_name(".debug_info").data_size == 600
    assert file.get_section_by_name(".symtab").num_symbols() == 1


def test_macho_and_pe_have_their_magic() -> None:
    """Mach-O and PE files carry the machine of their triple and the names that they need."""
    macho = pbs.native("aarch64-apple-darwin", needed=["@rpath/libtcl9.0.dylib"], soname="libx.dylib")
    pe = pbs.native("aarch64-pc-windows-msvc", needed=["python314.dll"])

    assert macho[:8] == bytes.fromhex("cffaedfe0c000001")
    assert int.from_bytes(macho[20:24], "little") == len(macho) - 32
    assert b"@rpath/libtcl9.0.dylib\0" in macho
    assert (pe[:2], pe[64:70]) == (b"MZ", b"PE\0\0\x64\xaa")
    assert b"python314.dll\0" in pe


@pytest.mark.skipif(sys.platform == "win32", reason="host_members knows the Unix layout")
def test_host_archive_starts(tmp_path: Path) -> None:
    """The Python that runs the tests, packed and unpacked elsewhere, runs from there."""
    pbs.write_archive(tmp_path / "host.tar.gz", pbs.host_members(), codec="gzip")
    with tarfile.open(tmp_path / "host.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")

    home = tmp_path / "python/install"
    code = "import sys, json, ssl, threading; print(sys.prefix)"
    command = [home / "bin/python3", "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == home
