"""Payloads: how one file's content is compressed, and under which path Go will embed it."""

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import deflate

from pyembed_gen import zstd
from pyembed_gen.errors import ArchiveError
from pyembed_gen.plan import Codec

__all__ = ["CHUNK", "SUFFIXES", "compress", "decompress", "library", "paths"]

CHUNK = 4 << 20  # bytes of input in one gzip member of a large file
SUFFIXES = {"gzip": ".gz", "zstd": ".zst", "none": ""}

_DEVICES = re.compile(r"con|prn|aux|nul|com[1-9]|lpt[1-9]", re.IGNORECASE | re.ASCII)
_PUNCTUATION = frozenset("!#$%&()+,-.=@[]^_{}~ ")
_ASCII_END = 0x80


def compress(content: bytes, codec: Codec) -> bytes:
    """Compress one chunk (gzip) or one file (zstd); gzip has no name, no time and the same bytes everywhere."""
    if codec.name == "zstd":
        return zstd.compress(content, codec.level)
    return bytes(deflate.gzip_compress(content, codec.level))


def library(codec: Codec) -> str:
    """Return the name and version of what compresses; another version may give other bytes."""
    if codec.name == "zstd":
        return zstd.LIBRARY
    return f"deflate {deflate.__version__}" if codec.name == "gzip" else ""


def decompress(payload: bytes, codec: str, size: int) -> bytes:
    """Return what a compressed payload holds, at most ``size`` + 1 bytes; ArchiveError if it is damaged."""
    try:
        return zstd.decompress(payload, size) if codec == "zstd" else _gunzip(payload, size)
    except (zlib.error, zstd.ZstdError, EOFError) as error:
        raise ArchiveError(f"damaged {codec} data: {error}") from error


def _gunzip(payload: bytes, size: int) -> bytes:
    parts: list[bytes] = []
    left = size + 1
    while payload and left > 0:
        member = zlib.decompressobj(wbits=31)
        part = member.decompress(payload, left)
        if not member.eof and len(part) < left:
            raise EOFError("the data is cut short")
        parts.append(part)
        left -= len(part)
        payload = member.unused_data
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    path: str


def paths(suffixes: Mapping[str, str]) -> Mapping[str, str]:
    """Return, for the files whose payload cannot lie under its own name, where it lies instead.

    ``suffixes`` maps each file to the suffix of its payload. A path is ``_/`` and the sha256 (hex) of the
    name. It is used wherever Go's embed, its module zip or a version control system would refuse, skip or
    misread the payload's path: golang.org/x/mod's ``module.CheckFilePath`` and ``zip``, and cmd/go's embed.
    """
    places = [_Place(name, name + suffix) for name, suffix in suffixes.items()]
    escaped = {place.name for place in places if not _embeddable(place.path)} | _colliding(places)
    return {name: f"_/{hashlib.sha256(name.encode()).hexdigest()}" for name in escaped}


def _embeddable(path: str) -> bool:
    elements = path.split("/")
    if elements[0] == "_" or path.lower() in ("files.json", ".gitattributes", ".gitignore"):
        return False
    return all(_element_is_fine(element) for element in elements) and not path.lower().endswith(".go")


def _element_is_fine(element: str) -> bool:
    lowered = element.lower()
    return (
        element not in ("", ".", "..")
        and not element.endswith(".")
        and all(_character_is_fine(ch) for ch in element)
        and _DEVICES.fullmatch(element.partition(".")[0]) is None
        and lowered not in ("vendor", "go.mod", ".hg", ".bzr", ".svn")
        and not lowered.startswith(".git")
    )


def _character_is_fine(ch: str) -> bool:
    if ord(ch) < _ASCII_END:
        return ch.isalnum() or ch in _PUNCTUATION
    return unicodedata.category(ch).startswith("L")


def _colliding(places: Iterable[_Place]) -> set[str]:
    """Names of files of which two share a payload path under folding, or one is the folder of another.

    All members of such a group are escaped, so that the outcome does not depend on an order.
    """
    spellings: dict[str, set[tuple[str, bool]]] = {}
    members: dict[str, set[str]] = {}
    for place in places:
        elements = place.path.split("/")
        for end in range(1, len(elements) + 1):
            prefix = "/".join(elements[:end])
            key = fold(prefix)
            spellings.setdefault(key, set()).add((prefix, end == len(elements)))
            members.setdefault(key, set()).add(place.name)
    return {name for key, seen in spellings.items() if len(seen) > 1 for name in members[key]}


def fold(text: str) -> str:
    """Fold case as Unicode's simple case folding does: one character to one (CaseFolding.txt, C and S)."""
    if text.isascii():
        return text.lower()
    return "".join(_fold_character(ch) for ch in text)


def _fold_character(ch: str) -> str:
    folded = ch.casefold()
    if len(folded) == 1:
        return folded
    lowered = ch.lower()
    return lowered if len(lowered) == 1 else ch
