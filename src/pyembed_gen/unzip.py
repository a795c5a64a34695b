"""Reads a zip archive in the one way in which no two readers differ (PKWARE, "APPNOTE.TXT").

Not ``zipfile`` of the standard library, which looks for the directory from the end, passes over bytes that belong to
no member, ends names at a NUL, decodes them as CP437, and believes the directory where a member's own header says
something else: what one reader checks, another then does not unpack.
"""

import re
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pyembed_gen.errors import ArchiveError
from pyembed_gen.tree import name_problem

__all__ = ["Archive", "Content", "Entry", "Limits", "opened"]

_BLOCK = 1 << 16
_MAX_DIRECTORY = 64 << 20  # bytes; real wheels have under 10 MB
_MAX_COMMENT = 0xFFFF
_MAX_NAME = 4096  # bytes, as PATH_MAX on Linux
_MAX_ELEMENT = 255  # bytes, as NAME_MAX on Linux
_DRIVE = re.compile(r"[A-Za-z]:")

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_EXTRA = struct.Struct("<2H")

_FULL = 0xFFFFFFFF  # the value is in the zip64 field
_ZIP64 = 0x0001
_UNICODE_PATH = 0x7075
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR = 0x0008
_PATCHED = 0x0020
_UTF8 = 0x0800
_LEVEL = 0x0006  # says how hard the writer tried


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold at the most: bytes when inflated, and members (folders included).

    ``ratio`` is how many inflated bytes there may be for each of its own, looked at from ``free`` bytes on.

    Deflate makes 1032 bytes of one; real wheels are under 2 GB, 60,000 members and 20 for one.
    """

    size: int = 4 << 30
    count: int = 200_000
    ratio: int = 200
    free: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as directory and header agree on it: its bytes in the archive, their CRC-32 and the mode of Unix."""

    name: str
    size: int
    stored: int
    start: int
    deflated: bool
    crc: int
    mode: int

    @property
    def executable(self) -> bool:
        """Whether somebody may execute it."""
        return bool(self.mode & 0o111)


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that is open: its files in the order of their bytes."""

    file: BinaryIO
    entries: tuple[Entry, ...]

    def content(self, entry: Entry) -> "Content":
        """Return a file's content, to be read from its beginning."""
        return Content(self.file, entry)


