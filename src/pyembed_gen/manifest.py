"""files.json: what a bundle holds.

A superset of what go-embed-python writes, so its runtime reads gzip bundles of ours. ``contentHash`` says
what the extracted tree is, whatever codec carries it; :func:`content_hash` gives its definition.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

from pyembed_gen.errors import ArchiveError
from pyembed_gen.payload import CHUNK, SUFFIXES, fold
from pyembed_gen.tree import name_problem, sort_key

__all__ = ["FILE_NAME", "VERSION", "Entry", "Manifest", "Origin", "content_hash"]

FILE_NAME = "files.json"
VERSION = 2

# Bits of a Go fs.FileMode.
_DIR = 1 << 31
_SYMLINK = 1 << 27
_TYPE = _DIR | _SYMLINK | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19  # fs.ModeType
_HASH = re.compile(r"[0-9a-f]{64}")
_RESERVED = ".pyembed-"  # what the runtime adds to a tree begins like this
_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder, a file or a symlink of the tree. Sizes are bytes, sums sha256 in hex.

    ``stored`` is the size of the payload, ``chunks`` its gzip members as (raw bytes, stored bytes), ``path``
    where the payload lies if not under its own name.
    """

    name: str
    kind: Literal["dir", "file", "link"]
    size: int = 0
    executable: bool = False
    sha256: str = ""
    target: str = ""
    compressed: bool = False
    stored: int = 0
    chunks: tuple[tuple[int, int], ...] = ()
    path: str = ""

    def payload(self, codec: str) -> str:
        """Return the path of the payload in the bundle."""
        return self.path or self.name + (SUFFIXES[codec] if self.compressed else "")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a bundle comes from; ``portable`` is false for what runs only on the machine it was made on."""

    python: str
    pbs: str
    triple: str
    flavour: str
    archive: str
    sha256: str
    portable: bool


@dataclass(frozen=True)
class Manifest:
    """All of files.json. ``recipe`` is the sha256 of all that decided the output.

    ``dropped`` maps each prune rule to how many files and bytes it left out.
    """

    entries: tuple[Entry, ...]
    codec: str
    recipe: str
    origin: Origin
    dropped: tuple[tuple[str, int, int], ...] = ()

    @cached_property
    def content_hash(self) -> str:
        """Hash of the extracted tree."""
        return content_hash(self.entries)

    @property
    def files(self) -> tuple[Entry, ...]:
        """Regular files alone."""
        return tuple(entry for entry in self.entries if entry.kind == "file")

    @property
    def raw(self) -> int:
        """Bytes of all files when extracted."""
        return sum(entry.size for entry in self.files)

    @property
    def stored(self) -> int:
        """Bytes of all payloads."""
        return sum(entry.stored for entry in self.files)

    def to_json(self) -> bytes:
        """Return files.json: contentHash first, so that a reader can stop there; one entry a line."""
        return self._json

    @cached_property
    def _json(self) -> bytes:
        head = {
            "contentHash": self.content_hash,
            "version": VERSION,
            "codec": self.codec,
            "recipe": self.recipe,
            "origin": {name: getattr(self.origin, name) for name in Origin.__slots__},
            "dropped": {rule: [count, size] for rule, count, size in self.dropped},
        }
        entries = ",\n".join(_dump(_entry_values(entry)) for entry in self.entries)
        return f'{_dump(head)[:-1]}, "files": [\n{entries}\n]}}\n'.encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """Read files.json of this version; ArchiveError if it is damaged, of another version or hostile."""
        try:
            values = _kind(json.loads(text), dict, "it")
            version = values.get("version")
            if version != VERSION:
                raise ArchiveError(
                    f"reading {FILE_NAME}: its version is {version!r:.20}, not {VERSION}",
                    hint="generate the bundle again with this version of pyembed-gen",
                )
            manifest = cls(
                entries=tuple(_entry(_kind(value, dict, "an entry")) for value in _list(values, "files")),
                codec=_text(values, "codec"),
                recipe=_text(values, "recipe", ""),
                origin=_origin(_kind(values.get("origin", {}), dict, "origin")),
                dropped=tuple(_dropped(_kind(values.get("dropped", {}), dict, "dropped"))),
            )
            manifest.check()
            claimed = _text(values, "contentHash")
        except KeyError as error:
            raise _unreadable(f"{error} is missing") from error
        except (ValueError, RecursionError) as error:
            raise _unreadable(str(error)) from error
        if claimed != manifest.content_hash:
            raise _unreadable("its contentHash is not that of its entries")
        return manifest

    def check(self) -> None:
        """Raise ValueError if the runtime, or :meth:`from_json`, would refuse it: see runtime/internal/manifest."""
        if self.codec not in SUFFIXES:
            raise ValueError(f"its codec {self.codec!r:.20} is unknown")
        for name in Origin.__slots__[:-1]:
            if problem := name_problem(getattr(self.origin, name)):
                raise ValueError(f"its origin's {name} {problem}")
        for rule, _, _ in self.dropped:
            if problem := name_problem(rule):
                raise ValueError(f"its dropped rule {rule!r} {problem}")
        for problem in _problems(self.entries, self.codec):
            raise ValueError(problem)


def _unreadable(problem: str) -> ArchiveError:
    return ArchiveError(f"reading {FILE_NAME}: {problem}", hint="generate the bundle again")


def content_hash(entries: Iterable[Entry]) -> str:
    r"""Return the hash of a tree, in hex.

    It is the sha256 of the line ``pyembed-manifest-2\n`` and, for every entry in the order of its name's
    bytes, ``<kind> <mode> <digest> <name>\n``. The kind is dir, file or link; the mode 755 for folders and
    what the owner may execute, 777 for links, else 644; the digest the sha256 in hex of the uncompressed
    content or of the link's target, ``-`` for a folder.
    """
    digest = hashlib.sha256(f"pyembed-manifest-{VERSION}\n".encode())
    for entry in sorted(entries, key=lambda entry: sort_key(entry.name)):
        digest.update(f"{entry.kind} {_mode(entry):o} {_digest(entry)} {entry.name}\n".encode())
    return digest.hexdigest()


def _mode(entry: Entry) -> int:
    if entry.kind == "link":
        return 0o777
    return 0o755 if entry.kind == "dir" or entry.executable else 0o644


def _digest(entry: Entry) -> str:
    if entry.kind == "link":
        return hashlib.sha256(entry.target.encode()).hexdigest()
    return entry.sha256 if entry.kind == "file" else "-"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _entry_values(entry: Entry) -> dict[str, Any]:
    values: dict[str, Any] = {"name": entry.name, "size": entry.size, "perm": _perm(entry)}
    if entry.kind == "link":
        values |= {"size": len(entry.target.encode()), "symlink": entry.target}
    elif entry.kind == "file":
        if entry.compressed:
            values["compressed"] = True
        values |= {"sha256": entry.sha256, "stored": entry.stored}
        if entry.chunks:
            values["chunks"] = entry.chunks
        if entry.path:
            values["path"] = entry.path
    return values


def _perm(entry: Entry) -> int:
    """Return the entry's Go fs.FileMode."""
    if entry.kind == "link":
        return _SYMLINK
    return _mode(entry) | (_DIR if entry.kind == "dir" else 0)


