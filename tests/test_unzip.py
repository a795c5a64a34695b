"""Zip archives are read in one way or not at all."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyembed_gen import unzip
from pyembed_gen.errors import ArchiveError
from pyembed_gen.unzip import Limits
from wheels import FILE, LINK, PROGRAM, Member, archive, deflated, descriptor

FULL = 0xFFFFFFFF
HELLO = b"hello, hello, hello" * 9
Parts = Sequence[tuple[str | bytes, Member]]


def read(path: Path, limits: Limits | None = None, piece: int = 777) -> list[tuple[str, bytes, bool]]:
    """Return the files of an archive with their contents."""
    with unzip.opened(path, limits) as opened:
        found = []
        for entry in opened.entries:
            content, parts = opened.content(entry), []
            while block := content.read(piece):
                parts.append(block)
            found.append((entry.name, b"".join(parts), entry.executable))
        return found


def written(tmp_path: Path, parts: Parts, **shape: Any) -> Path:
    """Write an archive and return its path."""
    path = tmp_path / "archive.zip"
    path.write_bytes(archive(parts, **shape))
    return path


@pytest.mark.parametrize("piece", [1, 100, 1 << 20])
def test_what_others_write_is_read(piece: int, tmp_path: Path) -> None:
    """Archives of zipfile: stored, deflated, empty, not ASCII, with folders, a comment, forced zip64 and a pipe."""
    stream = io.BytesIO()
    noise = bytes(range(256)) * 600
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.mkdir("a")
        file.writestr("a/empty", b"")
        file.writestr("a/stored", noise, zipfile.ZIP_STORED)
        file.writestr("a/für 日本", HELLO)
        with file.open("large", "w", force_zip64=True) as member:
            member.write(noise)
        info = zipfile.ZipInfo("bin/run")
        info.external_attr = PROGRAM << 16
        file.writestr(info, HELLO)
        file.comment = b"made by hand"
    (tmp_path / "a").write_bytes(stream.getvalue())
    assert read(tmp_path / "a", piece=piece) == [
        ("a/empty", b"", False),
        ("a/stored", noise, False),
        ("a/für 日本", HELLO, False),
        ("large", noise, False),
        ("bin/run", HELLO, True),
    ]


def test_streamed_archives_are_read(tmp_path: Path) -> None:
    """A writer that cannot seek puts sizes behind the contents."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe, zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", HELLO)
        file.writestr("b", b"")
    with os.fdopen(reader, "rb") as pipe:
        (tmp_path / "a").write_bytes(pipe.read())
    assert read(tmp_path / "a") == [("a", HELLO, False), ("b", b"", False)]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("wide", [True, False])
def test_all_forms_of_descriptors_are_read(signed: bool, wide: bool, tmp_path: Path) -> None:
    """With and without signature, with sizes of 32 and 64 bits."""
    unknown = {"crc": 0, "stored": 0, "size": 0}
    after = descriptor(HELLO, signed=signed, wide=wide)
    path = written(tmp_path, [("a", Member(HELLO, flags=8, local=unknown, after=after)), ("b", Member(b"1"))])
    assert read(path) == [("a", HELLO, False), ("b", b"1", False)]


def test_large_ends_and_fields_are_read(tmp_path: Path) -> None:
    """zip64, whether the short fields are full or right."""
    sizes = struct.pack("<HHQQ", 1, 16, len(HELLO), len(deflated(HELLO)))
    place = struct.pack("<HHQ", 1, 8, 0)
    member = Member(
        HELLO,
        local={"size": FULL, "stored": FULL, "extra": sizes},
        central={"offset": FULL, "extra": b"UT\1\0x" + place},
    )
    for end in ({}, {"here": 0xFFFF, "count": 0xFFFF, "size": FULL, "offset": FULL}):
        assert read(written(tmp_path, [("a", member)], end64={}, end=end)) == [("a", HELLO, False)]


def test_an_archive_may_be_empty(tmp_path: Path) -> None:
    """It has an end alone."""
    assert read(written(tmp_path, [])) == []


