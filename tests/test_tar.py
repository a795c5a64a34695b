"""Every form of tar that is in use is read, and nothing that is damaged is taken for the end."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyembed_gen import tar
from pyembed_gen.errors import ArchiveError

END = bytes(1024)

gnu_tar = pytest.mark.skipif(sys.platform != "linux", reason="needs GNU tar")


def header(name: bytes = b"name", type: bytes = b"0", size: bytes = b"0", **fields: bytes) -> bytes:  # noqa: A002 - its name in POSIX
    """Return a header block with these fields as they are, and a right sum."""
    values = {"mode": b"644", "target": b"", "magic": b"ustar\x0000", "prefix": b"", **fields}
    block = bytearray(512)
    for at, value in (
        (0, name),
        (100, values["mode"]),
        (124, size),
        (148, b" " * 8),
        (156, type),
        (157, values["target"]),
        (257, values["magic"]),
        (345, values["prefix"]),
    ):
        block[at : at + len(value)] = value
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extended(type: bytes, text: bytes) -> bytes:  # noqa: A002 - its name in POSIX
    """Return an extended header with its text."""
    return header(b"extended", type, b"%o" % len(text)) + text + bytes(-len(text) % 512)


def record(key: str, value: str) -> bytes:
    """Return one record of a pax header."""
    rest = f" {key}={value}\n".encode()
    length = len(rest) + len(str(len(rest)))
    return str(len(rest) + len(str(length))).encode() + rest


def listed(data: bytes) -> list[tuple[str, str, bytes, bool, str]]:
    """Return name, kind, content, executable bit and target of all entries."""
    return [
        (entry.name, entry.kind, entry.content.read(1 << 20), entry.executable, entry.target)
        for entry in tar.entries(io.BytesIO(data))
    ]


def names(data: bytes) -> list[str]:
    """Return the names of all entries."""
    return [entry.name for entry in tar.entries(io.BytesIO(data))]


CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0/", exclude_categories=["Cc"])
PATHS = st.lists(st.text(CHARACTERS, min_size=1, max_size=120), min_size=1, max_size=4).map("/".join)
TYPES = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "folder": tarfile.DIRTYPE}
FILES = st.tuples(PATHS, st.just("file"), st.binary(max_size=1500), st.booleans(), st.just(""))
LINKS = st.tuples(PATHS, st.sampled_from(["link", "hard"]), st.just(b""), st.just(value=True), PATHS)
FOLDERS = st.tuples(
    PATHS.map(lambda path: path + "/"), st.just("folder"), st.just(b""), st.just(value=True), st.just("")
)


@settings(max_examples=100, deadline=None)
@given(st.lists(FILES | LINKS | FOLDERS, max_size=5), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_reads_what_tarfile_writes(members: list[tuple[str, str, bytes, bool, str]], form: int) -> None:
    """Long names, long targets, any Unicode and any content come through, in both forms that hold them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for name, kind, content, executable, target in members:
            info = tarfile.TarInfo(name.removesuffix("/"))
            info.type = TYPES[kind]
            info.mode = 0o755 if executable else 0o644
            info.linkname = target
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    found = listed(packed.getvalue())
    assert [(entry[0].rstrip("/"), *entry[1:]) for entry in found] == [
        (member[0].rstrip("/"), *member[1:]) for member in members
    ]


