"""Writes bundles and their Go stubs into an output directory, or finds that they are there already."""

import json
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pyembed_gen import commit, pack, stubs
from pyembed_gen.commit import Step
from pyembed_gen.errors import ArchiveError, UsageError, WriteError
from pyembed_gen.manifest import FILE_NAME, Manifest
from pyembed_gen.matrix import Platform
from pyembed_gen.pack import Packed
from pyembed_gen.plan import Job
from pyembed_gen.progress import Progress
from pyembed_gen.writing import writing

__all__ = ["OWN_FILES", "check_place", "check_siblings", "embedded_size", "emit", "read_bundle", "up_to_date"]

OWN_FILES = {".gitattributes": stubs.GITATTRIBUTES, ".gitignore": stubs.GITIGNORE}


def read_bundle(directory: Path) -> Manifest:
    """Read the manifest of a bundle on disk; ArchiveError if there is none or it is damaged."""
    path = directory / FILE_NAME
    try:
        return Manifest.from_json(_regular(path).read_bytes())
    except OSError as error:
        raise ArchiveError(f"reading {path}: {error.strerror}", hint="is it the folder of a bundle?") from error
    except ArchiveError as error:
        raise ArchiveError(f"{directory}: {error.args[0]}", hint=error.hint) from error


def _regular(path: Path) -> Path:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ArchiveError(f"{path.name} is no regular file, which Go refuses to embed")
    return path


def up_to_date(directory: Path, recipe: str) -> Manifest | None:
    """Return the manifest of a bundle that has this recipe and all its payloads, and nothing else."""
    try:
        manifest = read_bundle(directory)
        found = dict(_sizes(directory, ""))
    except (ArchiveError, OSError):
        return None
    wanted = {entry.payload(manifest.codec): entry.stored for entry in manifest.files}
    wanted |= {name: len(content) for name, content in OWN_FILES.items()}
    found.pop(FILE_NAME)
    return manifest if manifest.recipe == recipe and found == wanted else None


def embedded_size(manifest: Manifest) -> int:
    """Return how many bytes a bundle has on disk, all of which ``go:embed`` takes."""
    return manifest.stored + len(manifest.to_json()) + sum(map(len, OWN_FILES.values()))


def check_siblings(
    out: Path, jobs: Sequence[Job], platforms: Mapping[str, Platform], written: Collection[str] | None = None
) -> None:
    """Refuse to put another Python version beside bundles that would stay, or to replace what is not ours.

    UsageError names it. ``written`` are the platforms whose bundles will be replaced, by default those of all
    jobs. A stub of a platform that the matrix does not know is refused too: no constraint could be kept apart
    from its own.
    """
    replaced = {job.platform.key for job in jobs} if written is None else written
    beside = {row.key: row for row in (*_present(out, platforms), *(job.platform for job in jobs))}
    _check_foreign(out, [platforms[key] for key in sorted(replaced)], beside.values())
    versions = {job.version for job in jobs}
    known = {stubs.OTHER, *(row.stub for row in platforms.values())}
    for path in sorted(out.glob("embed_*.go")):
        if path.name not in known and _is_stub(path):
            raise UsageError(
                f"{path} is the stub of a platform that is not in the matrix",
                hint="remove it and its bundle, name the matrix with --config, or choose another --out",
            )
    for row in _present(out, platforms):
        if row.key in replaced:
            continue
        try:
            version = read_bundle(out / row.directory).origin.python
        except ArchiveError as error:
            raise UsageError(
                f"{out / row.directory} holds a bundle that cannot be read",
                hint="remove it, or choose another --out",
            ) from error
        if version not in versions:
            raise UsageError(
                f"{out} holds Python {version} for {row.key}, and Python {min(versions)} was asked for",
                hint="build all its platforms in one run, remove it, or choose another --out",
            )


def _check_foreign(out: Path, rows: Iterable[Platform], beside: Iterable[Platform]) -> None:
    """Refuse to replace what the generator did not make: folders that are no bundles, files that are no stubs.

    ``rows`` are the platforms whose bundles will be replaced, ``beside`` those whose stubs may be. Bundles and
    stubs of go-embed-python are replaced too. A bundle is replaced as a whole, with whatever was put into it.
    """
    for folder in (out / row.directory for row in rows):
        if os.path.lexists(folder) and not _is_bundle(folder):
            raise _foreign(folder, "bundle")
    header = re.escape(stubs.HEADER.encode())
    theirs = {row.stub: rb"(?m)^//go:embed all:%s\s*$" % re.escape(row.directory.encode()) for row in beside}
    for name in (*theirs, stubs.OTHER):
        if not _may_replace(out / name, rb"\A%s" % header, theirs.get(name)):
            raise _foreign(out / name, "stub")
    if not _may_replace(out / stubs.VERSION_FILE, rb"\APYTHON_VERSION="):
        raise _foreign(out / stubs.VERSION_FILE, "version of bundles")