@contextmanager
def opened(path: Path, limits: Limits | None = None) -> Iterator[Archive]:
    """Open an archive whose members lie one after the other, each described twice in the same way.

    Raises ArchiveError for anything else: bytes that belong to no member, members that overlap, parts of several
    files, encryption, methods other than stored and deflated, links and devices, names that lead out, occur twice
    or are not UTF-8, and for more than the limits allow.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ArchiveError(f"it cannot be read: {error.strerror}", hint="check the file") from error
    with file:
        try:
            entries = _Reading(file, limits or Limits()).entries()
        except OSError as error:
            raise ArchiveError(f"it cannot be read: {error.strerror}", hint="check the disk") from error
        yield Archive(file, entries)


@dataclass(frozen=True, slots=True)
class _Central:
    """What the directory says of one member."""

    raw: bytes
    name: str
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    mode: int
    offset: int

    @property
    def folder(self) -> bool:
        return self.name.endswith("/")


@dataclass(slots=True)
class _Reading:
    file: BinaryIO
    limits: Limits
    found: list[Entry] = field(default_factory=list)

    def entries(self) -> tuple[Entry, ...]:
        start, size, count = self._directory()
        if count > self.limits.count:
            raise ArchiveError(f"it holds more than {self.limits.count} members")
        if size > _MAX_DIRECTORY:
            raise ArchiveError(f"its directory has more than {_MAX_DIRECTORY} bytes")
        members = _members(self._take(start, size), count)
        self._check_amount(members, start)
        _check_names(members)
        at = 0
        in_order = sorted(members, key=lambda member: member.offset)
        for member, following in zip(in_order, [*(member.offset for member in in_order), start][1:], strict=True):
            if member.offset != at:
                raise ArchiveError(f"the bytes before {member.name!r} are not those of one member")
            at = following
            self._read(member, following)
        if at != start:
            raise ArchiveError("there are bytes before its directory that belong to no member")
        return tuple(self.found)

    def _take(self, offset: int, size: int) -> bytes:
        self.file.seek(offset)
        taken = self.file.read(size)
        if len(taken) < size:
            raise ArchiveError("it is damaged: it ends too early")
        return taken

    def _directory(self) -> tuple[int, int, int]:
        """Return offset and size of the directory, and the number of its members."""
        length = self.file.seek(0, 2)
        tail_at = max(0, length - _END.size - _MAX_COMMENT)
        tail = self._take(tail_at, length - tail_at)
        ends = [
            match.start()
            for match in re.finditer(b"PK\x05\x06", tail)
            if len(tail) - match.start() >= _END.size
            and match.start() + _END.size + _END.unpack_from(tail, match.start())[7] == len(tail)
        ]
        if len(ends) != 1:
            raise ArchiveError("it is damaged: " + ("it has two directories" if ends else "it does not end as a zip"))
        end = tail_at + ends[0]
        _, disk, first, here, count, size, offset, _ = _END.unpack_from(tail, ends[0])
        if disk or first or here != count:
            raise ArchiveError("it is one of several parts")
        located = end - _LOCATOR64.size
        if located >= 0 and (locator := self._take(located, _LOCATOR64.size)).startswith(b"PK\x06\x07"):
            end, large = self._large_directory(located, locator)
            shown = ((count, 0xFFFF), (size, _FULL), (offset, _FULL))
            if any(small not in (full, real) for (small, full), real in zip(shown, large, strict=True)):
                raise ArchiveError("it is damaged: its two ends say different things")
            count, size, offset = large
        if offset + size != end:
            raise ArchiveError("its directory is not where its end says")
        return offset, size, count

    def _large_directory(self, located: int, locator: bytes) -> tuple[int, tuple[int, int, int]]:
        _, disk, offset, disks = _LOCATOR64.unpack(locator)
        at = located - _END64.size
        if disk or disks > 1:
            raise ArchiveError("it is one of several parts")
        if offset != at or at < 0:
            raise ArchiveError("it is damaged: its zip64 end is not where it should be")
        signature, length, _, _, disk, first, here, count, size, start = _END64.unpack(self._take(at, _END64.size))
        if signature != b"PK\x06\x06" or length != _END64.size - 12 or disk or first or here != count:
            raise ArchiveError("it is damaged: its zip64 end contradicts itself")
        return at, (count, size, start)

    def _check_amount(self, members: Sequence[_Central], length: int) -> None:
        total = sum(member.size for member in members)
        if total > self.limits.size:
            raise ArchiveError(f"it holds {total} bytes, more than {self.limits.size}")
        if total > self.limits.free and total > self.limits.ratio * length:
            raise ArchiveError(f"it holds {total} bytes in {length}: no honest archive is packed like that")

    def _read(self, member: _Central, following: int) -> None:
        """Compare a member's own header, and what follows its content, with the directory."""
        signature, _, flags, method, _, _, crc, stored, size, name_size, extra_size = _LOCAL.unpack(
            self._take(member.offset, _LOCAL.size)
        )
        if signature != b"PK\x03\x04":
            raise ArchiveError(f"{member.name!r} does not begin where the directory says")
        rest = self._take(member.offset + _LOCAL.size, name_size + extra_size)
        fields = _extra(rest[name_size:], member.name)
        if _FULL in (stored, size):
            size, stored = _large(fields, (size, stored), member.name)
        later = bool(flags & _DESCRIPTOR)
        same = (
            rest[:name_size] == member.raw
            and (flags ^ member.flags) & ~_LEVEL == 0
            and method == member.method
            and all(
                value == real or (later and not value)
                for value, real in ((crc, member.crc), (stored, member.stored), (size, member.size))
            )
        )
        if not same:
            raise ArchiveError(f"{member.name!r} is one thing in the directory and another in its own header")
        start = member.offset + _LOCAL.size + name_size + extra_size
        end = start + member.stored
        if (
            end > following
            or (not later and end != following)
            or (later and not self._described(member, end, following))
        ):
            raise ArchiveError(f"{member.name!r} does not end where the next member begins")
        if not member.folder:
            deflated = member.method == _DEFLATED
            self.found.append(Entry(member.name, member.size, member.stored, start, deflated, member.crc, member.mode))

    def _described(self, member: _Central, end: int, following: int) -> bool:
        """Whether what follows a content is its descriptor: in four forms, with and without signature and zip64."""
        found = self._take(end, following - end) if following - end <= 24 else b""  # noqa: PLR2004
        plain = (
            struct.pack("<LQQ", member.crc, member.stored, member.size),
            struct.pack("<LLL", member.crc, member.stored & _FULL, member.size & _FULL),
        )
        return found in (*plain, *(b"PK\x07\x08" + form for form in plain))


def _members(directory: bytes, count: int) -> list[_Central]:
    members: list[_Central] = []
    at = 0
    while at < len(directory):
        if len(directory) - at < _CENTRAL.size or len(members) == count:
            raise _contradiction()
        member, at = _member(directory, at)
        members.append(member)
    if len(members) != count:
        raise _contradiction()
    return members


def _member(directory: bytes, at: int) -> tuple[_Central, int]:
    signature, _, _, flags, method, _, _, crc, stored, size, *rest = _CENTRAL.unpack_from(directory, at)
    name_size, extra_size, comment_size, disk, _, attributes, offset = rest
    name_at = at + _CENTRAL.size
    extra_at = name_at + name_size
    end = extra_at + extra_size + comment_size
    if signature != b"PK\x01\x02" or end > len(directory):
        raise _contradiction()
    raw = directory[name_at:extra_at]
    name = _name(raw, flags)
    fields = _extra(directory[extra_at : extra_at + extra_size], name)
    if _FULL in (size, stored, offset):
        size, stored, offset = _large(fields, (size, stored, offset), name)
    member = _Central(raw, name, flags, method, crc, stored, size, attributes >> 16, offset)
    problem = "lies in another part" if disk else _problem(member)
    if problem:
        raise ArchiveError(f"{name!r} {problem}")
    return member, end


