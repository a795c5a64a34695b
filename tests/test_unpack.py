"""A source becomes a tree in one pass: what is kept is stored, what is dropped is not, whatever the order."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

import pbs
from pbs import Member
from pyembed_gen import archive
from pyembed_gen import members as members_
from pyembed_gen import unpack as unpack_module
from pyembed_gen.blobs import Blobs
from pyembed_gen.errors import ArchiveError, WriteError
from pyembed_gen.matrix import Rule
from pyembed_gen.members import Source
from pyembed_gen.progress import Silent
from pyembed_gen.prune import Pruner
from pyembed_gen.tree import Dropped, Facts, File, Link, Tree
from pyembed_gen.unpack import survey, unpack

LINUX = "x86_64-unknown-linux-gnu"
STDLIB = "lib/python3.14"
DROP = (
    Rule("bytecode", ("__pycache__/", "*.pyc")),
    Rule("static-library", ("*.a",)),
    Rule("tests", ("/{stdlib}/test/",)),
)
KEEP = ("bin/**", "lib/*.so*", "lib/python3.*/**")
FACTS = Member("python/PYTHON.json", json.dumps(pbs.python_json("3.14.9", LINUX)).encode())
OS = Member(f"python/install/{STDLIB}/os.py", b"import sys\n")
PATCHLEVEL = b'/* Version */\n#define PY_MAJOR_VERSION 3\n#define PY_VERSION      "3.14.9+"\n'


class Packed:
    """An archive on disk as a source that counts how often it is read."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "archive.tar.zst"
        self.blobs = Blobs(folder / "blobs")
        self.blobs.root.mkdir()
        self.passes = 0

    def source(self, *members: Member, order: Literal["normal", "shuffled"] = "normal") -> Source:
        """Write members and return them as a source."""
        pbs.write_archive(self.path, members, order=order)

        def read() -> Iterator[members_.Member]:
            self.passes += 1
            return archive.members(self.path, Silent().task(""))

        return Source(read, label="archive.tar.zst")

    def unpack(
        self, *members: Member, order: Literal["normal", "shuffled"] = "normal", keep: tuple[str, ...] = KEEP
    ) -> Tree:
        """Return the tree of these members."""
        pruner = Pruner.compile(DROP, keep, stdlib=STDLIB)
        return unpack(self.source(*members, order=order), pruner, self.blobs)

    def stored(self) -> set[bytes]:
        """Return all contents on disk."""
        return {path.read_bytes() for path in self.blobs.root.iterdir()}

    def content(self, tree: Tree, name: str) -> bytes:
        """Return the content of a file of a tree."""
        entry = tree.by_name[name]
        assert isinstance(entry, File)
        return self.blobs.path(entry.sha256).read_bytes()


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    return Packed(tmp_path)


def names(tree: Tree) -> list[str]:
    return [entry.name for entry in tree.entries]


def file(name: str, content: bytes, *, executable: bool = False) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest(), executable)


def test_what_is_kept_is_there_and_what_is_dropped_is_not_on_disk(packed: Packed) -> None:
    """The tree has the kept entries; every dropped file has its rule; nothing dropped or aside was stored."""
    tree = packed.unpack(
        FACTS,
        Member("python/build/object.o", b"object"),
        OS,
        Member("python/install/bin/python3.14", b"program", 0o755),
        Member("python/install/bin/python3", link="python3.14"),
        Member(f"python/install/{STDLIB}/__pycache__/os.pyc", b"bytecode"),
        Member(f"python/install/{STDLIB}/libx.a", b"static"),
        Member("python/install/share/man/python.1", b"manual"),
        Member("python/README", b"beside"),
        Member("elsewhere", b"outside"),
    )
    assert tree.entries[:3] == (
        Link("bin/python3", "python3.14"),
        file("bin/python3.14", b"program", executable=True),
        file(f"{STDLIB}/os.py", b"import sys\n"),
    )
    assert tree.dropped == (
        Dropped("README", 6, "not-kept"),
        Dropped(f"{STDLIB}/__pycache__/os.pyc", 8, "bytecode"),
        Dropped(f"{STDLIB}/libx.a", 6, "static-library"),
        Dropped("share/man/python.1", 6, "not-kept"),
    )
    assert packed.stored() == {b"program", b"import sys\n", packed.content(tree, "licenses/licenses.json")}
    assert packed.passes == 1


