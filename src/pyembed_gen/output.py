"""What a run writes: results, and bundles by their folder; the same for interpreters and for pip packages."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pyembed_gen import emit
from pyembed_gen.errors import PyembedError, UsageError
from pyembed_gen.manifest import FILE_NAME, Manifest
from pyembed_gen.matrix import Matrix
from pyembed_gen.pack import Packed
from pyembed_gen.plan import Job
from pyembed_gen.progress import Progress

__all__ = ["PIP", "Result", "check", "write"]


@dataclass(frozen=True, slots=True)
class Result:
    """One bundle on disk: ``seconds`` is how long it took, ``up_to_date`` that it was there already."""

    job: Job
    manifest: Manifest
    seconds: float
    up_to_date: bool

    @property
    def embedded(self) -> int:
        """Bytes that ``go:embed`` takes: payloads, manifest, and the two files for git."""
        return emit.embedded_size(self.manifest)


PIP = "pip"
"""What the origin of a bundle of packages has as its flavour."""


def check(jobs: Sequence[Job], missing: Collection[Job], matrix: Matrix, *, packages: bool = False) -> None:
    """Refuse, before anything is made, what could not be written. ``missing`` are the jobs that are not up to date.

    Nor do ``packages`` replace an interpreter, or the other way round: both kinds of bundles have the same folders.
    """
    for job in jobs:
        _check_kind(job, packages=packages)
    wanted = {job.out for job in missing}
    for out, group in _by_out(jobs):
        if out in wanted:
            emit.check_place(out)
        emit.check_siblings(out, group, matrix.platforms)


def _check_kind(job: Job, *, packages: bool) -> None:
    if not (job.directory / FILE_NAME).is_file():
        return
    try:
        there = emit.read_bundle(job.directory).origin.flavour == PIP
    except PyembedError:
        return
    if there != packages:
        found, wanted = ("packages", "an interpreter") if there else ("an interpreter", "packages")
        raise UsageError(f"{job.directory} holds {found}, not {wanted}", hint=f"choose another --out for {wanted}")


def write(jobs: Sequence[Job], packed: Mapping[Job, Packed], matrix: Matrix, progress: Progress) -> None:
    """Write what is new, and the stubs of all; each folder is changed as a whole or not at all."""
    for out, group in _by_out(jobs):
        fresh = {job.platform.key: packed[job] for job in group if job in packed}
        emit.emit(out, group, fresh, matrix.platforms, progress)


def _by_out(jobs: Sequence[Job]) -> Iterator[tuple[Path, list[Job]]]:
    for out, group in groupby(jobs, key=lambda job: job.out):
        yield out, list(group)
