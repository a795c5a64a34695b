"""Packs and emits trees that a test writes down as names and contents, without archives and the stages before."""

import io
import random
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pyembed_gen import matrix
from pyembed_gen.blobs import Blobs
from pyembed_gen.emit import emit
from pyembed_gen.manifest import Origin
from pyembed_gen.matrix import Platform
from pyembed_gen.pack import Packed, Packer
from pyembed_gen.plan import Codec, Job
from pyembed_gen.progress import Progress, Silent
from pyembed_gen.tree import File, Link, Tree, sort_key

LEVELS = {"gzip": 6, "zstd": 3, "none": 0}
NOISE = random.Random(7).randbytes(9 << 20)  # does not compress


@dataclass(frozen=True, slots=True)
class Program:
    """Content of a file that its owner may execute."""

    data: bytes


Files = Mapping[str, bytes | str | Program]
"""A tree by name: bytes are a file's content, text is a link's target."""


def origin(version: str = "3.14.9") -> Origin:
    """Return where a bundle of that version would come from."""
    return Origin(
        version, "20261021", "x86_64-unknown-linux-gnu", "pgo+lto-full", "a.tar.zst", "ab" * 32, portable=True
    )


def tree(files: Files, blobs: Blobs) -> Tree:
    """Store contents and return their tree."""
    return Tree(tuple(_entry(name, files[name], blobs) for name in sorted(files, key=sort_key)))


def _entry(name: str, value: bytes | str | Program, blobs: Blobs) -> File | Link:
    if isinstance(value, str):
        return Link(name, value)
    data = value.data if isinstance(value, Program) else value
    blob = blobs.put(io.BytesIO(data))
    return File(name, blob.size, blob.sha256, executable=isinstance(value, Program))


@dataclass
class Count:
    """A task that adds up what it is told."""

    amount: int = 0

    def advance(self, amount: int) -> None:
        """Add it."""
        self.amount += amount

    def done(self, note: str = "") -> None:
        """Do nothing."""


@dataclass
class Notes(Silent):
    """Progress that keeps what it is told."""

    notes: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        """Keep it."""
        self.notes.append(message)


@contextmanager
def packer(cache: Path, codec: str = "gzip", level: int | None = None) -> Iterator[Packer]:
    """Yield a packer of a run of its own whose packs lie below ``cache``."""
    temporary = cache / "temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix="run-", dir=temporary))
    with ThreadPoolExecutor(2) as executor:
        chosen = Codec(codec, LEVELS[codec] if level is None else level)
        yield Packer(Blobs(run), cache / "packs", chosen, executor)


def pack(cache: Path, files: Files, codec: str = "gzip", *, recipe: str = "00" * 32, version: str = "3.14.9") -> Packed:
    """Pack a tree."""
    with packer(cache, codec) as chosen:
        contents = tree(files, chosen.blobs)
        return chosen.finish(contents, chosen.start(contents, Count()), recipe=recipe, origin=origin(version))


@cache
def platforms() -> Mapping[str, Platform]:
    """Return the rows of the shipped matrix."""
    return matrix.load(None).platforms


def job(out: Path, key: str = "linux/amd64", version: str = "3.14.9", package: str = "data") -> Job:
    """Return the job that makes one bundle."""
    row = platforms()[key]
    rules = (matrix.Rule("tests", ("test_*.py",)),)
    return Job(
        platform=row,
        version=version,
        pbs="20261021",
        base="https://example.invalid",
        asset="a.tar.zst",
        out=out,
        package=package,
        codec=Codec("gzip", 6),
        strip=True,
        drop=rules,
        keep=row.layout.keep,
        roots=row.layout.roots,
    )


def put(
    out: Path,
    bundles: Mapping[str, Packed],
    version: str = "3.14.9",
    *,
    package: str = "data",
    progress: Progress | None = None,
) -> None:
    """Emit bundles, by platform."""
    jobs = [job(out, key, version, package) for key in sorted(bundles)]
    emit(out, jobs, bundles, platforms(), progress or Silent())


def snapshot(folder: Path) -> Mapping[str, tuple[int, int, bytes]]:
    """Return inode, mtime and content of everything in a folder, and of the folder itself."""
    return {path.as_posix(): _state(path) for path in (folder, *sorted(folder.rglob("*")))}


def _state(path: Path) -> tuple[int, int, bytes]:
    status = path.lstat()
    return status.st_ino, status.st_mtime_ns, path.read_bytes() if path.is_file() else b""