def test_the_order_of_members_does_not_matter(tmp_path: Path) -> None:
    """Shuffled, with PYTHON.json somewhere in the middle, the same archive gives the same tree."""
    members = [
        *pbs.tiny_members("3.14.9", LINUX),
        Member(f"python/install/{STDLIB}/unittest/test/x.py", b"late"),
        Member(f"python/install/{STDLIB}/hard.py", hard=f"python/install/{STDLIB}/os.py"),
    ]
    trees = []
    for number, listed in enumerate((members, members[::-1], [*members[1:], members[0]])):
        folder = tmp_path / str(number)
        folder.mkdir()
        trees.append(Packed(folder).unpack(*listed))
    (tmp_path / "shuffled").mkdir()
    trees.append(Packed(tmp_path / "shuffled").unpack(*members, order="shuffled"))
    assert {dropped.name: dropped.rule for dropped in trees[0].dropped}[f"{STDLIB}/unittest/test/x.py"] == "tests"
    assert trees.count(trees[0]) == 4


def test_packages_that_python_json_calls_tests(packed: Packed) -> None:
    """They go by the rule ``tests``, modules and packages alike, and nothing else goes."""
    facts = pbs.python_json("3.14.9", LINUX) | {"python_stdlib_test_packages": ["ctypes.test", "xx.check"]}
    tree = packed.unpack(
        Member("python/PYTHON.json", json.dumps(facts).encode()),
        OS,
        Member(f"python/install/{STDLIB}/ctypes/test/deep/x.py", b"1"),
        Member(f"python/install/{STDLIB}/ctypes/test.py", b"2"),
        Member(f"python/install/{STDLIB}/ctypes/tests.py", b"3"),
        Member(f"python/install/{STDLIB}/xx/check.py", b"4"),
    )
    assert [name for name in names(tree) if name.startswith(STDLIB)] == [f"{STDLIB}/ctypes/tests.py", f"{STDLIB}/os.py"]
    assert {dropped.rule for dropped in tree.dropped} == {"tests"}
    assert tree.facts == Facts("3.14.9", LINUX, ("ctypes.test", "xx.check"))


HARD = [
    Member("python/install/bin/python3", hard="python/install/bin/python3.14"),
    Member("python/install/bin/python3.14", b"program", 0o755),
]


@pytest.mark.parametrize("members", [HARD, HARD[::-1]], ids=["before", "after"])
def test_hard_links(members: list[Member], packed: Packed) -> None:
    """A hard link is the file that it leads to, with its mode, before or after it in the archive."""
    tree = packed.unpack(*members)
    assert tree.entries == (
        file("bin/python3", b"program", executable=True),
        file("bin/python3.14", b"program", executable=True),
    )
    assert packed.passes == 1


def test_a_hard_link_to_what_pruning_drops(packed: Packed) -> None:
    """Its content is there although the other name is not, for one more pass over the archive."""
    tree = packed.unpack(
        OS,
        Member("python/install/share/one", b"shared", 0o755),
        Member("python/install/share/two", b"not shared"),
        Member("python/install/bin/one", hard="python/install/share/one"),
    )
    assert tree.entries == (file("bin/one", b"shared", executable=True), file(f"{STDLIB}/os.py", b"import sys\n"))
    assert [dropped.name for dropped in tree.dropped] == ["share/one", "share/two"]
    assert packed.stored() == {b"shared", b"import sys\n"}
    assert packed.passes == 2


