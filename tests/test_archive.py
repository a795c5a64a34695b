"""Archives are read in one pass, in any order, and nothing in them is trusted."""

import gzip
import io
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pbs
from pbs import Member
from pyembed_gen import archive
from pyembed_gen import members as members_
from pyembed_gen.archive import Limits
from pyembed_gen.errors import ArchiveError
from pyembed_gen.progress import Silent

LINUX = "x86_64-unknown-linux-gnu"
CODECS: list[Literal["zstd", "gzip"]] = ["zstd", "gzip"]
Kept = tuple[str, str, bytes, bool, str]


class Count:
    """A task that counts."""

    amount = 0

    def advance(self, amount: int) -> None:
        """Add up."""
        self.amount += amount

    def done(self, note: str = "") -> None:
        """Do nothing."""


def read(path: Path, limits: Limits | None = None) -> list[Kept]:
    """Return the members of an archive, with their contents."""
    return [
        (member.name, member.kind, read_all(member), member.executable, member.target)
        for member in archive.members(path, Silent().task(""), limits)
    ]


def read_all(member: members_.Member) -> bytes:
    """Return a member's content, which its size must agree with."""
    content = b""
    while member.content and (block := member.content.read(777)):
        content += block
    assert len(content) == member.size
    return content


def written(tmp_path: Path, *members: Member, codec: Literal["zstd", "gzip"] = "zstd") -> Path:
    """Write an archive and return its path."""
    pbs.write_archive(tmp_path / "archive", members, codec=codec)
    return tmp_path / "archive"


def expected(members: list[Member]) -> list[Kept]:
    """Return what reading an archive of these members must give."""
    return [
        (member.name, "link", b"", False, member.link)
        if member.link
        else (member.name, "file", member.data, bool(member.mode & 0o100), "")
        for member in members
    ]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_every_member_is_read_in_its_order(codec: Literal["zstd", "gzip"], format_: int, tmp_path: Path) -> None:
    """Names, kinds, contents, executable bits and targets come as they were written, without reading ahead."""
    long = Member("python/install/" + "very-long-name/" * 40 + "x.py", b"x" * 600)
    link = Member("python/install/l", link="very-long-name/" * 40 + "x.py")
    members = [*pbs.tiny_members("3.14.9", LINUX), long, link, Member("python/install/für/日本.py", b"\0")]
    pbs.write_archive(tmp_path / "a", members, codec=codec, format=format_)
    assert read(tmp_path / "a") == expected(members)


def test_progress_is_told_in_compressed_bytes(tmp_path: Path) -> None:
    """In the end, the amount is the size of the file, whatever follows the last member."""
    for codec in CODECS:
        path = written(tmp_path, *pbs.tiny_members("3.14.9", LINUX), codec=codec)
        count = Count()
        for _ in archive.members(path, count):
            pass
        assert count.amount == path.stat().st_size


def test_names_are_tidied_up(tmp_path: Path) -> None:
    """``./`` before a name, doubled slashes, and folders are common in archives and mean nothing."""
    path = written(
        tmp_path,
        Member("./", type=tarfile.DIRTYPE),
        Member("./python/", type=tarfile.DIRTYPE),
        Member("./python//x/./y", b"1"),
        Member("python/h", hard="./python/x//y"),
    )
    assert read(path) == [("python/x/y", "file", b"1", False, ""), ("python/h", "hard", b"", False, "python/x/y")]


@pytest.mark.parametrize(
    "member",
    [
        Member("/etc/passwd"),
        Member("//etc/passwd"),
        Member("../x"),
        Member("python/../../x"),
        Member("python/.."),
        Member("python/x/../y"),
        Member("/", type=tarfile.DIRTYPE),
        Member("python/../..", type=tarfile.DIRTYPE),
        Member("python/hard", hard="/etc/passwd"),
        Member("python/hard", hard="python/../../etc/passwd"),
        Member("python/link", link="/etc/passwd"),
        Member("python/link", link="../../x"),
        Member("python/link", link="x/../../../x"),
        Member("python/a/b", link="../../.."),
    ],
    ids=lambda member: f"{member.name} {member.link or member.hard or ''}",
)
def test_what_leads_out_of_the_archive(member: Member, tmp_path: Path) -> None:
    """Absolute names, ``..`` in names, and links that leave are refused, also for folders and hard links."""
    with pytest.raises(ArchiveError, match="leads out of the archive"):
        read(written(tmp_path, Member("python/fine"), member))


def test_links_within_the_archive_are_fine(tmp_path: Path) -> None:
    """``..`` in a target is fine as long as it stays inside."""
    members = [Member("python/a/b", link="../../python/x"), Member("python/c", link="../python")]
    assert read(written(tmp_path, *members)) == expected(members)


