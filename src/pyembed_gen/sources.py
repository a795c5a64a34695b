"""What --source names when it is not the PBS release: this machine's interpreter, a folder, or an archive."""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pyembed_gen import archive, binary, directory, host
from pyembed_gen import matrix as matrix_
from pyembed_gen.binary import Binary, BinaryError
from pyembed_gen.errors import ArchiveError, UsageError
from pyembed_gen.matrix import Matrix, Platform
from pyembed_gen.members import Member, Source
from pyembed_gen.progress import Progress, Task
from pyembed_gen.tree import Facts
from pyembed_gen.unpack import survey

__all__ = ["Local", "from_archive", "local"]

_ASSET = re.compile(r"cpython-(?P<version>3\.[0-9a-z.]+)\+(?P<pbs>\d{8}(?:T\d{4})?)-(?P<rest>.+)")


@dataclass(frozen=True, slots=True)
class Local:
    """An installation on disk: how it is read, what it is called in ``origin``, and what it holds."""

    source: Source
    flavour: str
    pbs: str
    platform: Platform
    version: str


def from_archive(path: Path, asset: str, sha256: str, progress: Progress, *, label: str = "") -> Source:
    """Return a fetched archive as a source; ``label`` is what its progress is shown under."""
    unpacking = f"unpacking {label or asset}"
    return Source(_archive_members(path, unpacking, progress), label=asset, archive=asset, sha256=sha256)


def local(name: str, matrix: Matrix, *, platform: str, version: str, progress: Progress) -> Local:
    """Return what ``host`` or a path means.

    ``platform`` and ``version`` are what was asked for; they settle what the installation does not say and
    must agree with what it says. Raises UsageError where they do not, or where something stays unknown.
    """
    if name == "host":
        found = _host(matrix)
    else:
        path = Path(name)
        if path.is_dir():
            found = _directory(path, matrix)
        elif path.is_file():
            found = _archive(path, matrix, platform, progress)
        else:
            raise UsageError(
                f"--source {name}: there is no such file or folder",
                hint="use pbs, host, an archive or a folder",
            )
    return _agreed(found, name, platform, version)


def _host(matrix: Matrix) -> Local:
    path = host.interpreter()
    row = _row_of_binary(path, matrix, "t" if host.is_free_threaded() else "")
    return Local(host.source(row.triple), "host", "", row, host.version())


def _directory(path: Path, matrix: Matrix) -> Local:
    folder = directory.pbs_prefix(path)

    def members() -> Iterator[Member]:
        return directory.members(folder)

    source = Source(members, label=str(path))
    facts = survey(source)
    row = _row_of_triple(facts.triple, matrix) or _row_of_folder(path, matrix)
    return Local(source, "directory", "", row, facts.version)


def _archive(path: Path, matrix: Matrix, platform: str, progress: Progress) -> Local:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    source = from_archive(path, path.name, sha256, progress)
    name = _ASSET.fullmatch(path.name)
    row = _row_of_asset(path.name, matrix)
    facts = Facts(version=name["version"]) if row and name else survey(source)
    row = row or _row_of_triple(facts.triple, matrix)
    if row is None and platform:
        row = matrix.platform(platform)
    if row is None:
        raise UsageError(
            f"--source {path}: its name and contents do not tell its platform",
            hint="add --only-platforms GOOS/GOARCH",
        )
    flavour = path.name.split(f"{row.triple}-")[-1].split(".tar")[0]
    return Local(source, flavour, name["pbs"] if name else "", row, facts.version)


def _agreed(found: Local, name: str, platform: str, version: str) -> Local:
    if platform and platform != found.platform.key:
        raise UsageError(
            f"--source {name} is for {found.platform.key}, and --only-platforms asks for {platform}",
            hint="leave --only-platforms out",
        )
    has = found.version or (version if matrix_.is_version(version) else "")
    if not has:
        raise UsageError(f"--source {name} does not tell its version", hint="add --python with it, as 3.14.9")
    if not matrix_.is_version(has):
        raise ArchiveError(f"--source {name} names no CPython version: {has!r}", hint="is it an archive of PBS?")
    if version and version not in (has, matrix_.line_of(has)):
        raise UsageError(f"--source {name} is Python {has}, and --python asks for {version}", hint="leave --python out")
    return Local(found.source, found.flavour, found.pbs, found.platform, has)


def _row_of_triple(triple: str, matrix: Matrix) -> Platform | None:
    rows = [row for row in matrix.platforms.values() if row.triple == triple and not row.tag]
    return rows[0] if rows else None


def _row_of_asset(asset: str, matrix: Matrix) -> Platform | None:
    for row in matrix.platforms.values():
        if asset.endswith((f"-{row.triple}-{row.full}", f"-{row.triple}-{row.stripped}")):
            return row
    return None


def _row_of_folder(path: Path, matrix: Matrix) -> Platform:
    for root in (path, path / "install", path / "python", path / "python" / "install"):
        for layout in {row.layout.interpreter for row in matrix.platforms.values()}:
            if (root / layout).is_file():
                return _row_of_binary(root / layout, matrix, "")
    raise ArchiveError(f"{path} holds no interpreter", hint="name a folder with bin/python3 or python.exe")


def _row_of_binary(path: Path, matrix: Matrix, abi: str) -> Platform:
    facts = _read(path)
    for row in matrix.platforms.values():
        if facts and row.format == facts.format and row.machine in facts.machines and row.abi == abi:
            return row
    raise UsageError(f"{path} is for a platform that the matrix does not have", hint="add a row to matrix.toml")


def _read(path: Path) -> Binary | None:
    try:
        return binary.read(path.read_bytes())
    except (OSError, BinaryError) as error:
        raise ArchiveError(f"reading the interpreter {path}: {error}", hint="is it one?") from error


def _archive_members(path: Path, unpacking: str, progress: Progress) -> Callable[[], Iterator[Member]]:
    def members() -> Iterator[Member]:
        task: Task = progress.task(unpacking, path.stat().st_size)
        yield from archive.members(path, task)
        task.done()

    return members
