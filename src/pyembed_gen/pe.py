"""PE: the imports and exports of programs and libraries of Windows.

Facts: Microsoft, "PE Format". The loader walks import tables to their empty entry whatever size the data
directory gives, and so does this module.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pyembed_gen.binary import Binary, BinaryError, Buffer, Reader, unique

MAX_IMPORTS = 4096
"""Most libraries that one table may import from; real ones have fewer than a hundred."""
MAX_EXPORTS = 65536
"""Most exported functions: ordinals have 16 bits."""
MAX_SECTIONS = 96
"""Most sections that a file may have, as the "PE Format" allows the loader to assume."""

_NAME_ROOM = 512
_SIGNATURE = b"PE\0\0"
_SIGNATURE_AT = 0x3C
_FURTHEST_SIGNATURE = 1 << 16
_FILE_HEADER = 24  # the signature and IMAGE_FILE_HEADER
_EXPORT, _IMPORT, _DELAY_IMPORT = 0, 1, 13
_DLL, _EXECUTABLE = 0x2000, 0x0002
_RELATIVE = 1  # of a delay import: its addresses count from the image base

_MACHINES = {0x14C: "i386", 0x1C4: "arm", 0x8664: "x86_64", 0xAA64: "aarch64"}


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where PE32 and PE32+ keep what differs between them, as offsets in the optional header."""

    base: tuple[str, int]
    directories: int


_LAYOUTS = {0x10B: _Layout(("I", 28), 92), 0x20B: _Layout(("Q", 24), 108)}


@dataclass(frozen=True, slots=True)
class _Section:
    """A stretch of addresses (relative to the image base) and where its bytes are in the file."""

    start: int
    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Image:
    reader: Reader
    base: int
    sections: tuple[_Section, ...]
    directories: tuple[tuple[int, int], ...]

    def offset(self, address: int) -> int:
        """Return where in the file the byte at a relative address is."""
        for section in self.sections:
            if section.start <= address < section.start + section.size:
                return section.offset + address - section.start
        raise BinaryError(f"PE file: no section has address {address:#x}")

    def directory(self, index: int) -> tuple[int, int]:
        """Return relative address and size of a data directory, (0, 0) when the file has none."""
        return self.directories[index] if index < len(self.directories) else (0, 0)

    def name(self, address: int) -> str:
        return self.reader.text(self.offset(address), _NAME_ROOM)


def claims(head: bytes) -> bool:
    """Tell by its first 64 bytes whether a file says that it is PE.

    A DOS program, or text that begins with ``MZ``, has no sensible place of a PE signature.
    """
    place = int.from_bytes(head[_SIGNATURE_AT : _SIGNATURE_AT + 4], "little")
    return head.startswith(b"MZ") and _SIGNATURE_AT + 4 <= place < _FURTHEST_SIGNATURE


def read(data: Buffer) -> Binary | None:
    """Return what a PE file says of itself; BinaryError when it is malformed or truncated.

    None for a file of DOS or 16 bit Windows, whose signature is another one.
    """
    with memoryview(data) as view:
        reader = Reader(view, "PE file", "<", 0, len(view))
        (start,) = reader.unpack("I", _SIGNATURE_AT)
        if reader.take(start, len(_SIGNATURE)) != _SIGNATURE:
            return None
        machine, count, _, _, _, size, flags = reader.unpack("HHIIIHH", start + len(_SIGNATURE))
        image = _image(reader, start + _FILE_HEADER, size, count)
        return Binary(
            format="pe",
            machines=(_MACHINES.get(machine, f"machine-{machine}"),),
            kind=_kind(flags),
            needed=unique([*_imports(image), *_delay_imports(image), *_forwarders(image)]),
        )


def _kind(flags: int) -> Literal["program", "library", "object"]:
    if flags & _DLL:
        return "library"
    return "program" if flags & _EXECUTABLE else "object"


def _image(reader: Reader, start: int, size: int, count: int) -> _Image:
    (magic,) = reader.unpack("H", start)
    layout = _LAYOUTS.get(magic)
    if layout is None or count > MAX_SECTIONS:
        raise BinaryError(f"PE file: optional header {magic:#x} or {count} sections are not of this format")
    form, place = layout.base
    (base,) = reader.unpack(form, start + place)
    (headers,) = reader.unpack("I", start + 60)
    (number,) = reader.unpack("I", start + layout.directories)
    first = start + layout.directories + 4
    if layout.directories + 4 + 8 * min(number, 16) > size:
        raise BinaryError("PE file: its data directories lie outside the optional header")
    directories = [reader.unpack("II", first + 8 * index) for index in range(min(number, 16))]
    sections = [_Section(0, headers, 0)]
    for index in range(count):
        _, address, raw, offset = reader.unpack("IIII", start + size + 40 * index + 8)
        sections.append(_Section(address, raw, offset))
    pairs = tuple((address, length) for address, length in directories)
    return _Image(reader, base, tuple(sections), pairs)


def _entries(image: _Image, directory: int, layout: str, step: int) -> Iterator[tuple[int, ...]]:
    """Yield up to MAX_IMPORTS records of a table; the caller stops at the empty one that ends it."""
    address, _ = image.directory(directory)
    if address == 0:
        return
    start = image.offset(address)
    for index in range(MAX_IMPORTS):
        yield image.reader.unpack(layout, start + index * step)
    raise BinaryError(f"PE file: it imports from more than {MAX_IMPORTS} libraries")


def _imports(image: _Image) -> Iterator[str]:
    for _, _, _, name, thunks in _entries(image, _IMPORT, "5I", 20):
        if name == 0 or thunks == 0:
            return
        yield image.name(name)


def _delay_imports(image: _Image) -> Iterator[str]:
    for attributes, name, *_ in _entries(image, _DELAY_IMPORT, "8I", 32):
        if name == 0:
            return
        yield image.name(name if attributes & _RELATIVE else name - image.base)


def _forwarders(image: _Image) -> list[str]:
    """Return the libraries that exported names are forwarded to: ``python314.PyX`` is in python314.dll."""
    address, size = image.directory(_EXPORT)
    if address == 0:
        return []
    start = image.offset(address)
    (count,) = image.reader.unpack("I", start + 20)
    (table,) = image.reader.unpack("I", start + 28)
    if count > MAX_EXPORTS:
        raise BinaryError(f"PE file: it exports more than {MAX_EXPORTS} functions")
    functions = image.reader.unpack(f"{count}I", image.offset(table)) if count else ()
    forwarded = (function for function in functions if address <= function < address + size)
    targets = (image.reader.text(start + function - address, _NAME_ROOM) for function in forwarded)
    return [library(target.rpartition(".")[0]) for target in targets]


def library(name: str) -> str:
    """Return the file that the loader looks for: ``.dll`` is added to a name without an extension."""
    return name if "." in name else f"{name}.dll"
