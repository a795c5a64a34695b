"""Contents are stored once, under their sums, whole or not at all."""

import hashlib
import io
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pbs
from pyembed_gen.blobs import Blob, Blobs
from pyembed_gen.errors import ArchiveError, WriteError

MIB = 1 << 20


class Trickle:
    """A content that comes in pieces, as from a pipe; ``error`` is raised where it should end."""

    def __init__(self, content: bytes, piece: int, error: Exception | None = None) -> None:
        self._content = io.BytesIO(content)
        self._piece = piece
        self._error = error

    def read(self, size: int, /) -> bytes:
        """Return the next piece."""
        block = self._content.read(min(size, self._piece))
        if not block and self._error:
            raise self._error
        return block


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    (tmp_path / "blobs").mkdir()
    return Blobs(tmp_path / "blobs")


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, MIB - 1, MIB, MIB + 1, 3 * MIB + 7])
@pytest.mark.parametrize("piece", [MIB * 9, 300_001])
def test_content_lies_under_its_sum(size: int, piece: int, blobs: Blobs) -> None:
    """Whatever its size and however it arrives, a content is stored as it is, and its facts are right."""
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    blob = blobs.put(Trickle(content, piece))
    assert blob == Blob(hashlib.sha256(content).hexdigest(), size, content[:64])
    assert blobs.path(blob.sha256).read_bytes() == content


@given(st.binary(max_size=100))
def test_put_and_put_bytes_agree(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """A content is the same blob, whether it is streamed or in memory."""
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    assert blobs.put(Trickle(content, 7)) == blobs.put_bytes(content)


@pytest.mark.parametrize("content", [b"small", b"large" * MIB])
def test_equal_contents_are_one_file(content: bytes, blobs: Blobs) -> None:
    """The second time nothing is replaced: somebody may be reading the first."""
    first = blobs.path(blobs.put(io.BytesIO(content)).sha256)
    inode = first.stat().st_ino
    blobs.put(io.BytesIO(content))
    assert list(blobs.root.iterdir()) == [first]
    assert first.stat().st_ino == inode


def test_threads_may_store_the_same_content(blobs: Blobs) -> None:
    """Several threads that store equal contents do not disturb each other."""
    failures: list[BaseException] = []

    def store() -> None:
        try:
            for number in range(100):
                blobs.put_bytes(b"%d" % number)
        except BaseException as error:  # noqa: BLE001 - a thread's failure would be lost
            failures.append(error)

    threads = [threading.Thread(target=store) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(blobs.root.iterdir())) == 100


@pytest.mark.parametrize(
    ("content", "native"),
    [
        (pbs.elf("x86_64"), True),
        (pbs.macho("aarch64"), True),
        (pbs.pe("x86_64"), True),
        (b"#!/bin/sh\n", False),
        (b"import os\n", False),
        (b"", False),
    ],
)
def test_native_is_what_begins_like_a_program(content: bytes, native: bool, blobs: Blobs) -> None:
    """ELF, Mach-O and PE files are native; scripts, though executable, are not."""
    assert blobs.put_bytes(content).native is native


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Let the kernel refuse to let any file grow larger."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("size", [MIB // 2, 3 * MIB])
def test_what_the_system_refuses_to_write_is_a_write_error(size: int, blobs: Blobs) -> None:
    """A content that does not fit leaves nothing under its sum, and the error says where and why."""
    with (
        no_file_above(MIB // 4),
        pytest.raises(WriteError, match=f"^writing below {blobs.root}: File too large; .*--cache-dir"),
    ):
        blobs.put(io.BytesIO(bytes(size)))
    assert [path.suffix for path in blobs.root.iterdir()] == [".part"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux, which has a disk that is always full")
@pytest.mark.parametrize("size", [5, 3 * MIB])
def test_a_full_disk_is_a_write_error(size: int, blobs: Blobs) -> None:
    """The user is told what to free or choose, and the command line ends with exit code 5."""
    blobs._partial().symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"No space left on device; free some space.*--cache-dir") as caught:
        blobs.put(io.BytesIO(bytes(size)))
    assert caught.value.exit_code == 5


def test_a_folder_that_is_gone_is_a_write_error(tmp_path: Path) -> None:
    """Somebody emptied the cache while it was in use."""
    with pytest.raises(WriteError, match=r"writing below .*/gone: No such file or directory; "):
        Blobs(tmp_path / "gone").put_bytes(b"x")


def test_what_goes_wrong_in_reading_is_no_write_error(blobs: Blobs) -> None:
    """An archive that breaks off in a large file is to blame itself, and no content is there."""
    content = Trickle(bytes(2 * MIB), MIB, ArchiveError("it is damaged"))
    with pytest.raises(ArchiveError, match=r"\Ait is damaged\Z"):
        blobs.put(content)
    assert [path.suffix for path in blobs.root.iterdir()] == [".part"]