_T = TypeVar("_T")


def _kind(value: object, kind: type[_T], what: str) -> _T:
    """Return the value if it is exactly of that type: True is no number here."""
    if type(value) is not kind:
        raise ValueError(f"{what} is of type {type(value).__name__}, not {kind.__name__}")
    return value


def _text(values: Mapping[str, object], key: str, default: str | None = None) -> str:
    text = _kind(values[key] if default is None else values.get(key, default), str, key)
    if problem := name_problem(text):
        raise ValueError(f"{key} {problem}")
    return text


def _list(values: Mapping[str, object], key: str) -> list[Any]:
    return _kind(values.get(key, []), list, key)


def _number(value: object, what: str) -> int:
    number = _kind(value, int, what)
    if not 0 <= number <= _MAX:
        raise ValueError(f"{what} is no size")
    return number


def _origin(values: Mapping[str, object]) -> Origin:
    """Return the origin, of which bundles made by the Go runtime say nothing."""
    python, pbs, triple, flavour, archive, sha256 = (_text(values, name, "") for name in Origin.__slots__[:-1])
    portable = _kind(values.get("portable", True), bool, "portable")
    return Origin(python, pbs, triple, flavour, archive, sha256, portable)


def _dropped(values: Mapping[str, object]) -> Iterator[tuple[str, int, int]]:
    for rule, figures in values.items():
        count, size = (_number(figure, "dropped") for figure in _kind(figures, list, "dropped"))
        yield _text({"dropped": rule}, "dropped"), count, size


