"""A tree follows links as a kernel does, never leaves itself, and says what was left out."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyembed_gen.errors import ArchiveError
from pyembed_gen.tree import Dropped, File, Link, Tree, name_problem, sort_key

ZERO = "0" * 64


def tree_of(*files: str, links: dict[str, str] | None = None) -> Tree:
    """Return a tree of files of one byte, and links."""
    entries: list[File | Link] = [File(name, 1, ZERO, executable=False) for name in files]
    entries += [Link(name, target) for name, target in (links or {}).items()]
    return Tree(tuple(sorted(entries, key=lambda entry: sort_key(entry.name))))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bin/python3.14", "bin/python3.14"),
        ("bin/python", "bin/python3.14"),
        ("lib", "lib"),
        ("lib/../bin/python", "bin/python3.14"),
        ("./lib//a/", "lib/a"),
        ("current/b.py", "lib/a/b.py"),
        ("root", ""),
        ("root/root/bin/python", "bin/python3.14"),
        ("nothing", None),
        ("lib/nothing/b.py", None),
        ("dangling", None),
        ("self", None),
        ("bin/python/", None),
        ("bin/python3.14/.", None),
        ("bin/python3.14/..", None),
        ("bin/python3.14/x", None),
    ],
)
def test_resolve(name: str, expected: str | None) -> None:
    """A path leads to a file, a folder, or nothing; below a file there is nothing, not even ``..``."""
    tree = tree_of(
        "bin/python3.14",
        "lib/a/b.py",
        links={
            "bin/python": "python3",
            "bin/python3": "./python3.14",
            "current": "lib/a",
            "root": ".",
            "dangling": "lib/gone",
            "self": "self",
        },
    )
    assert tree.resolve(name) == expected


@pytest.mark.parametrize("target", ["../x", "..", "a/../../a/x", "/etc/passwd", "deep/../../.."])
def test_links_that_leave_the_tree(target: str) -> None:
    """A step above the root is an error that names the link, even if the next one comes back."""
    with pytest.raises(ArchiveError, match="the link 'leaving' leads out of the installation"):
        tree_of("a/x", "b/c/x", links={"leaving": target, "deep": "b/c"}).resolve("leaving")


def test_a_link_that_leaves_only_when_it_is_followed_physically() -> None:
    """``deep/../..`` is the root by its text, but deep is a link to the root itself, and its parent is outside."""
    tree = tree_of("a/b/x", links={"a/b/deep": "../..", "a/b/leaving": "deep/../a"})
    with pytest.raises(ArchiveError, match="leads out"):
        tree.resolve("a/b/leaving")


def test_a_link_that_leaves_only_by_its_text() -> None:
    """``up/../..`` is above the root by its text, but up leads deeper down."""
    tree = tree_of("a/b/c/x", links={"up": "a/b/c", "fine": "up/../../b"})
    assert tree.resolve("fine") == "a/b"


@pytest.mark.parametrize(("count", "found"), [(40, True), (41, False)])
def test_as_many_links_as_linux_follows(count: int, found: bool) -> None:
    """Forty links on one path are followed, and the next is taken for a loop."""
    links = {f"l{number}": f"l{number - 1}" for number in range(2, count + 1)} | {"l1": "file"}
    assert tree_of("file", links=links).resolve(f"l{count}") == ("file" if found else None)


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
STEPS = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=5)
TARGETS = STEPS.map("/".join).map(lambda path: path.lstrip("/"))


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="needs Linux, which says where a path has led")
@settings(max_examples=150, deadline=None)
@given(st.dictionaries(PATHS, st.one_of(st.none(), TARGETS), max_size=8), TARGETS)
def test_resolve_agrees_with_the_kernel(layout: dict[str, str | None], path: str) -> None:
    """What resolve says of any path, the file system says of the same tree on disk."""
    with tempfile.TemporaryDirectory() as folder:
        # Eight folders down, so that a path of five steps does not get above what is the test's own.
        root = Path(folder, "1/2/3/4/5/6/7/8/root")
        root.mkdir(parents=True)
        tree = on_disk(root, layout)
        try:
            expected = real_path(root, path)
            got = tree.resolve(path)
        except ArchiveError:
            assert leaves(root, path)
        else:
            assert got == expected


def on_disk(root: Path, layout: dict[str, str | None]) -> Tree:
    """Write files (None) and links as far as they fit beside each other, and return them as a tree."""
    files, links = [], {}
    for name, target in layout.items():
        place = root / name
        if os.path.lexists(place) or any(above.is_symlink() or above.is_file() for above in above_of(place, root)):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if target:
            place.symlink_to(target)
            links[name] = target
        else:
            place.write_bytes(b"x")
            files.append(name)
    return tree_of(*files, links=links)


def above_of(place: Path, root: Path) -> list[Path]:
    return [above for above in place.parents if root in above.parents]


def real_path(root: Path, path: str) -> str | None:
    """Return where the kernel arrives, relative to the root."""
    # Path would tidy the text up; the kernel gets it as it is.
    try:
        found = os.open(f"{root}/{path}", os.O_PATH)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    try:
        reached = Path(f"/proc/self/fd/{found}").readlink().relative_to(root.resolve()).as_posix()
    except ValueError:
        return None
    finally:
        os.close(found)
    return "" if reached == "." else reached


def leaves(root: Path, path: str) -> bool:
    """Whether the walk that the kernel makes is above the root at some step."""
    place, todo, followed = root.resolve(), path.split("/")[::-1], 0
    while todo and place.is_relative_to(root.resolve()):
        step = place / todo.pop()
        if step.is_symlink() and (followed := followed + 1) <= 40:
            todo += str(step.readlink()).split("/")[::-1]
        else:
            place = Path(os.path.normpath(step))
    return not place.is_relative_to(root.resolve())


def test_checked_drops_what_dangles_by_and_by() -> None:
    """A link into a folder that only another dangling link kept alive dangles too."""
    tree = tree_of("kept", links={"folder/gone": "nothing", "to-folder": "folder", "fine": "kept"}).checked()
    assert [entry.name for entry in tree.entries] == ["fine", "kept"]
    assert tree.dropped == (Dropped("folder/gone", 0, "dangling-link"), Dropped("to-folder", 0, "dangling-link"))


def test_checked_drops_circles() -> None:
    """Links that lead to each other lead nowhere."""
    tree = tree_of("kept", links={"a": "b", "b": "a", "c": "c/c"}).checked()
    assert [entry.name for entry in tree.entries] == ["kept"]


@pytest.mark.parametrize("links", [{"a": "b"}, None])
def test_something_below_what_is_no_folder(links: dict[str, str] | None) -> None:
    """A file below a file, or below a link, has no place on disk, and would be written through the link."""
    tree = tree_of("a/x/y", "b/z", *(() if links else ("a",)), links=links)
    with pytest.raises(ArchiveError, match="'a/x/y' lies below 'a', which is not a folder"):
        tree.checked()


def test_without_says_what_was_dropped_and_why() -> None:
    """What is left out keeps its size and rule, in the order of names, and facts stay."""
    tree = tree_of("a", "c", links={"b": "a"}).without({"c": "late"}).without({"a": "first", "b": "first"})
    assert tree.entries == ()
    assert tree.dropped == (Dropped("a", 1, "first"), Dropped("b", 0, "first"), Dropped("c", 1, "late"))
    assert tree.dropped_by_rule() == {"first": (2, 1), "late": (1, 1)}
    assert tree.without({}) is tree


def test_folders_are_those_that_something_lies_in() -> None:
    """Folders follow from names, sorted by bytes, and sizes are those of files alone."""
    tree = tree_of("b/x/y", "é/z", "a.b/c", links={"a/l": "../b"})
    assert tree.directories == ("a", "a.b", "b", "b/x", "é")
    assert tree.size == 3


def test_names_are_sorted_by_their_bytes() -> None:
    """UTF-8 orders as code points do, which is not how UTF-16 orders."""
    names = ["\U0001f40d", "\uff5e", "a/b", "a-b", "\udcff"]
    assert sorted(names, key=sort_key) == ["a-b", "a/b", "\uff5e", "\U0001f40d", "\udcff"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("lib/für/日本\U0001f40d", ""),
        ("a\u0080b", ""),
        ("a\nb", "has a control character"),
        ("a\x1bb", "has a control character"),
        ("a\x7fb", "has a control character"),
        ("a\udcffb", "is not UTF-8"),
    ],
)
def test_names_that_a_bundle_cannot_hold(name: str, problem: str) -> None:
    """Unicode is fine; control characters and undecodable bytes are not."""
    assert name_problem(name) == problem


def in_rounds(tree: Tree) -> Tree:
    """Drop dangling links until there are none, each time looking at all."""
    while gone := {e.name for e in tree.entries if isinstance(e, Link) and tree.resolve(e.name) is None}:
        tree = tree.without(dict.fromkeys(gone, "dangling-link"))
    return tree


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(PATHS, st.one_of(st.none(), TARGETS, TARGETS), max_size=9))
def test_checked_drops_what_rounds_would(layout: dict[str, str | None]) -> None:
    """Following each link once finds what looking at all of them again and again finds."""
    below = {name for name in layout if any(name.startswith(f"{other}/") for other in layout)}
    kept = {name: target for name, target in layout.items() if name not in below}
    links = {name: target for name, target in kept.items() if target is not None}
    tree = tree_of(*(name for name in kept if name not in links), links=links)
    try:
        expected = in_rounds(tree)
    except ArchiveError:
        with pytest.raises(ArchiveError, match="leads out"):
            tree.checked()
    else:
        assert tree.checked() == expected


def test_checked_follows_a_link_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of folders, each kept by a link to the next one, takes as many steps as it has links."""
    links = {f"d{number}/l": f"../d{number + 1}" for number in range(300)}
    followed: list[str] = []
    real = Tree._follow

    def follow(tree: Tree, name: str, passed: set[str]) -> str | None:
        followed.append(name)
        return real(tree, name, passed)

    monkeypatch.setattr(Tree, "_follow", follow)
    assert tree_of("kept", links=links).checked().entries == tree_of("kept").entries
    assert len(followed) == len(links)
