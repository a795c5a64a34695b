"""Compresses the files of a tree, in parallel and never twice: results live in a cache, by content and codec."""

import functools
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from pyembed_gen import payload
from pyembed_gen.blobs import Blobs
from pyembed_gen.cache import touch
from pyembed_gen.errors import ArchiveError
from pyembed_gen.manifest import Entry, Manifest, Origin
from pyembed_gen.payload import CHUNK
from pyembed_gen.plan import Codec
from pyembed_gen.progress import Task
from pyembed_gen.tree import File, Link, Tree, sort_key
from pyembed_gen.writing import CACHE, writing

__all__ = ["Packed", "Packer", "Payload"]

_FORMAT = 3
_MAX_SEAL = 80
_MAX_HEAD = 1 << 20  # a chunk of 4 MiB takes some 20 bytes of it


@dataclass(frozen=True, slots=True)
class Payload:
    """The bytes of one payload: ``size`` bytes of the file at ``source``, from ``offset`` on."""

    source: Path
    offset: int
    size: int
    compressed: bool
    chunks: tuple[tuple[int, int], ...] = ()


Pending = Callable[[], Payload]
"""Waits for a payload that is being made."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle ready to be written: its manifest and where each payload is read from."""

    manifest: Manifest
    payloads: Mapping[str, Payload]


@dataclass(frozen=True, slots=True)
class Packer:
    """Compresses for one run with one codec; ``packs`` is the folder of the cache.

    ``begun`` remembers what was begun, so that a content of several trees is compressed once.
    """

    blobs: Blobs
    packs: Path
    codec: Codec
    executor: Executor
    begun: dict[str, Pending] = field(default_factory=dict)

    def start(self, tree: Tree, task: Task) -> Mapping[str, Pending]:
        """Begin to compress the distinct contents of a tree, largest first; ``task`` advances by raw bytes.

        The result maps sums to what waits for each payload; hand it to :meth:`finish`.
        """
        contents = {file.sha256: file for file in tree.files}
        largest = sorted(contents.values(), key=lambda file: (-file.size, file.sha256))
        return {file.sha256: self._start(file, task) for file in largest}

    def finish(self, tree: Tree, started: Mapping[str, Pending], *, recipe: str, origin: Origin) -> Packed:
        """Wait for what :meth:`start` began and return the bundle.

        Raises ArchiveError for a tree that the runtime would refuse.
        """
        results = {sha256: pending() for sha256, pending in started.items()}
        suffix = payload.SUFFIXES[self.codec.name]
        suffixes = {file.name: suffix if results[file.sha256].compressed else "" for file in tree.files}
        paths = payload.paths(suffixes)
        entries = [Entry(name, "dir") for name in tree.directories]
        for entry in tree.entries:
            if isinstance(entry, Link):
                entries.append(Entry(entry.name, "link", target=entry.target))
            else:
                entries.append(_file_entry(entry, results[entry.sha256], paths.get(entry.name, "")))
        manifest = Manifest(
            entries=tuple(sorted(entries, key=lambda entry: sort_key(entry.name))),
            codec=self.codec.name,
            recipe=recipe,
            origin=origin,
            dropped=tuple((rule, *figures) for rule, figures in tree.dropped_by_rule().items()),
        )
        try:
            manifest.check()
        except ValueError as error:
            raise ArchiveError(f"packing {origin.archive}: {error}", hint="drop it with a rule of the matrix") from None
        return Packed(
            manifest,
            {entry.payload(self.codec.name): results[entry.sha256] for entry in manifest.files},
        )

    def _start(self, file: File, task: Task) -> Pending:
        pending = self.begun.get(file.sha256)
        if pending is not None:
            task.advance(file.size)
            return pending
        self.begun[file.sha256] = self._start_new(file, task)
        return self.begun[file.sha256]

    def _start_new(self, file: File, task: Task) -> Pending:
        if self.codec.name != "gzip" or file.size <= CHUNK:
            return self.executor.submit(self._pack, file, task).result
        cached = self._cached(file)
        if cached is not None:
            task.advance(file.size)
            return lambda: cached
        chunks = [self.executor.submit(self._chunk, file, start, task) for start in range(0, file.size, CHUNK)]
        return functools.cache(lambda: self._keep(file, [chunk.result() for chunk in chunks]))

    def _chunk(self, file: File, start: int, task: Task) -> bytes:
        with self.blobs.path(file.sha256).open("rb") as raw:
            raw.seek(start)
            content = raw.read(CHUNK)
        part = payload.compress(content, self.codec)
        task.advance(len(content))
        return part

    def _pack(self, file: File, task: Task) -> Payload:
        packed = self._raw(file) if self.codec.name == "none" else self._cached(file)
        if packed is None:
            content = self.blobs.path(file.sha256).read_bytes()
            packed = self._keep(file, [payload.compress(content, self.codec)])
        task.advance(file.size)
        return packed

    def _key(self, file: File) -> str:
        recipe = [_FORMAT, file.sha256, self.codec.name, self.codec.level, payload.library(self.codec), CHUNK]
        return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()

    def _path(self, file: File) -> Path:
        key = self._key(file)
        return self.packs / key[:2] / key

    def _cached(self, file: File) -> Payload | None:
        """Return a cached result; one that is damaged, of another content or contradicts itself counts as none."""
        path = self._path(file)
        try:
            with path.open("rb") as stored:
                seal = stored.readline(_MAX_SEAL)
                if hashlib.file_digest(stored, "sha256").hexdigest().encode() != seal.strip():
                    return None
                size = stored.tell()
                stored.seek(len(seal))
                head = stored.readline(_MAX_HEAD)
        except OSError:
            return None
        offset = len(seal) + len(head)
        try:
            found = _read_head(head, path.name, file.size, size - offset)
        except (ValueError, KeyError, RecursionError):
            return None
        touch(path)
        if not found.compressed:
            return self._raw(file)
        if bool(found.chunks) != (self.codec.name == "gzip" and file.size > CHUNK):
            return None
        return Payload(path, offset, found.stored, compressed=True, chunks=found.chunks)

    def _keep(self, file: File, parts: list[bytes]) -> Payload:
        """Store a result: the sha256 of the rest, a line of JSON, the payload. What did not shrink has none.

        The line says of which key it is, so that no other entry is taken for it.
        """
        stored = sum(map(len, parts))
        compressed = stored < file.size
        chunks = _chunks(file.size, parts) if compressed and len(parts) > 1 else ()
        path = self._path(file)
        values = {"key": path.name, "compressed": compressed, "stored": stored, "chunks": chunks}
        head = json.dumps(values).encode() + b"\n"
        content = [head, *parts] if compressed else [head]
        digest = hashlib.sha256()
        for part in content:
            digest.update(part)
        seal = digest.hexdigest().encode() + b"\n"
        with writing(self.packs, option=CACHE):
            path.parent.mkdir(parents=True, exist_ok=True)
            # In this run's own folder, which is removed whatever happens; threads may pack the same file.
            partial = self.blobs.root / f"{path.name}-{threading.get_ident()}.part"
            with partial.open("wb") as target:
                target.writelines([seal, *content])
            partial.replace(path)
        if not compressed:
            return self._raw(file)
        return Payload(path, len(seal) + len(head), stored, compressed=True, chunks=chunks)

    def _raw(self, file: File) -> Payload:
        return Payload(self.blobs.path(file.sha256), 0, file.size, compressed=False)


