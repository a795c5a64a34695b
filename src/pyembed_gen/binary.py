"""What a native program or library says of itself, whatever its format.

ELF, Mach-O and PE each have a module of their own that reads them into a :class:`Binary`.
"""

import mmap
import struct
from dataclasses import dataclass
from typing import Literal, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap
"""The content of a file; a memory map is read in place and can be closed afterwards."""

MACHO_MAGICS = frozenset({b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"})
"""First bytes of a Mach-O of one architecture: 32 and 64 bit, big and little endian (<mach-o/loader.h>)."""
FAT_MAGICS = frozenset({b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"})
"""First bytes of a universal Mach-O with 32 and 64 bit offsets (<mach-o/fat.h>)."""
MAX_NAME = 4096
"""Longest name in bytes that a library may have in a file's headers, as PATH_MAX on Linux."""

_OLDEST_JAVA_CLASS = 45  # file(1) tells a Java class (major version) from a universal Mach-O (slices) by this


class BinaryError(ValueError):
    """A file that claims to be ELF, Mach-O or PE but is truncated or contradicts itself."""


@dataclass(frozen=True, slots=True)
class Binary:
    """The facts of one ELF, Mach-O or PE file that decide where and with what it runs.

    ``machines`` holds ``x86_64``, ``aarch64``, ``i386``, ``arm``, ``ppc64le``, ``s390x`` or ``riscv64``
    (several for a universal Mach-O, otherwise one). ``needed`` lists what the loader must find, as written
    in the file: ELF DT_NEEDED, Mach-O LC_LOAD_DYLIB and its kin, PE imports, delay imports and forwarders.
    ``soname`` is DT_SONAME or the last element of LC_ID_DYLIB, ``runpath`` DT_RUNPATH, DT_RPATH or LC_RPATH.
    A machine that is none of those is ``machine-<number in the header>``; text that is not UTF-8 is decoded
    with surrogate escapes.
    """

    format: Literal["elf", "macho", "pe"]
    machines: tuple[str, ...]
    kind: Literal["program", "library", "object"]
    needed: tuple[str, ...] = ()
    soname: str = ""
    runpath: tuple[str, ...] = ()
    interpreter: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """The bytes ``start`` to ``end`` of a file, with every access checked against them.

    Offsets count from ``start``; ``order`` is the byte order as in the struct module. Whatever lies outside
    raises BinaryError, whose message begins with ``what``.
    """

    view: memoryview
    what: str
    order: str
    start: int
    end: int

    @property
    def size(self) -> int:
        """The number of bytes that can be read."""
        return self.end - self.start

    def take(self, offset: int, size: int) -> bytes:
        """Return a copy of ``size`` bytes at ``offset``; BinaryError when they are not all there."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise BinaryError(f"{self.what}: {size} bytes at {offset:#x} lie outside its {self.size} bytes")
        return bytes(self.view[self.start + offset : self.start + offset + size])

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        """Return the integers of struct format ``layout`` (without byte order) at ``offset``."""
        form = self.order + layout
        return struct.unpack(form, self.take(offset, struct.calcsize(form)))

    def text(self, offset: int, room: int = MAX_NAME) -> str:
        """Return the NUL-terminated text at ``offset``, which must end within ``room`` bytes."""
        raw, nul, _ = self.take(offset, max(0, min(room, self.size - offset))).partition(b"\0")
        if not nul:
            raise BinaryError(f"{self.what}: the text at {offset:#x} does not end within {room} bytes")
        return decode(raw)


def decode(raw: bytes) -> str:
    """Return a name in a file's headers as text, reversible when it is not UTF-8."""
    return raw.decode("utf-8", "surrogateescape")


def is_fat(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` (8 bytes or more) is a universal Mach-O.

    Java classes share its magic number; they are told apart as file(1) does.
    """
    count = int.from_bytes(head[4:8], "big")
    return head[:4] in FAT_MAGICS and len(head) >= 8 and count < _OLDEST_JAVA_CLASS  # noqa: PLR2004


def looks_executable(head: bytes) -> bool:
    """Tell by its first bytes (8 or more) whether a file is meant to be run or loaded.

    True for ELF, Mach-O, PE and scripts with ``#!``. On a host without file modes this decides which files
    get mode 0755.
    """
    return head.startswith((b"\x7fELF", b"MZ", b"#!")) or head[:4] in MACHO_MAGICS or is_fat(head)


def read(data: Buffer) -> Binary | None:
    """Return what a file says of itself, or None when it is neither ELF, Mach-O nor PE.

    DOS programs, Java classes and text that happens to begin with ``MZ`` are None. Raises BinaryError when
    the file is one of the three but malformed, truncated or absurdly large in its tables.
    """
    from pyembed_gen import elf, macho, pe  # noqa: PLC0415 - each of them builds a Binary

    head = bytes(data[:64])
    if head.startswith(elf.MAGIC):
        return elf.read(data)
    if head[:4] in MACHO_MAGICS or is_fat(head):
        return macho.read(data)
    if pe.claims(head):
        return pe.read(data)
    return None


def unique(names: list[str]) -> tuple[str, ...]:
    """Return ``names`` in their order without repetitions."""
    return tuple(dict.fromkeys(names))
