"""What can't work is dropped, ELF files lose their symbols, and the interpreter is checked to be one."""

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from pyembed_gen import binary, libraries, strip
from pyembed_gen.binary import Binary, BinaryError
from pyembed_gen.blobs import Blobs
from pyembed_gen.errors import ArchiveError, UsageError
from pyembed_gen.plan import Job
from pyembed_gen.prune import anchored_globs
from pyembed_gen.tree import File, Link, Tree, sort_key

__all__ = ["transform"]

UNNEEDED = "unneeded-library"


def transform(tree: Tree, job: Job, blobs: Blobs) -> Tree:
    """Return the tree as it will be packed.

    Raises ArchiveError if the interpreter is missing or is not of the job's format and machine.
    """
    binaries = _binaries(tree, blobs)
    _check_interpreter(tree, job, binaries)
    tree = tree.without(_unneeded(tree, job, binaries)).checked()
    if not job.strip:
        return tree
    natives = [file for file in tree.files if file.native and binaries.get(file.name, _NONE).format == "elf"]
    stripped = {file.name: _stripped(file, blobs) for file in natives}
    return replace(tree, entries=tuple(stripped.get(entry.name, entry) for entry in tree.entries))


_NONE = Binary(format="pe", machines=(), kind="object")


def _binaries(tree: Tree, blobs: Blobs) -> Mapping[str, Binary]:
    found: dict[str, Binary] = {}
    for file in tree.files:
        if not file.native:
            continue
        try:
            with _content(file, blobs) as content:
                facts = binary.read(content)
        except BinaryError as error:
            raise ArchiveError(f"reading {file.name}: {error}", hint="the archive is damaged") from error
        if facts is not None:
            found[file.name] = facts
    return found


def _check_interpreter(tree: Tree, job: Job, binaries: Mapping[str, Binary]) -> None:
    path = job.platform.layout.interpreter
    real = tree.resolve(path)
    if real is None:
        rule = next((item.rule for item in tree.dropped if item.name == path), "")
        if rule:
            raise UsageError(f"the rule {rule!r} drops the interpreter, {path}", hint="mend [drop] in matrix.toml")
        raise ArchiveError(f"{path} is not there", hint="is it an archive of python-build-standalone?")
    facts = binaries.get(real)
    row = job.platform
    if facts is None or facts.format != row.format or row.machine not in facts.machines:
        found = f"{facts.format} for {' and '.join(facts.machines)}" if facts else "no program"
        raise ArchiveError(
            f"{real} is {found}, not {row.format} for {row.machine}",
            hint=f"is the archive one for {row.key}?",
        )


def _unneeded(tree: Tree, job: Job, binaries: Mapping[str, Binary]) -> Mapping[str, str]:
    candidates_glob = anchored_globs(job.platform.layout.libraries)
    roots_glob = anchored_globs(job.roots)
    candidates = {entry.name for entry in tree.entries if candidates_glob.match_file(entry.name)}
    roots = {name for name in candidates if roots_glob.match_file(name)}
    links = {entry.name: entry.target for entry in tree.entries if isinstance(entry, Link)}
    unneeded = libraries.unneeded(
        binaries,
        links,
        candidates=candidates & binaries.keys(),
        entry_points=(binaries.keys() - candidates) | (roots & (binaries.keys() | links.keys())),
    )
    return dict.fromkeys(sorted(unneeded, key=sort_key), UNNEEDED)


def _stripped(file: File, blobs: Blobs) -> File:
    with _content(file, blobs) as content:
        result = strip.strip(content)
    if result is None:
        return file
    blob = blobs.put_bytes(result)
    return replace(file, size=blob.size, sha256=blob.sha256)


@contextmanager
def _content(file: File, blobs: Blobs) -> Iterator[mmap.mmap]:
    with (
        blobs.path(file.sha256).open("rb") as raw,
        mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        yield mapped