@pytest.mark.parametrize("type_", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, b"Z"])
def test_what_is_no_file_folder_or_link(type_: bytes, tmp_path: Path) -> None:
    """Devices, FIFOs, sparse files and unknown types are refused by name."""
    with pytest.raises(ArchiveError, match="'python/odd' is not a file, a folder or a link"):
        read(written(tmp_path, Member("python/odd", type=type_)))


@pytest.mark.parametrize(
    "again",
    [
        Member("python/x", b"2"),
        Member("./python//x", b"2"),
        Member("python/x", link="y"),
        Member("python/x", hard="python/y"),
    ],
)
def test_duplicate_names(again: Member, tmp_path: Path) -> None:
    """Which of two members of one name would win, is nobody's to guess, whatever they are."""
    with pytest.raises(ArchiveError, match="it holds 'python/x' twice"):
        read(written(tmp_path, Member("python/x", b"1"), Member("python/y"), again))


@pytest.mark.parametrize("length", [4096, 4097])
def test_names_longer_than_any_path(length: int, tmp_path: Path) -> None:
    """No file has a name of more than 4096 characters, and no link such a target."""
    for member in (Member("n" * length), Member("link", link="n" * length)):
        path = written(tmp_path, member)
        if length > 4096:
            with pytest.raises(ArchiveError, match=r"n' ?.*is not a name"):
                read(path)
        else:
            assert len(read(path)) == 1


@pytest.mark.parametrize("keyword", ["path", "linkpath"])
def test_nul_in_names(keyword: str, tmp_path: Path) -> None:
    """A pax header can hold a NUL, at which every system call would end the name."""
    with tarfile.open(tmp_path / "a", "w:gz", format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo("python/x")
        info.type, info.linkname = tarfile.SYMTYPE, "y"
        info.pax_headers = {keyword: "python/x\0y"}
        file.addfile(info)
    with pytest.raises(ArchiveError, match=r"x\\x00y' ?.*is not a name"):
        read(tmp_path / "a")


def test_a_link_to_nothing(tmp_path: Path) -> None:
    """An empty target is no target."""
    with pytest.raises(ArchiveError, match="the link 'python/x' leads to ''"):
        read(written(tmp_path, Member("python/x", link="")))


def test_as_much_as_the_limits_allow(tmp_path: Path) -> None:
    """Real archives are far below the limits; at a limit an archive is read, and beyond it refused."""
    path = written(tmp_path, Member("python/a", bytes(5000)), Member("python/b", type=tarfile.DIRTYPE))
    size = len(pbs.zstd_decompress(path.read_bytes()))
    assert len(read(path, Limits(size, 2))) == 1
    with pytest.raises(ArchiveError, match=f"it holds more than {size - 1} bytes"):
        read(path, Limits(size - 1, 2))
    with pytest.raises(ArchiveError, match="it holds more than 1 members"):
        read(path, Limits(size, 1))


@pytest.mark.parametrize("codec", CODECS)
def test_a_bomb_is_refused_before_it_explodes(codec: str, tmp_path: Path) -> None:
    """An archive of a few KB that holds gigabytes ends at the limit, in the memory of a few blocks."""
    script = """
import resource, sys
from pathlib import Path
from pyembed_gen import archive
from pyembed_gen import members as members_
from pyembed_gen.errors import ArchiveError
from pyembed_gen.progress import Silent
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    for member in archive.members(Path(sys.argv[1]), Silent().task(""), archive.Limits(size=256 << 20)):
        pass
except ArchiveError as error:
    print(error, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, sep=chr(10))
"""
    head = tarfile.TarInfo("python/x")
    head.size = 1 << 40
    packed = io.BytesIO(head.tobuf(tarfile.GNU_FORMAT) + bytes(260 << 20))
    data = pbs.zstd_compress(packed.getvalue(), 1, 20) if codec == "zstd" else gzip.compress(packed.getvalue(), 1)
    (tmp_path / "bomb").write_bytes(data)
    command = [sys.executable, "-c", script, str(tmp_path / "bomb")]
    message, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert message == "it holds more than 268435456 bytes"
    assert int(grown) * (1 if sys.platform == "darwin" else 1024) < 150 << 20


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is neither .tar.zst nor .tar.gz"),
        (b"PK\3\4rest", "it is neither .tar.zst nor .tar.gz"),
        (b"<!DOCTYPE html>", "it is neither .tar.zst nor .tar.gz"),
        (gzip.compress(b""), "it is damaged: it ends too early"),
        (gzip.compress(b"no tar" * 999), "it is damaged: "),
        (b"\x1f\x8b\x08rest", "it is damaged: "),
        (b"\x28\xb5\x2f\xfdrest", "it is damaged: "),
        (b"\x28\xb5\x2f\xfd", "it is damaged: "),
    ],
)
def test_what_is_no_archive(data: bytes, message: str, tmp_path: Path) -> None:
    """Whatever was downloaded in an archive's place is told from one, in one line."""
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ArchiveError) as caught:
        read(tmp_path / "a")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_window_that_is_too_large(tmp_path: Path) -> None:
    """An archive that asks for more than 128 MiB of memory is refused."""
    pbs.write_archive(tmp_path / "a", [Member("python/x")], window_log=28)
    with pytest.raises(ArchiveError, match=r"it is damaged: .*memory"):
        read(tmp_path / "a")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, and a folder, are errors that say so."""
    with pytest.raises(ArchiveError, match="it cannot be read: No such file or directory; check the file"):
        read(tmp_path / "missing")
    with pytest.raises(ArchiveError, match="it cannot be read: Is a directory; check the file"):
        read(tmp_path)


def test_a_disk_that_fails_while_it_is_read() -> None:
    """What the system says in the middle of an archive is an ArchiveError too, not a traceback."""

    class Failing(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(ArchiveError, match="it cannot be read: Input/output error; check the disk"):
        archive._Stream(Failing(), 100).read(1)


@pytest.mark.parametrize("codec", CODECS)
def test_a_cut_is_noticed_wherever_it_is(codec: Literal["zstd", "gzip"], tmp_path: Path) -> None:
    """Every proper part of an archive is refused, also if no member is lost: its sum was not checked."""
    data = written(tmp_path, *pbs.tiny_members("3.14.9", LINUX), codec=codec).read_bytes()
    for end in range(0, len(data), 7):
        (tmp_path / "cut").write_bytes(data[:end])
        with pytest.raises(ArchiveError):
            read(tmp_path / "cut")
    (tmp_path / "cut").write_bytes(data[:-1])
    with pytest.raises(ArchiveError, match="it is damaged"):
        read(tmp_path / "cut")


def test_a_wrong_sum_is_noticed(tmp_path: Path) -> None:
    """The last bytes of a gzip file are its sum and its size, which count although all members were read."""
    path = written(tmp_path, Member("python/x", b"content"), codec="gzip")
    for at in (-8, -4):
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        (tmp_path / "wrong").write_bytes(data)
        with pytest.raises(ArchiveError, match="it is damaged"):
            read(tmp_path / "wrong")


def _sample() -> bytes:
    """Return a tar with one of everything that a reader handles in a way of its own."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as file:
        members = [
            Member("python/long/" * 15 + "x", b"content" * 50),
            Member("python/l", link="long/" * 30),
            Member("python/h", hard="python/x"),
            Member("python/d", type=tarfile.DIRTYPE),
        ]
        for member in members:
            file.addfile(member.header(), io.BytesIO(member.data))
        pax = tarfile.TarInfo("python/é")
        pax.pax_headers = {"path": "python/é" * 40, "comment": "x"}
        file.fileobj.write(pax.tobuf(tarfile.PAX_FORMAT))
        file.offset = file.fileobj.tell()
    return packed.getvalue()