def test_a_hard_link_to_a_hard_link_that_is_dropped(packed: Packed) -> None:
    """It leads on to the file, kept or not, in whatever order they come."""
    chain = [
        Member("python/install/bin/one", hard="python/install/share/two"),
        Member("python/install/share/two", hard="python/build/three"),
        Member("python/build/three", b"content"),
    ]
    assert packed.unpack(*chain) == packed.unpack(*chain[::-1])
    assert packed.unpack(*chain).entries == (file("bin/one", b"content"),)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"bin/a": "bin/a"}, "the hard link 'python/install/bin/a' leads to itself"),
        ({"bin/a": "bin/b", "bin/b": "bin/a"}, "leads to itself, or through too many others"),
        ({"bin/a": "bin/b"}, "the hard link 'python/install/bin/a' leads to 'python/install/bin/b', which is no file"),
        ({"bin/a": "bin/symlink"}, "leads to 'python/install/bin/symlink', which is no file"),
        ({"bin/a": "bin"}, "leads to 'python/install/bin', which is no file"),
        ({f"bin/{n}": f"bin/{n + 1}" for n in range(50)}, "leads to itself, or through too many others"),
    ],
)
def test_hard_links_to_no_file(targets: dict[str, str], message: str, packed: Packed) -> None:
    """Circles, and links to nothing, to a symlink or to a folder are errors."""
    links = [Member(f"python/install/{name}", hard=f"python/install/{target}") for name, target in targets.items()]
    symlink = Member("python/install/bin/symlink", link="x")
    with pytest.raises(ArchiveError, match=message):
        packed.unpack(Member("python/install/bin/x"), symlink, *links)


def test_licences(packed: Packed) -> None:
    """Licence texts, also those that are links, and what PYTHON.json says of licences, are kept apart."""
    tree = packed.unpack(
        FACTS,
        Member("python/licenses/LICENSE.a.txt", b"text"),
        Member("python/licenses/LICENSE.b.txt", hard="python/licenses/LICENSE.a.txt"),
        Member("python/licenses/LICENSE.c.txt", link="LICENSE.a.txt"),
    )
    assert tree.entries[:3] == (
        file("licenses/LICENSE.a.txt", b"text"),
        file("licenses/LICENSE.b.txt", b"text"),
        Link("licenses/LICENSE.c.txt", "LICENSE.a.txt"),
    )
    assert json.loads(packed.content(tree, "licenses/licenses.json"))["python"]["licenses"] == [
        "Python-2.0",
        "CNRI-Python",
    ]


def test_a_licence_digest_of_the_archive_itself_stays(packed: Packed) -> None:
    """If PBS should ever add such a file, ours does not take its place."""
    tree = packed.unpack(FACTS, Member("python/licenses/licenses.json", b"{}"))
    assert packed.content(tree, "licenses/licenses.json") == b"{}"


def test_licences_are_no_tests(packed: Packed) -> None:
    """Rules are for the installation: a PYTHON.json that comes late drops nothing of the licences."""
    members = [Member("python/licenses/test/x.txt", b"1"), Member(f"python/install/{STDLIB}/test/x.txt", b"2"), FACTS]
    assert names(packed.unpack(*members)) == ["licenses/licenses.json", "licenses/test/x.txt"]


def test_install_only(packed: Packed) -> None:
    """An archive without PYTHON.json is an installation itself; patchlevel.h tells its version."""
    tree = packed.unpack(
        *pbs.install_only([OS]),
        Member("python/include/python3.14/patchlevel.h", PATCHLEVEL),
        Member("python/bin/python3.14", b"program"),
    )
    assert names(tree) == ["bin/python3.14", f"{STDLIB}/os.py"]
    assert tree.facts == Facts(version="3.14.9")


