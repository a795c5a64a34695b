"""An installation as the stages hand it on: names and facts here, contents in a blob store."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pyembed_gen.errors import ArchiveError

__all__ = ["Dropped", "Facts", "File", "Link", "Tree", "name_problem", "sort_key"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_LINKS = 40  # as Linux: more symlinks than this on one path are a loop


@dataclass(frozen=True, slots=True)
class File:
    """A regular file; its content is the blob of that sha256. ``native``: it begins like ELF, Mach-O or PE."""

    name: str
    size: int
    sha256: str
    executable: bool
    native: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link; ``target`` is as written, with ``/``."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file that is left out, and the rule that says so."""

    name: str
    size: int
    rule: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What an archive says of itself in PYTHON.json (or, lacking that, in patchlevel.h).

    ``test_packages`` are dotted names from python_stdlib_test_packages. Unknown facts are empty.
    """

    version: str = ""
    triple: str = ""
    test_packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tree:
    """Files and links of an installation, sorted by the bytes of their names, and what was left out."""

    entries: tuple[File | Link, ...]
    dropped: tuple[Dropped, ...] = ()
    facts: Facts = Facts()

    @cached_property
    def by_name(self) -> Mapping[str, File | Link]:
        """Entries by name."""
        return {entry.name: entry for entry in self.entries}

    @cached_property
    def directories(self) -> tuple[str, ...]:
        """All folders that the entries lie in, sorted by bytes, without the root."""
        return tuple(sorted(_parents(entry.name for entry in self.entries), key=sort_key))

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(self.directories)

    @cached_property
    def files(self) -> tuple[File, ...]:
        """Regular files alone."""
        return tuple(entry for entry in self.entries if isinstance(entry, File))

    @property
    def size(self) -> int:
        """Bytes of all regular files."""
        return sum(file.size for file in self.files)

    def resolve(self, name: str) -> str | None:
        """Follow all links of a path as a kernel would; None if nothing is there (or links go in circles).

        Returns the name of a file or a folder, empty for the root. Raises ArchiveError if a link leads out of the
        tree, even if it came back in.
        """
        return self._follow(name, set())

    def _follow(self, name: str, passed: set[str]) -> str | None:
        """Resolve a path; ``passed`` gets what the target of its first link names at each of its own steps."""
        done: list[str] = []
        todo = _steps(name)
        followed = 0
        left = 0  # steps of the first link's target
        while todo:
            part = todo.pop()
            own = len(todo) < left
            left = min(left, len(todo))
            if part in (".", ".."):
                if part == ".." and not done:
                    raise ArchiveError(f"the link {name!r} leads out of the installation")
                del done[len(done) - (part == "..") :]
                continue
            path = "/".join([*done, part])
            if own:
                passed.add(path)
            entry = self.by_name.get(path)
            if isinstance(entry, File):
                return None if todo else path
            if isinstance(entry, Link):
                followed += 1
                if followed > _MAX_LINKS:
                    return None
                if entry.target.startswith("/"):
                    raise ArchiveError(f"the link {name!r} leads out of the installation")
                todo.extend(_steps(entry.target))
                left = len(todo) if followed == 1 else left
            elif path in self._folders:
                done.append(part)
            else:
                return None
        return "/".join(done)

    def without(self, rules: Mapping[str, str]) -> "Tree":
        """Return the tree without the named entries, each dropped by the rule it is mapped to."""
        if not rules:
            return self
        gone = tuple(
            Dropped(entry.name, entry.size if isinstance(entry, File) else 0, rules[entry.name])
            for entry in self.entries
            if entry.name in rules
        )
        return Tree(
            entries=tuple(entry for entry in self.entries if entry.name not in rules),
            dropped=tuple(sorted((*self.dropped, *gone), key=lambda item: sort_key(item.name))),
            facts=self.facts,
        )

    def checked(self) -> "Tree":
        """Return the tree without dangling links; ArchiveError if names or links contradict each other."""
        for folder in self.directories:
            if folder in self.by_name:
                below = next(entry.name for entry in self.entries if entry.name.startswith(f"{folder}/"))
                raise ArchiveError(f"{below!r} lies below {folder!r}, which is not a folder")
        return self.without(dict.fromkeys(self._dangling(), "dangling-link"))

    def _dangling(self) -> set[str]:
        """Return the links that lead nowhere, also once the others of them and folders of nothing else are gone.

        Each link is followed once. What it depends on are the links and folders that its own target names: links
        further on depend on theirs.
        """
        needed_by: dict[str, list[str]] = {}
        gone: list[str] = []
        for entry in self.entries:
            if isinstance(entry, Link):
                passed: set[str] = set()
                if self._follow(entry.name, passed) is None:
                    gone.append(entry.name)
                else:
                    for path in passed:
                        needed_by.setdefault(path, []).append(entry.name)
        held = Counter(map(posixpath.dirname, [*self.by_name, *self.directories]))
        dangling = set(gone)
        while gone:
            name = gone.pop()
            folder = posixpath.dirname(name)
            held[folder] -= 1
            if folder and not held[folder]:
                gone.append(folder)
            new = [link for link in needed_by.get(name, ()) if link not in dangling]
            dangling.update(new)
            gone.extend(new)
        return dangling

    def dropped_by_rule(self) -> Mapping[str, tuple[int, int]]:
        """Return for each rule how many files and bytes it dropped."""
        files: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for item in self.dropped:
            files[item.rule] += 1
            sizes[item.rule] += item.size
        return {rule: (files[rule], sizes[rule]) for rule in sorted(files)}


def sort_key(name: str) -> bytes:
    """Order names by the bytes of their UTF-8 form, as the bundle format does."""
    return name.encode("utf-8", "surrogateescape")


def name_problem(name: str) -> str:
    """Return why a bundle cannot hold a name, or an empty text.

    A manifest line ends at a newline and is UTF-8, so control bytes and undecodable names have no place.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "is not UTF-8"
    if _CONTROL.search(name):
        return "has a control character"
    return ""


def _steps(path: str) -> list[str]:
    """Return the elements of a path, the last first; a slash at its end asks for a folder, as ``.`` does."""
    return [part or "." for part in reversed(path.split("/"))]


def _parents(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        parent = posixpath.dirname(name)
        while parent and parent not in found:
            found.add(parent)
            parent = posixpath.dirname(parent)
    return found