SAMPLE = _sample()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, len(SAMPLE)),
)
def test_any_change_of_a_tar_is_read_or_refused(changes: list[tuple[int, int]], mend: bool, end: int) -> None:
    """Whatever bytes are changed, and with right sums too, nothing but ArchiveError is raised."""
    data = bytearray(SAMPLE)
    for at, value in changes:
        data[at] = value
        head = at // 512 * 512
        if mend:
            block = data[head : head + 148] + b" " * 8 + data[head + 156 : head + 512]
            data[head + 148 : head + 156] = b"%06o\0 " % sum(block)
    stream = io.BytesIO(bytes(data[:end] if end % 5 == 0 else data))
    try:
        for member in archive._members(stream, Limits()):
            read_all(member)
    except ArchiveError:
        pass


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seed", range(60))
def test_any_change_of_an_archive_is_read_or_refused(codec: Literal["zstd", "gzip"], seed: int, tmp_path: Path) -> None:
    """Damage of the compressed bytes, too, is nothing but an ArchiveError, and a wrong sum of gzip is always one."""
    members = pbs.tiny_members("3.14.9", LINUX)
    data = bytearray(written(tmp_path, *members, codec=codec).read_bytes())
    chance = random.Random(seed)
    at = chance.randrange(10, len(data))
    data[at] ^= 1 << chance.randrange(8)
    (tmp_path / "changed").write_bytes(data)
    try:
        found = read(tmp_path / "changed")
    except ArchiveError:
        return
    # Bits between two blocks of deflate mean nothing. zstd has no sum here: the archive's sha256 was checked before.
    assert codec == "zstd" or found == expected(members)
