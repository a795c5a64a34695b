"""Reads a tar stream, member after member: ustar, GNU long names, and pax (POSIX.1-2008, "pax Interchange Format").

Not ``tarfile`` of the standard library, which takes a damaged header for the end of the archive, reads sparse maps
into memory whole, counts up to whatever size a header claims, and searches pax headers in quadratic time where
CVE-2024-6232 is not mended.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pyembed_gen.blobs import Readable
from pyembed_gen.errors import ArchiveError

__all__ = ["Content", "Entry", "entries"]

_BLOCK = 512
_MAX_HEADER = 1 << 16  # a longer extended header holds no name
_SKIP = 1 << 20
_KINDS: dict[bytes, Literal["file", "hard", "link", "folder"]] = {
    b"\0": "file",
    b"0": "file",
    b"1": "hard",
    b"2": "link",
    b"5": "folder",
    b"7": "file",
}
_GNU_NAMES = {b"L": "path", b"K": "linkpath"}
_PAX = (b"x", b"X", b"g")
_PAX_KEYS = frozenset({"path", "linkpath", "size"})
_LENGTH = re.compile(rb"([1-9][0-9]{0,6}) ")


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as its headers describe it; ``content`` is empty but for files, and gone at the next entry."""

    name: str
    kind: Literal["file", "hard", "link", "folder"]
    size: int
    executable: bool
    target: str
    content: "Content"


def entries(stream: Readable) -> Iterator[Entry]:
    """Yield what a tar stream holds and read it to its end, whatever follows the archive in it.

    Text that is not UTF-8 is decoded with surrogate escapes. Raises ArchiveError if the archive is damaged or ends
    too early, and for devices, FIFOs, sparse files and types that are not in POSIX.
    """
    common: dict[str, str] = {}
    own: dict[str, str] = {}
    while any(block := _exactly(stream, _BLOCK)):
        header = _Header.parse(block)
        if header.type in _PAX or header.type in _GNU_NAMES:
            values = _extended(stream, header)
            (common if header.type == b"g" else own).update(values)
            continue
        entry = header.entry({**common, **own}, stream)
        own = {}
        yield entry
        entry.content.skip()
    if own:
        raise _damaged("its last header has no member")
    while stream.read(_SKIP):
        pass  # so that the sums of gzip and zstd are checked


@dataclass(frozen=True, slots=True)
class _Header:
    """The fields of one header block, as they stand there."""

    name: str
    type: bytes
    size: int
    executable: bool
    target: str

    @classmethod
    def parse(cls, block: bytes) -> "_Header":
        if _number(block[148:156]) != sum(block[:148]) + sum(b" " * 8) + sum(block[156:]):
            raise _damaged("the sum of a header is wrong")
        name = _text(block[:100])
        if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
            name = f"{prefix}/{name}"
        mode = _number(block[100:108])
        return cls(name, block[156:157], _number(block[124:136]), bool(mode & 0o100), _text(block[157:257]))

    def entry(self, values: dict[str, str], stream: Readable) -> Entry:
        """Return the member that the header and those before it describe; its content comes next in ``stream``."""
        name = values.get("path", self.name)
        kind = _KINDS.get(self.type)
        if kind is None:
            raise ArchiveError(f"{name!r} is not a file, a folder or a link")
        if self.type == b"\0" and name.endswith("/"):
            kind = "folder"  # as it was written before there was a type for them
        size = _decimal(values["size"]) if "size" in values else self.size
        size = size if kind == "file" else 0  # some writers give links the size of what they point to
        return Entry(name, kind, size, self.executable, values.get("linkpath", self.target), Content(stream, size))


class Content:
    """The content of one member; it ends where the member does."""

    def __init__(self, stream: Readable, size: int) -> None:
        self._stream = stream
        self._left = size
        self._padding = -size % _BLOCK

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end; ArchiveError if the archive ends before the member."""
        wanted = min(size, self._left)
        block = self._stream.read(wanted) if wanted else b""
        if wanted and not block:
            raise _cut_short()
        self._left -= len(block)
        return block

    def skip(self) -> None:
        """Read what is left of the member, and what fills its last block."""
        while self._left:
            self.read(_SKIP)
        _exactly(self._stream, self._padding)


def _extended(stream: Readable, header: _Header) -> dict[str, str]:
    """Read the header of a long name, or a pax header, and return what it says about names and sizes."""
    if header.size > _MAX_HEADER:
        raise ArchiveError(f"it has a header of {header.size} bytes")
    text = _exactly(stream, header.size)
    _exactly(stream, -header.size % _BLOCK)
    if header.type in _GNU_NAMES:
        return {_GNU_NAMES[header.type]: _text(text)}
    return _records(text)


def _records(text: bytes) -> dict[str, str]:
    """Return the records of a pax header, ``<length> <key>=<value>`` and a newline each, that matter."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        length = _LENGTH.match(text, at)
        end = at + int(length[1]) if length else at
        key, equals, value = text[length.end() if length else at : end].partition(b"=")
        if not equals or not value.endswith(b"\n") or end > len(text):
            raise _damaged("a pax header has a record of the wrong length")
        name = key.decode("utf-8", "surrogateescape")
        if name.startswith("GNU.sparse."):
            raise ArchiveError("it holds a sparse file")
        if name in _PAX_KEYS:
            found[name] = value[:-1].decode("utf-8", "surrogateescape")
        at = end
    return found


def _exactly(stream: Readable, size: int) -> bytes:
    block = stream.read(size) if size else b""
    while len(block) < size:
        more = stream.read(size - len(block))
        if not more:
            raise _cut_short()
        block += more
    return block


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    """Return a number in octal digits, or (GNU, star) in base 256 after a first byte of 0x80."""
    if field[0] == 0x80:  # noqa: PLR2004
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise _damaged("a header has a number that is none")
    return int(digits or b"0", 8)


def _decimal(text: str) -> int:
    if not re.fullmatch("[0-9]{1,20}", text):
        raise _damaged("a pax header has a size that is none")
    return int(text)


def _cut_short() -> ArchiveError:
    return _damaged("it ends too early")


def _damaged(what: str) -> ArchiveError:
    return ArchiveError(f"it is damaged: {what}")
