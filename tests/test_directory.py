"""A folder on disk is read as if it were an archive, without ever leading out of it."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pbs
from pyembed_gen import directory
from pyembed_gen.blobs import Blobs
from pyembed_gen.directory import Folder
from pyembed_gen.errors import ArchiveError
from pyembed_gen.members import Source
from pyembed_gen.prune import Pruner
from pyembed_gen.unpack import unpack

NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def write(*paths: Path) -> None:
    """Write files whose content is their name."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name, encoding="utf-8")


def read(folder: Folder) -> dict[str, str]:
    """Return what a folder yields: contents of files, and ``-> target`` for links."""
    return {
        member.name: member.content.read(100).decode() if member.content else f"-> {member.target}"
        for member in directory.members(folder)
    }


def whole(root: Path) -> dict[str, str]:
    """Return what a folder yields as an installation."""
    return read(Folder(root, "python"))


def test_files_and_links_sorted_by_bytes(root: Path) -> None:
    """Files come with contents, sizes and executable bits, links as they are written; folders are not members."""
    write(root / "lib/a.py", root / "lib/é", root / "lib/B", root / "bin/python3.14")
    (root / "bin/python3.14").chmod(0o700)
    (root / "bin/python3").symlink_to("python3.14")
    (root / "lib/folder").symlink_to("../bin")
    (root / "empty").mkdir()
    found = [(m.name, m.kind, m.size, m.executable, m.target) for m in directory.members(Folder(root, "python"))]
    assert found == [
        ("python/bin/python3", "link", 0, False, "python3.14"),
        ("python/bin/python3.14", "file", 10, True, ""),
        ("python/lib/B", "file", 1, False, ""),
        ("python/lib/a.py", "file", 4, False, ""),
        ("python/lib/folder", "link", 0, False, "../bin"),
        ("python/lib/é", "file", 2, False, ""),
    ]


def test_links_that_leave_are_followed(root: Path) -> None:
    """Debian's links to /usr/share, absolute ones, and links by way of others, become what they lead to."""
    outside = root.parent / "outside"
    write(outside / "file", outside / "folder/x", outside / "folder/sub/y", root / "inside", root / "sub/z")
    (outside / "folder/local").symlink_to("x")
    (root / "relative").symlink_to("../outside/file")
    (root / "absolute").symlink_to(outside / "file")
    (root / "folder").symlink_to("../outside/folder")
    (root / "absolute-inside").symlink_to(root / "inside")
    (root / "by-way-of").symlink_to("relative")
    (root / "through").symlink_to("folder/x")
    (root / "out-and-in").symlink_to("../root/inside")
    (root / "fine").symlink_to("sub/../inside")
    assert whole(root) == {
        "python/absolute": "file",
        "python/absolute-inside": "inside",
        "python/by-way-of": "file",
        "python/fine": "-> sub/../inside",
        "python/folder/local": "x",
        "python/folder/sub/y": "y",
        "python/folder/x": "x",
        "python/inside": "inside",
        "python/out-and-in": "inside",
        "python/relative": "file",
        "python/sub/z": "z",
        "python/through": "x",
    }


def test_dot_dot_after_a_link_is_taken_physically(root: Path) -> None:
    """``deep/../x`` stays inside by its text, but deep leads out, and its parent is there."""
    write(root / "x", root.parent / "outside/deep/y", root.parent / "outside/x2")
    (root / "deep").symlink_to("../outside/deep")
    (root / "tricky").symlink_to("deep/../x2")
    assert whole(root)["python/tricky"] == "x2"


def test_loops(root: Path) -> None:
    """Links in circles, to a folder above, and out and back again, end."""
    outside = root.parent / "outside"
    write(root / "sub/x", outside / "y")
    (root / "self").symlink_to("self")
    (root / "absolute-self").symlink_to(root / "absolute-self")
    (root / "sub/up").symlink_to("..")
    (root / "sub/above").symlink_to(root.parent)
    (outside / "back").symlink_to(root)
    (outside / "again").symlink_to(".")
    (root / "out").symlink_to(outside)
    assert whole(root) == {
        "python/out/y": "y",
        "python/self": "-> self",
        "python/sub/up": "-> ..",
        "python/sub/x": "x",
    }


def test_what_is_no_file_is_passed_over(root: Path) -> None:
    """Sockets, FIFOs and links to nothing are none of an installation's."""
    write(root / "file")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(root / "socket"))
        (root / "device").symlink_to("/dev/null")
        (root / "dangling").symlink_to("/nothing/there")
        (root / "below-a-file").symlink_to(root / "file/x")
        assert whole(root) == {"python/file": "file"}


def test_names_that_are_not_utf8(root: Path) -> None:
    """Such a name is passed on, so that it can be refused where it would be kept."""
    (root / os.fsdecode(b"\xff")).write_bytes(b"x")
    (root / "link").symlink_to(os.fsdecode(b"\xff"))
    assert whole(root) == {"python/\udcff": "x", "python/link": "-> \udcff"}