def _long(length: int) -> str:
    """Return a path of elements of 50 characters."""
    return "/".join(["d" * 49] * (length // 50)) + "/file"


@gnu_tar
@pytest.mark.parametrize(
    ("form", "length"), [("v7", 50), ("oldgnu", 900), ("gnu", 900), ("ustar", 200), ("posix", 900)]
)
def test_reads_what_tar_writes(form: str, length: int, tmp_path: Path) -> None:
    """A real folder that the system's tar packs in each of its formats has the same names, links and contents."""
    root = tmp_path / "tree"
    (root / _long(length)).parent.mkdir(parents=True)
    (root / _long(length)).write_bytes(b"content" * 999)
    (root / "python").write_bytes(b"")
    (root / "python").chmod(0o755)
    (root / "python3").symlink_to("python")
    (root / "z-hard").hardlink_to(root / "python")
    command = ["tar", "--create", "--sort=name", f"--format={form}", "--directory", str(root), "."]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    found = [entry for entry in listed(data) if entry[1] != "folder"]
    assert found == [
        (f"./{_long(length)}", "file", b"content" * 999, False, ""),
        ("./python", "file", b"", True, ""),
        ("./python3", "link", b"", True, "python"),
        ("./z-hard", "hard", b"", True, "./python"),
    ]


def test_a_name_may_be_split_in_two() -> None:
    """In ustar the prefix comes before the name; GNU tar has other things in that place."""
    split = header(b"name", prefix=b"some/folder")
    gnu = header(b"name", magic=b"ustar  \0", prefix=b"14733164313")
    assert names(split + gnu + END) == ["some/folder/name", "name"]


def test_a_name_fills_its_field() -> None:
    """A name of 100 bytes has no NUL after it."""
    assert names(header(b"n" * 100) + END) == ["n" * 100]


@pytest.mark.parametrize("type_", [b"\0", b"0", b"7"])
def test_types_of_files(type_: bytes) -> None:
    """The old type, the new one, and contiguous files are all files."""
    data = header(type=type_, size=b"3") + b"abc".ljust(512, b"\0") + END
    assert listed(data) == [("name", "file", b"abc", False, "")]


def test_a_folder_without_a_type() -> None:
    """Before there was a type for folders, a slash at the end said it."""
    assert listed(header(b"folder/", b"\0") + END)[0][1] == "folder"


@pytest.mark.parametrize("type_", [b"3", b"4", b"6", b"S", b"V", b"M", b"D", b"A", b"\xff"])
def test_types_that_no_installation_has(type_: bytes) -> None:
    """Devices, FIFOs, sparse files, volume labels and unknown things are refused by name."""
    with pytest.raises(ArchiveError, match="'name' is not a file, a folder or a link"):
        names(header(type=type_) + END)


def test_links_have_no_content() -> None:
    """Some writers give a link the size of what it points to, but no content."""
    data = header(b"a", b"1", b"777", target=b"b") + header(b"c", b"2", b"777", target=b"b") + header(b"d") + END
    assert names(data) == ["a", "c", "d"]


@pytest.mark.parametrize("size", [b"3", b"00000000003\0", b"         3 \0", b"\x80" + bytes(10) + b"\x03"])
def test_numbers(size: bytes) -> None:
    """A size is octal, padded in any way, or in base 256."""
    assert listed(header(size=size) + b"abc".ljust(512, b"\0") + END)[0][2] == b"abc"


@pytest.mark.parametrize("size", [b"9", b"-1", b"+1", b"1_0", b"0x1", b"1 1", b"\xff" * 12, b"\xc2\xb9"])
def test_numbers_that_are_none(size: bytes) -> None:
    """Whatever else int() would read, or a negative size, is damage."""
    with pytest.raises(ArchiveError, match="it is damaged: a header has a number that is none"):
        names(header(size=size) + END)


def test_an_empty_number_is_zero() -> None:
    """Some writers leave fields empty that do not matter."""
    assert names(header(size=b"", mode=b"") + END) == ["name"]


def test_pax_headers_override() -> None:
    """Names, targets and sizes of a pax header count for the next member alone, those of a global one for all."""
    data = b"".join(
        [
            extended(b"g", record("path", "everywhere") + record("comment", "of git archive")),
            extended(b"x", record("path", "ä" * 200) + record("size", "4") + record("mtime", "1.5")),
            header(),
            b"four".ljust(512, b"\0"),
            extended(b"X", record("linkpath", "t" * 200)),
            header(type=b"2", target=b"short"),
            header(),
            END,
        ]
    )
    assert listed(data) == [
        ("ä" * 200, "file", b"four", False, ""),
        ("everywhere", "link", b"", False, "t" * 200),
        ("everywhere", "file", b"", False, ""),
    ]


def test_gnu_headers_override() -> None:
    """A long name and a long target may both come before a member."""
    data = extended(b"K", b"t" * 300 + b"\0") + extended(b"L", b"n" * 300 + b"\0") + header(type=b"2") + header() + END
    assert [(entry[0], entry[4]) for entry in listed(data)] == [("n" * 300, "t" * 300), ("name", "")]


def test_names_that_are_not_utf8() -> None:
    """Such a name is read, so that what is dropped anyway does no harm, and can be told from others."""
    data = header(b"\xff") + extended(b"x", b"11 path=\xfe\xfd\n") + header() + END
    assert names(data) == ["\udcff", "\udcfe\udcfd"]


@pytest.mark.parametrize(
    "text",
    [
        b"path=x\n",
        b"8 path=x\n",
        b"11 path=x\n",
        b"10 path=x",
        b"99999999 path=x\n",
        b"0 path=x\n",
        b"8 pathx\n",
        b"\0" * 10,
        record("path", "fine") + b"!",
    ],
)
def test_pax_records_of_the_wrong_length(text: bytes) -> None:
    """What a record says of its length must be so."""
    with pytest.raises(ArchiveError, match="it is damaged: a pax header has a record of the wrong length"):
        names(extended(b"x", text) + header() + END)


@pytest.mark.parametrize("size", ["-1", "1e3", "0x10", "", "9" * 5000, "१"])
def test_pax_sizes_that_are_none(size: str) -> None:
    """A size is a decimal number that a file can have."""
    with pytest.raises(ArchiveError, match="it is damaged: a pax header has a size that is none"):
        names(extended(b"x", record("size", size)) + header() + END)


@pytest.mark.parametrize("key", ["GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major", "GNU.sparse.name"])
def test_sparse_files_of_pax(key: str) -> None:
    """A sparse file's content is not what it seems to be, whichever of its forms it has."""
    with pytest.raises(ArchiveError, match="it holds a sparse file"):
        names(extended(b"x", record(key, "1")) + header() + END)


@gnu_tar
def test_sparse_files_of_a_real_tar(tmp_path: Path) -> None:
    """What GNU tar makes of a file with a hole is noticed, in both of its formats."""
    with (tmp_path / "hole").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    for form in ("gnu", "posix"):
        command = ["tar", "--create", "--sparse", f"--format={form}", "--directory", str(tmp_path), "hole"]
        data = subprocess.run(command, capture_output=True, check=True).stdout
        with pytest.raises(ArchiveError, match=r"sparse|not a file"):
            names(data)


class Watched(io.BytesIO):
    """A stream that knows how much was asked for at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, and remember the size."""
        self.most = max(self.most, size or 0)
        return super().read(size)


@pytest.mark.parametrize("type_", [b"x", b"g", b"X", b"L", b"K"])
def test_a_header_of_a_gigabyte_is_not_read(type_: bytes) -> None:
    """A claimed size is refused before anything of that size is read, or asked for."""
    stream = Watched(header(type=type_, size=b"%o" % (1 << 30)) + bytes(1 << 20))
    with pytest.raises(ArchiveError, match="it has a header of 1073741824 bytes"):
        list(tar.entries(stream))
    assert stream.most <= 512
    assert stream.tell() == 512


@pytest.mark.parametrize("size", [b"\x80" + b"\xff" * 11, b"7" * 11])
def test_a_member_of_any_size_ends_with_the_stream(size: bytes) -> None:
    """A size of 2**88 costs neither memory nor time: tarfile counts up to it."""
    stream = Watched(header(size=size) + bytes(5000))
    with pytest.raises(ArchiveError, match="it is damaged: it ends too early"):
        list(tar.entries(stream))
    assert stream.most <= 1 << 20


def test_headers_before_headers() -> None:
    """Any number of extended headers may come before a member without taking up the stack."""
    nested = extended(b"x", record("path", "inner")) * 5000 + extended(b"L", b"last\0") + header() + END
    assert names(nested) == ["last"]


def test_pax_headers_are_read_in_linear_time() -> None:
    """A header of 64 KiB of digits is judged at once (CVE-2024-6232 in tarfile)."""
    with pytest.raises(ArchiveError, match="wrong length"):
        names(extended(b"x", b"1" * (1 << 16)) + header() + END)


def test_a_header_that_is_followed_by_nothing() -> None:
    """A long name without a member is damage, not an end."""
    with pytest.raises(ArchiveError, match="it is damaged: its last header has no member"):
        names(header() + extended(b"L", b"name\0") + END)


def test_a_damaged_header_is_not_the_end() -> None:
    """One wrong bit in a later header is an error; tarfile would end there in silence."""
    data = bytearray(header(b"first") + header(b"second") + END)
    data[512] ^= 1
    with pytest.raises(ArchiveError, match="it is damaged: the sum of a header is wrong"):
        names(bytes(data))


def test_a_cut_is_noticed_wherever_it_is() -> None:
    """An archive ends with a block of zeros or is cut short, also between two members."""
    data = extended(b"L", b"n\0") + header(size=b"3") + b"abc".ljust(512, b"\0") + header() + bytes(512)
    assert names(data) == ["n", "name"]
    for end in range(len(data)):
        with pytest.raises(ArchiveError, match="it is damaged: it ends too early"):
            names(data[:end])


def test_what_follows_the_end_is_read_and_does_not_count() -> None:
    """Padding, or whatever tape drives left there, is read so that the sums behind it are checked."""
    stream = io.BytesIO(header() + END + header(b"ghost") + b"?" * 3_000_000)
    assert [entry.name for entry in tar.entries(stream)] == ["name"]
    assert stream.read() == b""


def test_content_may_be_left_unread() -> None:
    """The next member is found whether a content was read, in part, in whole, or not at all; then it is gone."""
    body = os.urandom(3000)
    member = header(size=b"%o" % len(body)) + body + bytes(-len(body) % 512)
    kept = []
    for number, entry in enumerate(tar.entries(io.BytesIO(member * 3 + END))):
        assert entry.size == 3000
        wanted = (0, 1000, 9999)[number]
        assert entry.content.read(wanted) == body[:wanted]
        kept.append(entry.content)
    assert [content.read(10) for content in kept] == [b"", b"", b""]


class Trickle(io.BytesIO):
    """A stream that gives a few bytes at a time, as a pipe may."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read no more than 100 bytes."""
        return super().read(min(100, size or 0))


def test_short_reads_are_no_damage() -> None:
    """A stream may return less than it was asked for."""
    data = extended(b"L", b"n" * 700 + b"\0") + header(size=b"3") + b"abc".ljust(512, b"\0") + END
    assert [entry.name for entry in tar.entries(Trickle(data))] == ["n" * 700]
