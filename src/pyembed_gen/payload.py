"""Payloads: how one file's content is compressed, and under which path Go will embed it."""

import hashlib
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import deflate

from pyembed_gen import zstd
from pyembed_gen.errors import ArchiveError
from pyembed_gen.plan import Codec

__all__ = ["CHUNK", "SUFFIXES", "compress", "fold", "inflate", "library", "paths"]

CHUNK = 4 << 20  # bytes of input in one gzip member of a large file
SUFFIXES = {"gzip": ".gz", "zstd": ".zst", "none": ""}

_BLOCK = 1 << 20  # bytes that are inflated at a time, however many a payload says that it holds
_DEVICES = re.compile(r"con|prn|aux|nul|com[1-9]|lpt[1-9]")
_SKIPPED = frozenset(("vendor", "go.mod", ".hg", ".bzr", ".svn"))
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


def inflate(file: BinaryIO, codec: str) -> Iterator[bytes]:
    """Yield what a compressed payload holds, in blocks of at most 1 MiB; ArchiveError if it is damaged."""
    try:
        yield from _zstd_blocks(file) if codec == "zstd" else _gzip_blocks(file)
    except (zlib.error, zstd.ZstdError, EOFError) as error:
        raise ArchiveError(f"damaged {codec} data: {error}") from error


def _zstd_blocks(file: BinaryIO) -> Iterator[bytes]:
    with zstd.open_reader(file) as reader:
        while block := reader.read(_BLOCK):
            yield block


def _gzip_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Inflate all members. gzip.GzipFile passes over zeros behind the last one, at which Go stops."""
    while data := file.read(_BLOCK):
        while data:
            member = zlib.decompressobj(wbits=31)
            while not member.eof:
                block = member.decompress(data, _BLOCK)
                data = member.unconsumed_tail
                yield block
                if len(block) < _BLOCK and not member.eof and not data:
                    data = file.read(_BLOCK)
                    if not data:
                        raise EOFError("the data is cut short")
            data = member.unused_data


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
    first, *_ = elements = path.split("/")
    return first != "_" and fold(first) != "files.json" and all(map(_element_is_fine, elements))


def _element_is_fine(element: str) -> bool:
    folded = fold(element)
    return (
        element != ""
        and not element.endswith((".", ".go"))
        and all(map(_character_is_fine, element))
        and _DEVICES.fullmatch(folded.partition(".")[0]) is None
        and folded not in _SKIPPED
        and not folded.startswith(".git")
    )


def _character_is_fine(ch: str) -> bool:
    """Whether CheckFilePath lets a character pass.

    Letters are those of Unicode 3.2 that still are letters: which later ones are known depends on the
    versions of Python and Go, and a bundle may not.
    """
    if ord(ch) < _ASCII_END:
        return ch.isalnum() or ch in _PUNCTUATION
    return all(version.category(ch).startswith("L") for version in (unicodedata.ucd_3_2_0, unicodedata))


def _colliding(places: Iterable[_Place]) -> set[str]:
    """Names of files of which two share a payload path under folding, or one is the folder of another.

    All members of such a group are escaped, so that the outcome does not depend on an order.
    """
    spellings: dict[str, set[tuple[str, bool]]] = {}
    members: dict[str, set[str]] = {}
    files: Counter[str] = Counter()
    for place in places:
        elements = place.path.split("/")
        files[fold(place.path)] += 1
        for end in range(1, len(elements) + 1):
            prefix = "/".join(elements[:end])
            key = fold(prefix)
            spellings.setdefault(key, set()).add((prefix, end == len(elements)))
            members.setdefault(key, set()).add(place.name)
    return {name for key, seen in spellings.items() if len(seen) > 1 or files[key] > 1 for name in members[key]}


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