@pytest.mark.parametrize("inner", ["", "python"])
def test_an_unpacked_archive(inner: str, root: Path) -> None:
    """The folder that holds ``python/``, and ``python/`` itself, are known; what was built with is not looked at."""
    top = root / "python"
    write(top / "PYTHON.json", top / "install/bin/python3", top / "licenses/LICENSE.txt", top / "build/x.o")
    (top / "install/shared").symlink_to("../licenses/LICENSE.txt")
    found = list(read(directory.pbs_prefix(root / inner)).items())
    assert found == [
        ("python/PYTHON.json", "PYTHON.json"),
        ("python/licenses/LICENSE.txt", "LICENSE.txt"),
        ("python/install/bin/python3", "python3"),
        ("python/install/shared", "LICENSE.txt"),
    ]


@pytest.mark.parametrize("top", ["python/install", "python"])
def test_bytecode_is_passed_over(top: str, root: Path) -> None:
    """An interpreter that ran there changes neither what is kept nor what is counted as dropped."""
    write(root / top / "lib/python3.14/os.py", root / top / "bin/python3")
    before = read(directory.pbs_prefix(root))
    stdlib = root / top / "lib/python3.14"
    write(stdlib / "__pycache__/os.cpython-314.pyc", stdlib / "__pycache__/x.1234", stdlib / "old.pyc")
    assert read(directory.pbs_prefix(root)) == before
    assert len(before) == 2


def test_an_installation(root: Path) -> None:
    """Anything else is an installation, also one that was unpacked from an install_only archive."""
    write(root / "python/bin/python3")
    assert directory.pbs_prefix(root) == Folder(root, "python")
    assert read(directory.pbs_prefix(root / "python")) == {"python/bin/python3": "python3"}


def test_a_folder_and_its_archive_are_the_same_tree(root: Path) -> None:
    """Unpacked with tar, an archive gives the tree that it gives itself."""
    for member in pbs.tiny_members("3.14.9", "x86_64-unknown-linux-gnu"):
        path = root / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.link:
            path.symlink_to(member.link)
        else:
            path.write_bytes(member.data)
            path.chmod(member.mode)
    (root.parent / "blobs").mkdir()
    pruner = Pruner.compile((), ("bin/**", "lib/**"), stdlib="lib/python3.14")
    source = Source(lambda: directory.members(directory.pbs_prefix(root)), label="folder")
    tree = unpack(source, pruner, Blobs(root.parent / "blobs"))
    assert tree.facts.version == "3.14.9"
    assert tree.by_name["bin/python3.14"].executable  # type: ignore[union-attr]  # it is a file
    assert "licenses/LICENSE.cpython.txt" in tree.by_name


def test_skipped_names_are_not_looked_at(root: Path) -> None:
    """What the caller does not want need not even be readable."""
    write(root / "a/x", root / "b/y")
    found = directory.walk(Folder(root, "lib"), top=root, skip=lambda name: name == "lib/a")
    assert [member.name for member in found] == ["lib/b/y"]


@contextmanager
def unprivileged() -> Iterator[Path]:
    """Yield a folder, and be somebody whom permissions concern."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        try:
            yield Path(folder)
        finally:
            if os.getuid() == 0:
                os.seteuid(0)


def drop_privileges() -> None:
    if os.geteuid() == 0:
        os.seteuid(NOBODY)


def test_files_that_may_not_be_read() -> None:
    """An unreadable file is an error only if it is wanted: what pruning drops is never opened."""
    with unprivileged() as root:
        write(root / "bin/x", root / "share/secret")
        (root / "share/secret").chmod(0)
        drop_privileges()
        names = [member.name for member in directory.members(Folder(root, "python"))]
        assert names == ["python/bin/x", "python/share/secret"]
        with pytest.raises(ArchiveError, match=r"reading .*/share/secret: Permission denied; check its permissions"):
            whole(root)


def test_folders_that_may_not_be_read() -> None:
    """What is in such a folder cannot be known, nor where a link into it leads."""
    with unprivileged() as root:
        write(root / "tree/x", root / "closed/file")
        (root / "tree/link").symlink_to(root / "closed/file")
        (root / "closed").chmod(0)
        drop_privileges()
        with pytest.raises(ArchiveError, match=r"reading .*/tree/link: Permission denied; check its permissions"):
            whole(root / "tree")
        with pytest.raises(ArchiveError, match=r"reading .*/closed: Permission denied"):
            whole(root)


def test_a_disk_that_fails(root: Path) -> None:
    """An error while a file is read is an ArchiveError, not one of the place that it is written to."""
    (root / "memory").symlink_to("/proc/self/mem")
    with pytest.raises(ArchiveError, match="memory: Input/output error"):
        whole(root)


def test_a_file_that_is_gone() -> None:
    """A file that was named by itself must be there."""
    with pytest.raises(ArchiveError, match="reading /nothing: No such file or directory"):
        next(directory.file(Path("/nothing"), "python/x"))


def test_contents_are_closed(root: Path) -> None:
    """A large installation does not use up the file descriptors, though contents are not read to their end."""
    write(*(root / f"{number}" for number in range(50)))
    before = open_files()
    for member in directory.members(Folder(root, "python")):
        assert member.content is not None
        member.content.read(1)
        assert open_files() <= before + 1


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())