@dataclass(frozen=True, slots=True)
class _Head:
    compressed: bool
    stored: int
    chunks: tuple[tuple[int, int], ...]


def _read_head(line: bytes, key: str, size: int, rest: int) -> _Head:
    """Read the line of JSON of an entry with ``rest`` bytes behind it, for a content of ``size`` bytes.

    Raises ValueError or KeyError if it is not what :meth:`Packer._keep` writes.
    """
    values = json.loads(line)
    if not isinstance(values, dict) or values["key"] != key:
        raise ValueError("it is not of this key")
    compressed, stored, pairs = values["compressed"], values["stored"], values["chunks"]
    if type(compressed) is not bool or not _is_size(stored) or not isinstance(pairs, list):
        raise ValueError("its values are of other types")
    if not all(isinstance(pair, list) and len(pair) == 2 and all(map(_is_size, pair)) for pair in pairs):  # noqa: PLR2004
        raise ValueError("its chunks are no sizes")
    chunks = tuple((raw, packed) for raw, packed in pairs)
    if compressed != (stored < size) or rest != (stored if compressed else 0):
        raise ValueError("its size is another")
    raws = [min(CHUNK, size - start) for start in range(0, size, CHUNK)]
    if chunks and ([raw for raw, _ in chunks] != raws or sum(packed for _, packed in chunks) != stored):
        raise ValueError("its chunks do not add up")
    return _Head(compressed, stored, chunks)


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


def _chunks(size: int, parts: list[bytes]) -> tuple[tuple[int, int], ...]:
    return tuple((min(CHUNK, size - index * CHUNK), len(part)) for index, part in enumerate(parts))


def _file_entry(file: File, packed: Payload, path: str) -> Entry:
    return Entry(
        file.name,
        "file",
        file.size,
        executable=file.executable,
        sha256=file.sha256,
        compressed=packed.compressed,
        stored=packed.size,
        chunks=packed.chunks,
        path=path,
    )


def parts(source: Payload) -> Iterator[bytes]:
    """Yield the bytes of a payload."""
    with source.source.open("rb") as file:
        file.seek(source.offset)
        left = source.size
        while left and (block := file.read(min(left, 1 << 20))):
            left -= len(block)
            yield block
