"""Mach-O: the load commands of programs and libraries of macOS, of one architecture or universal.

Facts: <mach-o/loader.h>, <mach-o/fat.h> and dyld's own checks of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Literal

from pyembed_gen.binary import MACHO_MAGICS, MAX_NAME, Binary, BinaryError, Buffer, Reader, is_fat, unique

MAX_COMMANDS = 16384
"""Most load commands that all slices may have together; real ones have fewer than a hundred each."""

_ARCHIVE = b"!<arch>\n"  # a universal static library holds archives, not Mach-O files
_FAT64 = b"\xca\xfe\xba\xbf"
_WIDE = frozenset({b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe"})
_BIG = frozenset({b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf"})

_MACHINES = {
    7: "i386",
    12: "arm",
    18: "ppc",
    0x01000007: "x86_64",
    0x0100000C: "aarch64",
    0x01000012: "ppc64",
    0x0200000C: "arm64_32",
}
_Kind = Literal["program", "library", "object"]
_KINDS: dict[int, _Kind] = {2: "program", 6: "library", 7: "library", 8: "library", 9: "library"}


class Command(IntEnum):
    """Load commands that name something; LC_REQ_DYLD (bit 31) included where the headers have it."""

    LOAD_DYLIB = 0xC
    ID_DYLIB = 0xD
    LOAD_DYLINKER = 0xE
    LAZY_LOAD_DYLIB = 0x20
    LOAD_WEAK_DYLIB = 0x80000018
    RPATH = 0x8000001C
    REEXPORT_DYLIB = 0x8000001F
    LOAD_UPWARD_DYLIB = 0x80000023


DEPENDENCIES = frozenset(
    {
        Command.LOAD_DYLIB,
        Command.LOAD_WEAK_DYLIB,
        Command.REEXPORT_DYLIB,
        Command.LOAD_UPWARD_DYLIB,
        Command.LAZY_LOAD_DYLIB,
    },
)
"""The commands that make dyld load another library."""


@dataclass(frozen=True, slots=True)
class _Named:
    """One load command with a name: the name, and where in the file it may be written."""

    command: Command
    name: str
    offset: int
    room: int


@dataclass(frozen=True, slots=True)
class _Slice:
    """The code of one architecture."""

    machine: str
    kind: _Kind
    named: tuple[_Named, ...]


def read(data: Buffer) -> Binary:
    """Return what a Mach-O file says of itself; BinaryError when it is malformed or truncated.

    Of a universal file all architectures count: ``machines`` lists them, and what one needs is needed.
    """
    with memoryview(data) as view:
        slices = _slices(view)
    named = [named for one in slices for named in one.named]
    ids = [one.name for one in named if one.command == Command.ID_DYLIB]
    linkers = [one.name for one in named if one.command == Command.LOAD_DYLINKER]
    return Binary(
        format="macho",
        machines=unique([one.machine for one in slices]),
        kind=slices[0].kind,
        needed=unique([one.name for one in named if one.command in DEPENDENCIES]),
        soname=ids[0].rpartition("/")[2] if ids else "",
        runpath=unique([one.name for one in named if one.command == Command.RPATH]),
        interpreter=linkers[0] if linkers else "",
    )


def set_dylib_path(data: Buffer, old: str, new: str) -> bytes:
    """Return the file with every dependency named ``old`` renamed to ``new``, in place and padded with NUL.

    Nothing else changes, so the file's signature no longer holds and the caller has to sign it again.
    Raises BinaryError when no architecture depends on ``old``, or a load command has no room for ``new``.
    """
    text = new.encode("utf-8", "surrogateescape")
    if b"\0" in text:
        raise BinaryError(f"Mach-O file: the name of a library cannot hold NUL: {new!r}")
    with memoryview(data) as view:
        found = [named for one in _slices(view) for named in one.named]
        output = bytearray(view)
    found = [named for named in found if named.command in DEPENDENCIES and named.name == old]
    if not found:
        raise BinaryError(f"Mach-O file: it does not load {old!r}")
    for named in found:
        if len(text) >= named.room:
            raise BinaryError(f"Mach-O file: no room for {new!r}: {old!r} has {named.room - 1} bytes")
        output[named.offset : named.offset + named.room] = text.ljust(named.room, b"\0")
    return bytes(output)


def _slices(view: memoryview) -> list[_Slice]:
    if not is_fat(bytes(view[:8])):
        return [_slice(view, 0, len(view), None, MAX_COMMANDS)[0]]
    found = list(_architectures(view))
    if not found:
        raise BinaryError("Mach-O file: it is universal but holds no architecture")
    ranges = sorted((start, end) for _, start, end in found)
    if any(start < end for (_, end), (start, _) in pairwise(ranges)):
        raise BinaryError("universal Mach-O file: slices overlap")
    slices, left = [], MAX_COMMANDS
    for machine, start, end in found:
        one, count = _slice(view, start, end, machine, left)
        slices.append(one)
        left -= count
    return slices


def _architectures(view: memoryview) -> Iterator[tuple[str, int, int]]:
    """Yield machine, start and end of each slice of a universal file."""
    reader = Reader(view, "universal Mach-O file", ">", 0, len(view))
    layout, step = ("IIQQII", 32) if reader.take(0, 4) == _FAT64 else ("IIIII", 20)
    (count,) = reader.unpack("I", 4)
    for index in range(count):
        cpu, _, offset, size, *_ = reader.unpack(layout, 8 + index * step)
        if offset + size > len(view):
            raise BinaryError("universal Mach-O file: a slice lies outside the file")
        yield _machine(cpu), offset, offset + size


def _slice(view: memoryview, start: int, end: int, listed: str | None, most: int) -> tuple[_Slice, int]:
    """Return a slice and the number of its load commands, which are ``most`` at most."""
    magic = bytes(view[start : min(start + 8, end)])
    if listed is not None and magic == _ARCHIVE:
        return _Slice(listed, "object", ()), 0
    if magic[:4] not in MACHO_MAGICS:
        raise BinaryError("Mach-O file: a slice has another format")
    reader = Reader(view, "Mach-O file", ">" if magic[:4] in _BIG else "<", start, end)
    cpu, _, type_, count, size = reader.unpack("5I", 4)
    if count > most:
        raise BinaryError(f"Mach-O file: it has more than {MAX_COMMANDS} load commands")
    first = 32 if magic[:4] in _WIDE else 28
    named = tuple(_named(reader, first, count, first + size))
    return _Slice(_machine(cpu), _KINDS.get(type_, "object"), named), count


def _named(reader: Reader, offset: int, count: int, end: int) -> Iterator[_Named]:
    """Yield the load commands with a name among ``count`` commands between ``offset`` and ``end``."""
    for _ in range(count):
        number, size = reader.unpack("II", offset)
        if size < 8 or offset + size > min(end, reader.size):  # noqa: PLR2004 - number and size themselves
            raise BinaryError("Mach-O file: a load command lies outside the others")
        if number in _COMMANDS:
            (place,) = reader.unpack("I", offset + 8)
            name = reader.text(offset + place, min(size - place, MAX_NAME))
            yield _Named(Command(number), name, reader.start + offset + place, size - place)
        offset += size


def _machine(cpu: int) -> str:
    return _MACHINES.get(cpu, f"machine-{cpu}")


_COMMANDS = frozenset(Command)
