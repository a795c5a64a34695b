"""files.json: what a bundle holds.

A superset of what go-embed-python writes, so its runtime reads gzip bundles of ours. ``contentHash`` says
what the extracted tree is, whatever codec carries it; :func:`content_hash` gives its definition.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pyembed_gen.errors import ArchiveError
from pyembed_gen.payload import SUFFIXES
from pyembed_gen.tree import name_problem, sort_key

__all__ = ["FILE_NAME", "VERSION", "Entry", "Manifest", "Origin", "content_hash"]

FILE_NAME = "files.json"
VERSION = 2

# Bits of a Go fs.FileMode.
_DIR = 1 << 31
_SYMLINK = 1 << 27
_HASH = re.compile(r"[0-9a-f]{64}")


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


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of files.json. ``recipe`` is the sha256 of all that decided the output.

    ``dropped`` maps each prune rule to how many files and bytes it left out.
    """

    entries: tuple[Entry, ...]
    codec: str
    recipe: str
    origin: Origin
    dropped: tuple[tuple[str, int, int], ...] = ()

    @property
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
            values = json.loads(text)
            version = values.get("version")
            if version != VERSION:
                raise ArchiveError(
                    f"reading {FILE_NAME}: its version is {version}, not {VERSION}",
                    hint="generate the bundle again with this version of pyembed-gen",
                )
            manifest = cls(
                entries=tuple(_entry(value) for value in values["files"]),
                codec=values["codec"],
                recipe=values["recipe"],
                origin=Origin(**{name: values["origin"][name] for name in Origin.__slots__}),
                dropped=tuple((rule, *map(int, pair)) for rule, pair in values.get("dropped", {}).items()),
            )
            problem = _problem(manifest, values["contentHash"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ArchiveError(f"reading {FILE_NAME}: {error!r}", hint="generate the bundle again") from error
        if problem:
            raise ArchiveError(f"reading {FILE_NAME}: {problem}", hint="generate the bundle again")
        return manifest


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


def _entry(values: dict[str, Any]) -> Entry:
    name, perm, size = values["name"], int(values["perm"]), int(values["size"])
    if perm & _DIR:
        return Entry(name, "dir")
    if perm & _SYMLINK:
        return Entry(name, "link", size, target=values["symlink"])
    return Entry(
        name,
        "file",
        size,
        executable=bool(perm & 0o100),
        sha256=values["sha256"],
        compressed=bool(values.get("compressed", False)),
        stored=int(values["stored"]),
        chunks=tuple((int(raw), int(stored)) for raw, stored in values.get("chunks", ())),
        path=values.get("path", ""),
    )


def _problem(manifest: Manifest, claimed: str) -> str:
    if manifest.codec not in SUFFIXES:
        return f"its codec {manifest.codec!r} is unknown"
    for problem in _entry_problems(manifest.entries):
        return problem
    if manifest.content_hash != claimed:
        return "its contentHash is not that of its entries"
    return ""


def _entry_problems(entries: Iterable[Entry]) -> Iterator[str]:
    before = b""
    for entry in entries:
        key = sort_key(entry.name)
        if key <= before:
            yield f"{entry.name!r} is out of order"
        before = key
        for path in filter(None, (entry.name, entry.path)):
            if name_problem(path) or {"", ".", ".."} & set(path.split("/")):
                yield f"{path!r} is not a name"
        if entry.size < 0 or entry.stored < 0 or any(min(pair) < 0 for pair in entry.chunks):
            yield f"{entry.name!r} has a negative size"
        if entry.kind == "file" and _HASH.fullmatch(entry.sha256) is None:
            yield f"{entry.name!r} has no sha256"