def test_patchlevel_h_may_be_kept(packed: Packed) -> None:
    """A file that is read for its version is stored whole all the same."""
    name = "include/python3.14/patchlevel.h"
    tree = packed.unpack(Member(f"python/{name}", PATCHLEVEL), keep=("include/**",))
    assert packed.content(tree, name) == PATCHLEVEL


@pytest.mark.parametrize("late", [False, True])
def test_python_json_is_believed_before_patchlevel_h(late: bool, packed: Packed) -> None:
    """The version is that of PYTHON.json, whichever comes first."""
    header = Member("python/install/include/python3.14/patchlevel.h", PATCHLEVEL.replace(b"3.14.9", b"3.14.8"))
    tree = packed.unpack(*((header, FACTS) if late else (FACTS, header)))
    assert tree.facts.version == "3.14.9"


@pytest.mark.parametrize("name", ["python/PYTHON.json", "python/include/patchlevel.h"])
def test_facts_that_are_too_large(name: str, packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read into memory has a bound."""
    monkeypatch.setattr("pyembed_gen.pbs.MAX_FACTS", 1 << 16)
    with pytest.raises(ArchiveError, match="it describes itself in more than 65536 bytes"):
        packed.unpack(Member(name, b" " * ((1 << 16) + 1)))


@pytest.mark.parametrize("name", [b"\xff", b"new\nline", b"esc\x1b", b"del\x7f"])
@pytest.mark.parametrize("kept", [True, False])
def test_names_that_a_bundle_cannot_hold(name: bytes, kept: bool, packed: Packed) -> None:
    """They are errors if they would be kept, and do no harm if they are dropped anyway."""
    folder = "bin" if kept else "share"
    member = Member(f"python/install/{folder}/" + name.decode("utf-8", "surrogateescape"))
    if kept:
        with pytest.raises(ArchiveError, match=r"the name 'bin/.*(is not UTF-8|has a control character)"):
            packed.unpack(member)
    else:
        assert len(packed.unpack(member).dropped) == 1


def test_targets_that_a_bundle_cannot_hold(packed: Packed) -> None:
    """A link's target is text of the manifest, too."""
    with pytest.raises(ArchiveError, match="the name 'bin/x' has a control character"):
        packed.unpack(Member("python/install/bin/x", link="new\nline"))


def test_unicode_names(packed: Packed) -> None:
    """Names in any language come through, sorted by their bytes, and are not normalised."""
    wanted = ["bin/e\u0301", "bin/\xe9", "bin/日本", "bin/\U0001f40d"]
    assert names(packed.unpack(*(Member(f"python/install/{name}") for name in reversed(wanted)))) == wanted


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([Member("python/install/bin/x"), Member("python/install/bin/x/y")], "'bin/x/y' lies below 'bin/x'"),
        ([Member("python/install/bin/x/y"), Member("python/install/bin/x", link="z")], "'bin/x/y' lies below 'bin/x'"),
        (
            [Member("python/install/bin/x/y"), Member("python/install/bin/x", hard="python/install/bin/x/y")],
            "'bin/x/y' lies below 'bin/x'",
        ),
        ([Member("python/install/bin/x"), Member("python/bin/x")], "it holds bin/x twice"),
        ([Member("python/install/bin/x", link="../../build")], "'bin/x' leads out of the installation"),
        (
            [
                Member("python/install/bin/a/b/x"),
                Member("python/install/bin/d", link="a/.."),
                Member("python/install/bin/l", link="d/../../bin"),
            ],
            "'bin/l' leads out of the installation",
        ),
    ],
)
def test_what_has_no_place_on_disk(members: list[Member], message: str, packed: Packed) -> None:
    """Files below files or links, two files for one name, and links out of the installation are errors."""
    with pytest.raises(ArchiveError, match=message):
        packed.unpack(*members)