NAMES = {
    "absolute": ("/etc/passwd", "is an absolute name"),
    "above": ("../x", "leads out"),
    "above, inside": ("a/../../x", "leads out"),
    "above, at the end": ("a/..", "leads out"),
    "backslash": ("a\\..\\x", "has a backslash"),
    "drive": ("C:/x", "is an absolute name"),
    "drive, relative": ("c:x", "is an absolute name"),
    "NUL": ("a.py\0.txt", "has a control character"),
    "newline": ("a\nb", "has a control character"),
    "escape": ("a\x1b[2J", "has a control character"),
    "empty": ("", "is empty or a dot"),
    "doubled slash": ("a//b", "is empty or a dot"),
    "dot": ("./a", "is empty or a dot"),
    "long": ("a/" * 2100 + "b", "is too long"),
    "long element": ("é" * 128, "is too long"),
    "not UTF-8": (b"caf\xe9", "is not UTF-8"),
}


@pytest.mark.parametrize(("name", "problem"), NAMES.values(), ids=NAMES)
def test_hostile_names_are_refused(name: str | bytes, problem: str, tmp_path: Path) -> None:
    """Also those of folders, from which nothing would be unpacked."""
    folder = name + "/" if isinstance(name, str) else name + b"/"
    for each in (name, folder) if name else (name,):
        with pytest.raises(ArchiveError, match=problem):
            read(written(tmp_path, [(each, Member())]))


def test_names_must_say_that_they_are_utf8(tmp_path: Path) -> None:
    """Without the flag they would be CP437, which is not what RECORD has; with it they must be UTF-8."""
    with pytest.raises(ArchiveError, match="not UTF-8, or not said to be"):
        read(written(tmp_path, [("für", Member(central={"flags": 0}, local={"flags": 0}))]))


DEFLATED = deflated(HELLO)
UNKNOWN = {"crc": 0, "stored": 0, "size": 0}
DESCRIBED = descriptor(HELLO, signed=True, wide=False)
MEMBERS: dict[str, tuple[Parts, str]] = {
    "symlink": ([("a", Member(b"/etc/passwd", mode=LINK))], "'a' is a symbolic link"),
    "device": ([("a", Member(mode=0o020666))], "is not what its name says"),
    "folder without a slash": ([("a", Member(mode=0o040755))], "is not what its name says"),
    "folder with a content": ([("a/", Member(b"x"))], "is a folder with a content"),
    "encrypted": ([("a", Member(flags=1))], "is encrypted"),
    "strongly encrypted": ([("a", Member(flags=0x41))], "is encrypted"),
    "encrypted directory": ([("a", Member(flags=0x2000))], "is encrypted"),
    "patched": ([("a", Member(flags=0x20))], "is a patch"),
    "bzip2": ([("a", Member(method=12))], "method 12"),
    "zstd": ([("a", Member(method=93))], "method 93"),
    "stored with two sizes": ([("a", Member(b"12345", method=0, packed=b"123"))], "has two sizes"),
    "twice": ([("a", Member(b"1")), ("a", Member(b"1"))], "holds 'a' twice"),
    "file and folder": ([("a", Member(b"1")), ("a/", Member())], "holds 'a' twice"),
    "other name": ([("a", Member(local={"name": b"b"}))], "one thing in the directory"),
    "other method": ([("a", Member(HELLO, local={"method": 0}))], "one thing in the directory"),
    "other flags": ([("a", Member(HELLO, local={"flags": 1}))], "one thing in the directory"),
    "other sum": ([("a", Member(HELLO, local={"crc": 1}))], "one thing in the directory"),
    "other size": ([("a", Member(HELLO, local={"size": 1}))], "one thing in the directory"),
    "size not yet known": ([("a", Member(HELLO, local={"size": 0}))], "one thing in the directory"),
    "other stored size": ([("a", Member(HELLO, local={"stored": 1}))], "one thing in the directory"),
    "no header": ([("a", Member(HELLO, local={"signature": b"PK\3\5"}))], "does not begin where"),
    "second name": ([("a", Member(central={"extra": struct.pack("<HH", 0x7075, 6) + b"\1abcde"}))], "a second name"),
    "half an extra field": ([("a", Member(central={"extra": b"UT\5\0x"}))], "extra fields that are none"),
    "a bit of an extra field": ([("a", Member(local={"extra": b"UT"}))], "extra fields that are none"),
    "two sizes of zip64": ([("a", Member(central={"extra": struct.pack("<HHHH", 1, 0, 1, 0)}))], "extra fields"),
    "no size of zip64": ([("a", Member(central={"size": FULL}))], "extra fields that are none"),
    "another part": ([("a", Member(central={"disk": 1}))], "lies in another part"),
    "one content for two": (
        [("a", Member(HELLO)), ("b", Member(HELLO, central={"offset": 0}))],
        "'a' does not end where the next member begins",
    ),
    "content over the next": (
        [("a", Member(HELLO, local={"stored": 500}, central={"stored": 500})), ("b", Member(HELLO))],
        "does not end where the next member begins",
    ),
    "bytes between": ([("a", Member(HELLO)), ("b", Member(HELLO, before=b"x" * 9))], "does not end where"),
    "bytes before the first": ([("a", Member(HELLO, before=b"x"))], "bytes before 'a'"),
    "descriptor without a flag": ([("a", Member(HELLO, after=DESCRIBED))], "does not end where"),
    "other descriptor": ([("a", Member(HELLO, flags=8, local=UNKNOWN, after=bytes(16)))], "does not end where"),
    "no descriptor": ([("a", Member(HELLO, flags=8, local=UNKNOWN))], "does not end where"),
    "long descriptor": ([("a", Member(HELLO, flags=8, local=UNKNOWN, after=DESCRIBED + bytes(99)))], "does not end"),
    "damaged": ([("a", Member(HELLO, packed=b"\xff" * 30))], "'a' is damaged: Error -3"),
    "cut short": ([("a", Member(HELLO, packed=DEFLATED[:-4]))], "'a' is damaged: it ends too early"),
    "bytes behind": ([("a", Member(HELLO, packed=DEFLATED + b"x"))], "is not as long as it claims"),
    "many bytes behind": ([("a", Member(HELLO, packed=DEFLATED + bytes(1 << 17)))], "is not as long as it claims"),
    "less than claimed": (
        [("a", Member(HELLO, local={"size": 999}, central={"size": 999}))],
        "'a' is not as long as it claims",
    ),
    "more than claimed": (
        [("a", Member(bytes(1 << 20), local={"size": 9}, central={"size": 9}))],
        "'a' has more than the 9 bytes that it claims",
    ),
    "wrong sum": ([("a", Member(HELLO, local={"crc": 1}, central={"crc": 1}))], "its CRC-32 is another"),
}


