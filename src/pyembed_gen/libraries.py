"""Which shared libraries of a tree nothing needs.

The search is a loader's, but generous: wherever a loader could find a library, it counts as needed.
Facts: ld.so(8), dyld(1), Microsoft "Dynamic-link library search order".
"""

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pyembed_gen.binary import Binary
from pyembed_gen.pe import library

_MAX_LINKS = 40  # as the kernel's limit before ELOOP
_ORIGINS = ("$ORIGIN", "${ORIGIN}")


def unneeded(
    binaries: Mapping[str, Binary],
    links: Mapping[str, str],
    *,
    candidates: Collection[str],
    entry_points: Collection[str],
) -> frozenset[str]:
    """Return the ``candidates`` that no entry point needs, directly or through other libraries.

    All names are POSIX paths relative to the tree's root; ``links`` maps each symbolic link to its target as
    written in it. A link is needed when a library is found or entered through it, and so is what it leads to.
    Names that the tree does not have are the system's business, links that lead nowhere or in circles lead to
    nothing. An entry point that is no binary needs nothing.
    """
    tree = _Tree(binaries, links, candidates, entry_points)
    waiting, reached = list(entry_points), set[str]()
    while waiting:
        for name in tree.follow(waiting.pop()):
            if name not in reached:
                reached.add(name)
                waiting.extend(tree.needs(name))
    return frozenset(candidates) - reached


@dataclass(frozen=True, slots=True)
class _Place:
    """Where names such as ``@loader_path`` lead to: the loading file's directory, and those of programs."""

    loader: str
    programs: tuple[str, ...]

    def expand(self, path: str) -> Iterator[str]:
        """Yield what a path with ``$ORIGIN``, ``@loader_path`` or ``@executable_path`` means in the tree."""
        if path.startswith("@executable_path"):
            yield from (posixpath.join(each, path[17:]) for each in self.programs)
        elif path.startswith("@loader_path"):
            yield posixpath.join(self.loader, path[13:])
        for origin in _ORIGINS:
            if path.startswith(origin):
                yield posixpath.join(self.loader, path[len(origin) :].lstrip("/"))


class _Tree:
    """The names of a tree and the ways in which loaders find them."""

    def __init__(
        self,
        binaries: Mapping[str, Binary],
        links: Mapping[str, str],
        candidates: Collection[str],
        entry_points: Collection[str],
    ) -> None:
        self._binaries = binaries
        self._links = links
        self._names = frozenset({*binaries, *links, *candidates})
        self._known = _by_known_name(self._names, binaries)
        programs = [self._real(name) for name in entry_points]
        programs = [name for name in programs if name in binaries and binaries[name].kind == "program"]
        self._programs = tuple(sorted({posixpath.dirname(name) for name in programs}))
        self._program_paths = tuple(path for name in programs for path in self._run_path(name))

    def follow(self, name: str) -> Iterator[str]:
        """Yield ``name`` and, through links in any of its elements, every name that it leads to."""
        name = _normal(name)
        for _ in range(_MAX_LINKS):
            yield name
            link = next((head for head in _heads(name) if head in self._links), None)
            if link is None:
                return
            yield link
            rest = posixpath.relpath(name, link)
            name = _normal(posixpath.join(posixpath.dirname(link), self._links[link], rest))

    def needs(self, name: str) -> Iterator[str]:
        """Yield every name of the tree at which a loader may find what binary ``name`` needs."""
        binary = self._binaries.get(name)
        for needed in binary.needed if binary else ():
            if binary and binary.format == "pe":
                yield from self._known.get(library(needed).casefold(), ())
            else:
                yield from self._found(name, needed)

    def _found(self, name: str, needed: str) -> list[str]:
        """Return where ``needed`` is: where the search finds it, else wherever something has its name."""
        place = self._place(name)
        paths = [path.rstrip("/") for path in (*self._run_path(name), *self._program_paths)]
        if needed.startswith("@rpath/"):
            tries = [posixpath.join(path, needed[7:]) for path in paths]
        elif "/" in needed:
            tries = list(place.expand(needed))
        else:
            tries = [posixpath.join(path, needed) for path in paths]
        found = [each for each in tries if self._real(each) in self._binaries]
        return found or self._known.get(posixpath.basename(needed), [])

    def _place(self, name: str) -> _Place:
        return _Place(posixpath.dirname(name), self._programs)

    def _run_path(self, name: str) -> list[str]:
        paths = self._binaries[name].runpath
        return [path for written in paths for path in self._place(name).expand(written)]

    def _real(self, name: str) -> str:
        return list(self.follow(name))[-1]


def _by_known_name(names: Collection[str], binaries: Mapping[str, Binary]) -> dict[str, list[str]]:
    """Return each file by the names that a loader knows it by: file name, soname, for Windows in any case."""
    known = defaultdict(list)
    for name in sorted(names):
        base = posixpath.basename(name)
        soname = binaries[name].soname if name in binaries else ""
        for each in {base, base.casefold(), soname} - {""}:
            known[each].append(name)
    return dict(known)


def _normal(name: str) -> str:
    """Return a path without ``.``, ``..`` and empty elements; what leads out of the tree stays outside."""
    return posixpath.normpath(name)


def _heads(name: str) -> Iterator[str]:
    """Yield ``a``, ``a/b`` and ``a/b/c`` of ``a/b/c``."""
    elements = name.split("/")
    yield from ("/".join(elements[: count + 1]) for count in range(len(elements)))