def _entry(values: Mapping[str, object]) -> Entry:
    name, perm, size = _text(values, "name"), _number(values["perm"], "perm"), _number(values["size"], "size")
    if perm & _TYPE == _DIR:
        return Entry(name, "dir")
    if perm & _TYPE == _SYMLINK:
        return Entry(name, "link", target=_text(values, "symlink"))
    if perm & _TYPE:
        raise ValueError(f"{name!r} is neither a folder, a file nor a link")
    return Entry(
        name,
        "file",
        size,
        executable=bool(perm & 0o100),
        sha256=_text(values, "sha256"),
        compressed=_kind(values.get("compressed", False), bool, "compressed"),
        stored=_number(values["stored"], "stored"),
        chunks=tuple(_chunk(pair) for pair in _list(values, "chunks")),
        path=_text(values, "path", ""),
    )


def _chunk(pair: object) -> tuple[int, int]:
    raw, stored = (_number(figure, "a chunk") for figure in _kind(pair, list, "a chunk"))
    return raw, stored


def _problems(entries: Sequence[Entry], codec: str) -> Iterator[str]:
    kinds = {entry.name: entry.kind for entry in entries}
    links = {fold(entry.name) for entry in entries if entry.kind == "link"}
    before = b""
    for entry in entries:
        key = sort_key(entry.name)
        if key <= before:
            yield f"{entry.name!r} is out of order"
        before = key
        if not _is_inside(entry.name) or entry.name.startswith(_RESERVED):
            yield f"{entry.name!r} is not a name"
        for parent in _parents(entry.name):
            if kinds.get(parent, "dir") != "dir" or fold(parent) in links:
                yield f"{entry.name!r} lies below {parent!r}, which is not a folder"
        if entry.kind == "link" and not _stays_inside(entry.name, entry.target):
            yield f"{entry.name!r} links to {entry.target!r}, which is not in the tree"
        if entry.kind == "file":
            yield from _file_problems(entry, codec)


def _file_problems(entry: Entry, codec: str) -> Iterator[str]:
    if _HASH.fullmatch(entry.sha256) is None:
        yield f"{entry.name!r} has no sha256"
    if entry.path and not _is_inside(entry.path):
        yield f"{entry.path!r} is not a path in the bundle"
    if (codec == "none") if entry.compressed else (entry.stored != entry.size):
        yield f"{entry.name!r} is not stored as it says"
    if entry.chunks and not _chunks_fit(entry, codec):
        yield f"{entry.name!r} has chunks that do not add up"


def _chunks_fit(entry: Entry, codec: str) -> bool:
    sizes = tuple(map(sum, zip(*entry.chunks, strict=True)))
    fit = all(0 < raw <= CHUNK and stored > 0 for raw, stored in entry.chunks)
    return fit and entry.compressed and codec == "gzip" and sizes == (entry.size, entry.stored)


def _is_inside(path: str) -> bool:
    return not name_problem(path) and not {"", ".", ".."} & set(path.split("/"))


def _stays_inside(name: str, target: str) -> bool:
    """Whether a link goes up no further than the tree's root, and never up again once it went down.

    As nothing lies below a link, no chain of such links leads outside.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    down = [part for part in parts if part != ".."]
    ups = len(parts) - len(down)
    if not target or target.startswith("/") or name_problem(target):
        return False
    return parts[ups:] == down and ups <= name.count("/")


def _parents(name: str) -> Iterator[str]:
    for index, ch in enumerate(name):
        if ch == "/":
            yield name[:index]