@pytest.mark.parametrize(("parts", "problem"), MEMBERS.values(), ids=MEMBERS)
def test_hostile_members_are_refused(parts: Parts, problem: str, tmp_path: Path) -> None:
    """The message is one line that names the member."""
    with pytest.raises(ArchiveError, match=problem) as caught:
        read(written(tmp_path, parts))
    assert "\n" not in str(caught.value)


END: dict[str, tuple[dict[str, Any], str]] = {
    "bytes after": ({"after": b"x"}, "does not end as a zip"),
    "bytes before": ({"before": b"#!/bin/sh\n"}, "not those of one member"),
    "bytes before the directory": ({"gap": b"x"}, "does not end where the next member begins"),
    "a second end in the comment": ({"comment": b"PK\5\6" + bytes(18)}, "two directories"),
    "several parts": ({"end": {"disk": 1}}, "one of several parts"),
    "directory in another part": ({"end": {"first": 1}}, "one of several parts"),
    "other count here": ({"end": {"here": 1}}, "one of several parts"),
    "more members": ({"end": {"here": 3, "count": 3}}, "directory contradicts itself"),
    "fewer members": ({"end": {"here": 1, "count": 1}}, "directory contradicts itself"),
    "directory elsewhere": ({"end": {"offset": 1}}, "not where its end says"),
    "shorter directory": ({"end": {"size": 9}}, "not where its end says"),
    "zip64 elsewhere": ({"end64": {"at": 3}}, "zip64 end is not where"),
    "zip64 of several parts": ({"end64": {"disks": 2}}, "one of several parts"),
    "zip64 with more": ({"end64": {"length": 50}}, "zip64 end contradicts itself"),
    "zip64 with another count here": ({"end64": {"here": 9}}, "zip64 end contradicts itself"),
    "zip64 against the short end": ({"end": {"size": 1}, "end64": {}}, "say different things"),
}


@pytest.mark.parametrize(("shape", "problem"), END.values(), ids=END)
def test_hostile_directories_are_refused(shape: dict[str, Any], problem: str, tmp_path: Path) -> None:
    """Whatever could be read in two ways."""
    with pytest.raises(ArchiveError, match=problem):
        read(written(tmp_path, [("a", Member(HELLO)), ("b", Member(HELLO))], **shape))