def _foreign(path: Path, what: str) -> UsageError:
    return UsageError(f"{path} is there and is no {what}", hint="move it, or choose another --out")


def _is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle, of any version and in any state, or empty."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    text = commit.content(folder / FILE_NAME)
    try:
        values = json.loads(text) if text is not None else None
        if text is None and not any(folder.iterdir()):
            return True
    except (OSError, ValueError, RecursionError):
        return False
    return (
        isinstance(values, dict)
        and isinstance(values.get("contentHash"), str)
        and isinstance(values.get("files"), list)
    )


def _may_replace(path: Path, *patterns: bytes | None) -> bool:
    if not os.path.lexists(path):
        return True
    text = commit.content(path)
    return text is not None and any(re.search(pattern, text) for pattern in patterns if pattern)


def check_place(out: Path) -> None:
    """Refuse an output that cannot be written, before anything is made for it; WriteError says why."""
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise WriteError(f"writing below {out}: {nearest} is not a folder", hint="choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise WriteError(f"writing below {out}: you may not write in {nearest}", hint="choose another --out")


def emit(
    out: Path,
    jobs: Sequence[Job],
    packed: Mapping[str, Packed],
    platforms: Mapping[str, Platform],
    progress: Progress,
) -> None:
    """Write bundles of one Python version with stubs and PYTHON_VERSION, all or nothing.

    ``packed`` holds by platform what is new; the bundles of the other jobs are there already. Bundles of
    other platforms stay, and so do files that the generator did not make; what is right already is not
    touched. Raises WriteError if something cannot be written and UsageError as :func:`check_siblings` does.
    """
    with commit.locked(out, lambda: progress.note(f"waiting for another run that writes to {out}")):
        check_siblings(out, jobs, platforms, packed)
        changed, stale = _stub_changes(out, jobs, platforms)
        if not (packed or changed or stale):
            return
        with commit.staging(out) as folder:
            steps: list[Step] = []
            with writing(out):
                for key in sorted(packed):
                    path = folder / platforms[key].directory
                    _write_bundle(path, packed[key])
                    steps.append(Step.of(path))
                for name, content in changed.items():
                    (folder / name).write_bytes(content)
                    steps.append(Step.of(folder / name))
            commit.commit(out, folder, [*steps, *(Step(name, 0) for name in stale)])


def _write_bundle(path: Path, packed: Packed) -> None:
    path.mkdir()
    made = {path}
    for name, payload in packed.payloads.items():
        target = path / name
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        if payload.offset == 0:
            shutil.copyfile(payload.source, target)
        else:
            with target.open("wb") as file:
                file.writelines(pack.parts(payload))
    for name, content in OWN_FILES.items():
        (path / name).write_bytes(content)
    (path / FILE_NAME).write_bytes(packed.manifest.to_json())


def _stub_changes(
    out: Path, jobs: Sequence[Job], platforms: Mapping[str, Platform]
) -> tuple[Mapping[str, bytes], Sequence[str]]:
    """Return the files beside the bundles that must be written, and the stubs that must go."""
    job = jobs[0]
    here = {row.key: row for row in _present(out, platforms)} | {job.platform.key: job.platform for job in jobs}
    constraints = stubs.constraints(here[key] for key in sorted(here))
    files = {
        here[key].stub: stubs.platform_stub(here[key], constraint, job.package)
        for key, constraint in constraints.items()
    }
    files[stubs.OTHER] = stubs.other_stub(constraints.values(), job.package)
    files[stubs.VERSION_FILE] = stubs.python_version(job.version, job.pbs)
    changed = {name: content for name, content in files.items() if commit.content(out / name) != content}
    stale = [row.stub for row in platforms.values() if row.stub not in files and _is_stub(out / row.stub)]
    return changed, stale


def _present(out: Path, platforms: Mapping[str, Platform]) -> Iterator[Platform]:
    for key in sorted(platforms):
        if (out / platforms[key].directory / FILE_NAME).is_file():
            yield platforms[key]


def _is_stub(path: Path) -> bool:
    return (commit.content(path) or b"").startswith(stubs.HEADER.encode())


def _sizes(directory: Path, prefix: str) -> Iterator[tuple[str, int]]:
    for path in sorted((directory / prefix).iterdir()):
        name = f"{prefix}{path.name}"
        if path.is_dir() and not path.is_symlink():
            yield from _sizes(directory, f"{name}/")
        else:
            yield name, path.lstat().st_size
