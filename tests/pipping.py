"""A pip, a local index and a target: what tests of resolving share."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from index import Index
from packing import platforms
from pyembed_gen.cache import Cache
from pyembed_gen.failure import ResolveError
from pyembed_gen.piprun import Pip
from pyembed_gen.progress import Task
from pyembed_gen.requirements import Requirements
from pyembed_gen.resolution import Resolution
from pyembed_gen.resolve import Options, resolve
from pyembed_gen.target import Target, choose
from pyembed_gen.wheels import Stored, fetch

ROWS = platforms()
LINUX = choose(ROWS["linux/amd64"], "3.14.9")
WINDOWS = choose(ROWS["windows/amd64"], "3.13.17")


@dataclass
class Log:
    """Progress that remembers."""

    labels: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    advanced: int = 0

    def task(self, label: str, total: int | None = None, *, unit: str = "bytes") -> Task:
        """Begin a task."""
        del total, unit
        self.labels.append(label)
        return self

    def note(self, message: str) -> None:
        """Remember a note."""
        self.notes.append(message)

    def advance(self, amount: int) -> None:
        """Count."""
        self.advanced += amount

    def done(self, note: str = "") -> None:
        """Remember the end."""
        self.ended.append(note)


@dataclass
class Bench:
    """What a test resolves with."""

    folder: Path
    index: Index
    pip: Pip
    log: Log = field(default_factory=Log)

    @property
    def cache(self) -> Cache:
        """The cache."""
        return Cache(self.folder / "cache")

    def requirements(self, *strings: str, **more: tuple[str, ...]) -> Requirements:
        """Return requirements whose paths are relative to the test's folder."""
        return Requirements(strings, folder=self.folder, **more)

    def write(self, name: str, text: str) -> str:
        """Write a file and return its name."""
        (self.folder / name).write_text(text)
        return name

    def resolve(
        self, what: Requirements | str, *targets: Target, options: Options | None = None
    ) -> tuple[Resolution, ...]:
        """Resolve, by default for Linux and from the index."""
        requirements = self.requirements(what) if isinstance(what, str) else what
        return resolve(
            requirements,
            targets or (LINUX,),
            pip=self.pip,
            folder=self.folder,
            progress=self.log,
            options=Options(index_url=self.index.simple) if options is None else options,
            jobs=2,
        )

    def names(self, what: Requirements | str, target: Target = LINUX, options: Options | None = None) -> list[str]:
        """Resolve for one target and return names with versions."""
        return [f"{item.name} {item.version}" for item in self.resolve(what, target, options=options)[0].items]

    def failure(self, what: Requirements | str, *targets: Target, options: Options | None = None) -> ResolveError:
        """Resolve what cannot be."""
        with pytest.raises(ResolveError) as caught:
            self.resolve(what, *targets, options=options)
        return caught.value

    def fetch(
        self,
        resolutions: Sequence[Resolution],
        what: Requirements | None = None,
        *,
        options: Options | None = None,
        offline: bool = False,
    ) -> tuple[tuple[Stored, ...], ...]:
        """Fetch wheels."""
        return fetch(
            resolutions,
            requirements=what or self.requirements(),
            pip=self.pip,
            cache=self.cache,
            workspace=self.folder,
            progress=self.log,
            options=Options(index_url=self.index.simple) if options is None else options,
            offline=offline,
            jobs=2,
        )

    def left(self) -> list[str]:
        """Return what lies in the folder for temporary files that is a folder."""
        return sorted(path.name for path in self.folder.glob("*-*/"))


@contextmanager
def pipping(folder: Path, monkeypatch: pytest.MonkeyPatch, index: Index | None = None) -> Iterator[Bench]:
    """Yield a bench on which no setting of the machine counts."""
    for name in [*os.environ]:
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    for name, value in (("CONFIG_FILE", os.devnull), ("CACHE_DIR", str(folder / "pip")), ("RETRIES", "0")):
        monkeypatch.setenv(f"PIP_{name}", value)
    with index or Index() as running, Pip(folder) as pip:
        yield Bench(folder, running, pip)