def _name(raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        raise ArchiveError(f"the name {raw[:80]!r} is not UTF-8, or not said to be") from None
    if problem := _name_problem(name, len(raw)):
        raise ArchiveError(f"{name[:80]!r} {problem}")
    return name


def _name_problem(name: str, size: int) -> str:
    elements = name.removesuffix("/").split("/")
    if name.startswith("/") or _DRIVE.match(name):
        return "is an absolute name"
    if ".." in elements:
        return "leads out of the archive"
    if "\\" in name:
        return "has a backslash, which is a separator on Windows"
    if "" in elements or "." in elements:
        return "has an element that is empty or a dot"
    if size > _MAX_NAME or any(len(element.encode()) > _MAX_ELEMENT for element in elements):
        return "is too long"
    return name_problem(name)


def _problem(member: _Central) -> str:
    kind = stat.S_IFMT(member.mode)
    problems = {
        "is a symbolic link": kind == stat.S_IFLNK,
        "is not what its name says, a file or a folder": kind not in (0, stat.S_IFREG, stat.S_IFDIR)
        or (kind == stat.S_IFDIR and not member.folder),
        "is encrypted": member.flags & _ENCRYPTED,
        "is a patch of something else": member.flags & _PATCHED,
        f"is compressed by method {member.method}, which wheels do not have": member.method not in (_STORED, _DEFLATED),
        "is a folder with a content": member.folder and member.size,
        "has two sizes": member.method == _STORED and member.stored != member.size,
    }
    return next((problem for problem, applies in problems.items() if applies), "")


def _check_names(members: Sequence[_Central]) -> None:
    seen: set[str] = set()
    for member in members:
        name = member.name.removesuffix("/")
        if name in seen:
            raise ArchiveError(f"it holds {name!r} twice")
        seen.add(name)


def _extra(raw: bytes, name: str) -> dict[int, bytes]:
    """Return the extra fields of a member by their numbers."""
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        if len(raw) - at < _EXTRA.size:
            raise _bad_extra(name)
        number, size = _EXTRA.unpack_from(raw, at)
        at += _EXTRA.size + size
        if at > len(raw) or (number == _ZIP64 and number in fields):
            raise _bad_extra(name)
        fields[number] = raw[at - size : at]
    if _UNICODE_PATH in fields:
        raise ArchiveError(f"{name!r} has a second name")
    return fields


def _large(fields: dict[int, bytes], values: Sequence[int], name: str) -> Sequence[int]:
    """Replace what is too large for 32 bits by what the zip64 field says, which has just those, in this order."""
    raw = fields.get(_ZIP64, b"")
    missing = [at for at, value in enumerate(values) if value == _FULL]
    if len(raw) != 8 * len(missing):
        raise _bad_extra(name)
    result = list(values)
    for at, value in zip(missing, struct.unpack(f"<{len(missing)}Q", raw), strict=True):
        result[at] = value
    return result


def _contradiction() -> ArchiveError:
    return ArchiveError("it is damaged: its directory contradicts itself")


def _bad_extra(name: str) -> ArchiveError:
    return ArchiveError(f"{name!r} has extra fields that are none")


class Content:
    """The content of one file, checked against its size and CRC-32 at its end; never more bytes than it claims."""

    def __init__(self, file: BinaryIO, entry: Entry) -> None:
        self._file = file
        self._entry = entry
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if entry.deflated else None
        self._at = 0  # bytes taken from the archive
        self._size = 0
        self._crc = 0

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes (at least one is asked for), none at the end."""
        try:
            block = self._inflated(size) if self._inflater else self._stored(size)
        except zlib.error as error:
            raise self._wrong(f"is damaged: {error}") from error
        except OSError as error:
            raise self._wrong(f"cannot be read: {error.strerror}") from error
        self._size += len(block)
        self._crc = zlib.crc32(block, self._crc)
        if self._size > self._entry.size:
            raise self._wrong(f"has more than the {self._entry.size} bytes that it claims")
        if not block:
            self._check_end()
        return block

    def _stored(self, size: int) -> bytes:
        self._file.seek(self._entry.start + self._at)
        block = self._file.read(min(size, self._entry.stored - self._at))
        self._at += len(block)
        return block

    def _inflated(self, size: int) -> bytes:
        inflater = self._inflater
        while inflater and not inflater.eof:
            data = inflater.unconsumed_tail or self._stored(_BLOCK)
            block = inflater.decompress(data, max(size, 1))
            if block:
                return block
            if not data:
                raise self._wrong("is damaged: it ends too early")
        return b""

    def _check_end(self) -> None:
        left = self._entry.stored - self._at + len(self._inflater.unused_data if self._inflater else b"")
        if left or self._size != self._entry.size:
            raise self._wrong("is not as long as it claims")
        if self._crc != self._entry.crc:
            raise self._wrong("is damaged: its CRC-32 is another")

    def _wrong(self, what: str) -> ArchiveError:
        return ArchiveError(f"{self._entry.name!r} {what}")
