"""Takes what a source yields into a tree and a blob store; what pruning drops by its name is never stored."""

import io
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from pyembed_gen import pbs
from pyembed_gen.blobs import Blobs, Readable
from pyembed_gen.errors import ArchiveError
from pyembed_gen.members import Member, Source
from pyembed_gen.prune import Pruner
from pyembed_gen.tree import Dropped, Facts, File, Link, Tree, name_problem, sort_key

__all__ = ["survey", "unpack"]

LICENSES = "licenses"
_MAX_PATCHLEVEL = 1 << 16  # real ones have about 1 KB
MAX_SIZE = 4 << 30
"""Most bytes that all files of a tree may have together: an archive can name one content any number of times."""
_MAX_HARD_LINKS = 40  # that lead to each other; honest archives link to files alone


def survey(source: Source) -> Facts:
    """Read a source up to its PYTHON.json (real archives begin with it) and return what it says.

    Without PYTHON.json the version comes from patchlevel.h. What is not found is empty. Raises ArchiveError.
    """
    found = Facts()
    with _naming(source), _opened(source) as members:
        for member in members:
            if member.content is None:
                continue
            if member.name == pbs.FACTS:
                return _read_facts(member.content)[0]
            if pbs.is_patchlevel(member.name):
                found = Facts(version=pbs.version_in_patchlevel(_read_all(member.content, _MAX_PATCHLEVEL)))
    return found


def unpack(source: Source, pruner: Pruner, blobs: Blobs) -> Tree:
    """Store what is kept of a source and return it as a tree, whatever the order of its members.

    Licence texts are kept below ``licenses/``. Raises ArchiveError for names, links and contents that no
    honest tree has, and WriteError if the store does not take them.
    """
    reading = _Reading(pruner, blobs)
    with _naming(source):
        with _opened(source) as members:
            for member in members:
                reading.take(member)
        missing = reading.missing()
        if missing:
            # Kept hard links to files that were dropped: read once more, for those alone.
            with _opened(source) as members:
                for member in members:
                    reading.take_missing(member, missing)
        return reading.tree()


@contextmanager
def _naming(source: Source) -> Iterator[None]:
    """Let errors say what was being unpacked."""
    try:
        yield
    except ArchiveError as error:
        hint = error.hint or "take it from python-build-standalone again"
        raise ArchiveError(f"unpacking {source.label}: {error.args[0]}", hint=hint) from error


@contextmanager
def _opened(source: Source) -> Iterator[Iterator[Member]]:
    """Begin to read a source, and close it however that ends."""
    members = source.members()
    try:
        yield members
    finally:
        if isinstance(members, Generator):
            members.close()


@dataclass(slots=True)
class _Reading:
    pruner: Pruner
    blobs: Blobs
    facts: Facts = field(default_factory=Facts)
    files: dict[str, File] = field(default_factory=dict)  # by name in the source
    links: dict[str, Link] = field(default_factory=dict)
    hard: dict[str, str] = field(default_factory=dict)  # name in the tree: name in the source
    targets: dict[str, str] = field(default_factory=dict)  # of all hard links, by names in the source
    places: dict[str, str] = field(default_factory=dict)  # name in the tree: name in the source
    dropped: list[Dropped] = field(default_factory=list)
    licenses: bytes = b""
    late: bool = False  # PYTHON.json came after files that its rules may drop

    def take(self, member: Member) -> None:
        part, name = pbs.area(member.name)
        if member.kind == "hard":
            self.targets[member.name] = member.target
        if part == "facts" and member.content is not None:
            self.facts, self.licenses = _read_facts(member.content)
            self.pruner = self.pruner.with_test_packages(self.facts.test_packages)
            self.late = bool(self.places)
        elif part == "install":
            self._take_installed(member, name)
        elif part == "licenses":
            self._keep(member, f"{LICENSES}/{name}")

    def _take_installed(self, member: Member, name: str) -> None:
        if pbs.is_patchlevel(member.name) and member.content is not None and not self.facts.version:
            content = _read_all(member.content, _MAX_PATCHLEVEL)
            self.facts = Facts(version=pbs.version_in_patchlevel(content))
            member = replace(member, content=io.BytesIO(content))
        rule = self.pruner.rule(name)
        if rule is not None:
            self.dropped.append(Dropped(name, member.size, rule))
        else:
            self._keep(member, name)

    def _keep(self, member: Member, name: str) -> None:
        problem = name_problem(name) or name_problem(member.target)
        if problem:
            raise ArchiveError(f"the name {name!r} {problem}", hint="a bundle cannot hold it")
        if self.places.setdefault(name, member.name) != member.name:
            raise ArchiveError(f"it holds {name} twice")
        if member.kind == "link":
            self.links[member.name] = Link(name, member.target)
        elif member.kind == "hard":
            self.hard[name] = member.name
        elif member.content is not None:
            self.files[member.name] = self._store(member.content, name, executable=member.executable)

    def _store(self, content: Readable, name: str, *, executable: bool) -> File:
        blob = self.blobs.put(content)
        return File(name, blob.size, blob.sha256, executable, blob.native)

    def missing(self) -> frozenset[str]:
        """Names in the source that kept hard links lead to, but which were not kept themselves."""
        return frozenset(map(self._origin, self.hard.values())) - self.files.keys()

    def take_missing(self, member: Member, missing: frozenset[str]) -> None:
        if member.name in missing and member.content is not None:
            self.files[member.name] = self._store(member.content, "", executable=member.executable)

    def _origin(self, link: str) -> str:
        origin = link
        for _ in range(_MAX_HARD_LINKS):
            if origin not in self.targets:
                return origin
            origin = self.targets[origin]
        raise ArchiveError(f"the hard link {link!r} leads to itself, or through too many others")

    def tree(self) -> Tree:
        entries: dict[str, File | Link] = {link.name: link for link in self.links.values()}
        entries |= {file.name: file for file in self.files.values() if file.name}
        for name, link in self.hard.items():
            origin = self._origin(link)
            file = self.files.get(origin)
            if file is None:
                raise ArchiveError(f"the hard link {link!r} leads to {origin!r}, which is no file in it")
            entries[name] = File(name, file.size, file.sha256, file.executable, file.native)
        if self.licenses:
            blob = self.blobs.put_bytes(self.licenses)
            digest = f"{LICENSES}/licenses.json"
            entries.setdefault(digest, File(digest, blob.size, blob.sha256, executable=False))
        tree = Tree(
            entries=tuple(sorted(entries.values(), key=lambda entry: sort_key(entry.name))),
            dropped=tuple(sorted(self.dropped, key=lambda item: sort_key(item.name))),
            facts=self.facts,
        )
        kept = tree.without(self._late_rules(tree) if self.late else {})
        if kept.size > MAX_SIZE:
            raise ArchiveError(f"its files have more than {MAX_SIZE} bytes together")
        return kept.checked()

    def _late_rules(self, tree: Tree) -> Mapping[str, str]:
        """Rules of PYTHON.json for what was read before it."""
        return {
            entry.name: rule
            for entry in tree.entries
            if not entry.name.startswith(f"{LICENSES}/") and (rule := self.pruner.rule(entry.name))
        }


def _read_facts(content: Readable) -> tuple[Facts, bytes]:
    return pbs.facts(_read_all(content, pbs.MAX_FACTS))


def _read_all(content: Readable, limit: int) -> bytes:
    """Return a short content; ArchiveError if it has more than ``limit`` bytes."""
    parts: list[bytes] = []
    size = 0
    while part := content.read(limit + 1 - size):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ArchiveError(f"it describes itself in more than {limit} bytes")
    return b"".join(parts)