def test_links_to_what_was_dropped_are_dropped(packed: Packed) -> None:
    """A link dangles if what it leads to was pruned, and circles dangle anyway."""
    tree = packed.unpack(
        OS,
        Member("python/install/bin/gone", link="../share/x"),
        Member("python/install/share/x"),
        Member("python/install/bin/circle", link="circle"),
    )
    assert names(tree) == [f"{STDLIB}/os.py"]
    assert tree.dropped_by_rule() == {"dangling-link": (2, 0), "not-kept": (1, 0)}


def test_an_error_names_the_archive_once(packed: Packed) -> None:
    """In a run over many archives one must know which one is bad, and what to do."""
    with pytest.raises(ArchiveError) as caught:
        packed.unpack(Member("python/../x"))
    assert str(caught.value) == (
        "unpacking archive.tar.zst: 'python/../x' leads out of the archive; take it from python-build-standalone again"
    )


@pytest.mark.parametrize("damage", ["cut", "changed"])
@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_damage_within_a_large_file(codec: Literal["zstd", "gzip"], damage: str, packed: Packed) -> None:
    """It is noticed while the content is being stored, and is still the archive's fault, in one line."""
    source = packed.source(OS)
    noise = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(1 << 17))
    pbs.write_archive(packed.path, [OS, Member("python/install/bin/large", noise)], codec=codec)
    data = bytearray(packed.path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    packed.path.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"\Aunpacking archive.tar.zst: it is damaged: [^\n]+\Z"):
        unpack(source, Pruner.compile(DROP, KEEP, stdlib=STDLIB), packed.blobs)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux, which has a disk that is always full")
def test_a_disk_that_is_full(packed: Packed) -> None:
    """It is not the archive's fault."""
    packed.blobs._partial().symlink_to("/dev/full")
    with pytest.raises(WriteError, match="No space left on device"):
        packed.unpack(OS)


def test_a_source_that_is_a_list() -> None:
    """Members may come from anywhere."""
    source = Source(lambda: iter([members_.Member("python/bin/x", "link", target="y")]), label="list")
    assert survey(source) == Facts()


def test_survey_reads_as_far_as_it_must(packed: Packed) -> None:
    """Facts are read from the beginning of an archive, though what follows is damaged."""
    source = packed.source(FACTS, Member("python/install/bin/x", b"x" * (1 << 20)))
    packed.path.write_bytes(packed.path.read_bytes()[:-1])
    assert survey(source) == Facts("3.14.9", LINUX, ("idlelib.idle_test", "test", "unittest.test"))


@pytest.mark.parametrize("prefix", ["python", "python/install"])
def test_survey_without_python_json(prefix: str, packed: Packed) -> None:
    """patchlevel.h of Unix and of Windows tells the version, if nothing else does."""
    for name in ("include/python3.14t/patchlevel.h", "include/patchlevel.h"):
        assert survey(packed.source(OS, Member(f"{prefix}/{name}", PATCHLEVEL))) == Facts(version="3.14.9")


def test_survey_names_what_is_damaged(packed: Packed) -> None:
    """An error says which archive has such a PYTHON.json."""
    with pytest.raises(
        ArchiveError, match=r"unpacking archive.tar.zst: reading PYTHON.json: .*; is it an archive of PBS"
    ):
        survey(packed.source(replace(FACTS, data=b"{")))


def test_hard_links_are_no_bomb(packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What all files of a tree have together is bounded, however little of it is in the archive."""
    links = [Member(f"python/install/bin/{n}", hard="python/install/bin/python3.14") for n in range(20)]
    members = [Member("python/install/bin/python3.14", b"x" * 1000), *links]
    monkeypatch.setattr(unpack_module, "MAX_SIZE", 21_000)
    assert packed.unpack(*members).size == 21_000
    monkeypatch.setattr(unpack_module, "MAX_SIZE", 20_999)
    with pytest.raises(ArchiveError, match=r"unpacking archive.tar.zst: its files have more than 20999 bytes"):
        packed.unpack(*members)