def test_a_directory_without_members_hides_nothing(tmp_path: Path) -> None:
    """Bytes before it would be seen by readers that look for headers."""
    with pytest.raises(ArchiveError, match="belong to no member"):
        read(written(tmp_path, [], gap=archive([("a", Member(HELLO))])[:60]))


def test_damaged_directories_are_refused(tmp_path: Path) -> None:
    """Entries that are cut short or begin wrongly."""
    for central in ({"signature": b"PK\1\3"}, {"comment": 9}):
        member = Member(b"1", central=central) if "signature" in central else Member(b"1")
        whole = bytearray(archive([("a", member)]))
        if "comment" in central:
            struct.pack_into("<H", whole, whole.rindex(b"PK\1\2") + 32, 9)
        (tmp_path / "a").write_bytes(whole)
        with pytest.raises(ArchiveError, match="directory contradicts itself"):
            read(tmp_path / "a")


def test_headers_that_run_over_the_end_are_refused(tmp_path: Path) -> None:
    """A name of 65535 bytes in an archive of a hundred."""
    whole = bytearray(archive([("a", Member(b"1"))]))
    struct.pack_into("<H", whole, 26, 0xFFFF)
    (tmp_path / "a").write_bytes(whole)
    with pytest.raises(ArchiveError, match="it ends too early"):
        read(tmp_path / "a")


def test_too_much_is_refused_before_anything_is_inflated(tmp_path: Path) -> None:
    """Bytes, members, bytes for one of the archive, and bytes of the directory."""
    path = written(tmp_path, [("a", Member(bytes(50_000))), ("b", Member(b"1"))])
    assert read(path, Limits(size=50_001, count=2, ratio=1, free=50_001))
    for limits, problem in (
        (Limits(size=50_000), "holds 50001 bytes, more than 50000"),
        (Limits(count=1), "more than 1 members"),
        (Limits(ratio=200, free=50_000), "no honest archive"),
    ):
        with pytest.raises(ArchiveError, match=problem):
            read(path, limits)


def test_directories_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read into memory."""
    monkeypatch.setattr(unzip, "_MAX_DIRECTORY", 50)
    assert read(written(tmp_path, [("a", Member())]))
    with pytest.raises(ArchiveError, match="its directory has more than 50 bytes"):
        read(written(tmp_path, [("a", Member()), ("b", Member())]))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    """No file, a folder, an empty file, another format."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_bytes(b"PK" * 500)
    for name, problem in (("empty", "does not end"), ("text", "does not end"), ("gone", "No such"), (".", "cannot be")):
        with pytest.raises(ArchiveError, match=problem):
            read(tmp_path / name)


class Failing(io.BytesIO):
    """A file on a disk that fails."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Fail."""
        del size
        raise OSError(5, "Input/output error")


def test_a_failing_disk_is_no_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an ArchiveError, while the directory is read and while a content is."""
    path = written(tmp_path, [("a", Member(HELLO))])
    with unzip.opened(path) as opened:
        content = unzip.Content(Failing(b"x"), opened.entries[0])
        with pytest.raises(ArchiveError, match="'a' cannot be read: Input/output error"):
            content.read(10)
    monkeypatch.setattr(Path, "open", lambda *_: Failing(bytes(100)))
    with pytest.raises(ArchiveError, match="it cannot be read: Input/output error"):
        read(path)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_is_a_bug(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever bytes change, an archive is read as it was or refused; what is read, zipfile reads too."""
    whole = bytearray(archive([("a", Member(HELLO)), ("b/c", Member(b"123", method=0)), ("d/", Member())]))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.zip"
    path.write_bytes(whole)
    try:
        found = read(path)
    except ArchiveError:
        return
    with suppress(NotImplementedError), zipfile.ZipFile(path) as file:  # zipfile believes the version that is needed
        assert found == [
            (info.filename, file.read(info), bool(info.external_attr >> 16 & 0o111))
            for info in file.infolist()
            if not info.is_dir()
        ]


def test_sums_are_those_of_zip(tmp_path: Path) -> None:
    """CRC-32 as zlib has it, and the mode of Unix."""
    with unzip.opened(written(tmp_path, [("a", Member(HELLO))])) as opened:
        (entry,) = opened.entries
        assert (entry.crc, entry.size, entry.stored, entry.mode) == (zlib.crc32(HELLO), len(HELLO), len(DEFLATED), FILE)
