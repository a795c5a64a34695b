"""Takes what a source yields into a tree and a blob store; what pruning drops is never stored."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pyembed_gen import pbs
from pyembed_gen.blobs import Blobs, Readable
from pyembed_gen.errors import ArchiveError
from pyembed_gen.members import Member, Source
from pyembed_gen.prune import Pruner
from pyembed_gen.tree import Dropped, Facts, File, Link, Tree, name_problem, sort_key

__all__ = ["survey", "unpack"]

LICENSES = "licenses"
_MAX_PATCHLEVEL = 1 << 16


def survey(source: Source) -> Facts:
    """Read a source up to its PYTHON.json (real archives begin with it) and return what it says.

    Without PYTHON.json the version comes from patchlevel.h. What is not found is empty.
    """
    found = Facts()
    members = source.members()
    try:
        for member in members:
            if member.kind != "file" or member.content is None:
                continue
            if member.name == pbs.FACTS:
                return _read_facts(member)[0]
            if pbs.is_patchlevel(member.name):
                found = Facts(version=_read_patchlevel(member.content))
    finally:
        _close(members)
    return found


def unpack(source: Source, pruner: Pruner, blobs: Blobs) -> Tree:
    """Store what is kept of a source and return it as a tree, whatever the order of its members.

    Licence texts are kept below ``licenses/``. Raises ArchiveError for names, links and contents that no
    honest tree has.
    """
    reading = _Reading(pruner, blobs)
    members = source.members()
    try:
        for member in members:
            reading.take(member)
    finally:
        _close(members)
    missing = reading.missing()
    if missing:
        # A kept hard link whose other name was dropped, or came in another order: read for those alone.
        again = source.members()
        try:
            for member in again:
                reading.take_missing(member, missing)
        finally:
            _close(again)
    return reading.tree()


@dataclass(slots=True)
class _Reading:
    pruner: Pruner
    blobs: Blobs
    facts: Facts = field(default_factory=Facts)
    files: dict[str, File] = field(default_factory=dict)  # by name in the source
    links: dict[str, Link] = field(default_factory=dict)
    hard: dict[str, tuple[str, str]] = field(default_factory=dict)  # name in the source: (name, target)
    places: dict[str, str] = field(default_factory=dict)  # name in the tree: name in the source
    dropped: list[Dropped] = field(default_factory=list)
    licenses: bytes = b""

    def take(self, member: Member) -> None:
        part, name = pbs.area(member.name)
        if part == "facts" and member.kind == "file":
            self.facts, self.licenses = _read_facts(member)
            self.pruner = self.pruner.with_test_packages(self.facts.test_packages)
        elif part == "install":
            self._take_installed(member, name)
        elif part == "licenses" and member.kind == "file":
            self._keep(member, f"{LICENSES}/{name}")

    def _take_installed(self, member: Member, name: str) -> None:
        if pbs.is_patchlevel(member.name) and member.content is not None and not self.facts.version:
            self.facts = Facts(version=_read_patchlevel(member.content))
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
            self.hard[member.name] = (name, member.target)
        elif member.content is not None:
            self.files[member.name] = self._store(member.content, name, executable=member.executable)

    def _store(self, content: Readable, name: str, *, executable: bool) -> File:
        blob = self.blobs.put(content)
        return File(name, blob.size, blob.sha256, executable, blob.native)

    def missing(self) -> frozenset[str]:
        """Names in the source that kept hard links mean, but which were not kept themselves."""
        return frozenset(self._origin(target) for _, target in self.hard.values()) - self.files.keys()

    def take_missing(self, member: Member, missing: frozenset[str]) -> None:
        if member.name in missing and member.kind == "hard":
            raise ArchiveError(f"the hard link {member.name} leads to another that was left out")
        if member.name in missing and member.content is not None:
            self.files[member.name] = self._store(member.content, "", executable=member.executable)

    def _origin(self, target: str) -> str:
        for _ in range(len(self.hard) + 1):
            if target not in self.hard:
                return target
            target = self.hard[target][1]
        raise ArchiveError(f"the hard link {target} leads to itself")

    def tree(self) -> Tree:
        entries: dict[str, File | Link] = {link.name: link for link in self.links.values()}
        entries |= {file.name: file for file in self.files.values() if file.name}
        for name, target in self.hard.values():
            origin = self._origin(target)
            file = self.files.get(origin)
            if file is None:
                raise ArchiveError(f"the hard link {name} leads to {origin}, which is not there")
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
        return tree.without(self._late_rules(tree)).checked()

    def _late_rules(self, tree: Tree) -> Mapping[str, str]:
        """Rules of PYTHON.json for what was read before it."""
        return {
            entry.name: rule
            for entry in tree.entries
            if not entry.name.startswith(f"{LICENSES}/") and (rule := self.pruner.rule(entry.name))
        }


def _read_facts(member: Member) -> tuple[Facts, bytes]:
    if member.size > pbs.MAX_FACTS or member.content is None:
        raise ArchiveError(f"its PYTHON.json has {member.size} bytes")
    return pbs.facts(_read_all(member.content, pbs.MAX_FACTS))


def _read_patchlevel(content: Readable) -> str:
    return pbs.version_in_patchlevel(_read_all(content, _MAX_PATCHLEVEL))


def _read_all(content: Readable, limit: int) -> bytes:
    parts: list[bytes] = []
    while limit > 0 and (part := content.read(limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _close(members: Iterator[Member]) -> None:
    close = getattr(members, "close", None)
    if close is not None:
        close()
