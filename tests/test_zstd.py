"""Zstandard streams are read whole or refused, in little memory."""

import io
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pbs
from pyembed_gen import zstd

SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0here"  # RFC 8878, 3.1.2


def read(data: bytes, size: int = 1000) -> bytes:
    """Return all that frames hold, read in pieces."""
    parts = []
    with zstd.open_reader(io.BytesIO(data)) as reader:
        while part := reader.read(size):
            assert len(part) <= size
            parts.append(part)
        assert reader.read(size) == b""
    return b"".join(parts)


@given(st.binary(max_size=5000), st.integers(1, 22), st.integers(1, 6000))
def test_what_is_compressed_is_read_back(content: bytes, level: int, size: int) -> None:
    """Compress and open_reader are each other's inverse, whatever is asked for at a time."""
    assert read(zstd.compress(content, level), size) == content


def test_a_frame_has_its_size_and_no_checksum() -> None:
    """A payload is checked by its sha256, and a reader may allocate it at once (RFC 8878, 3.1.1.1.1)."""
    descriptor = zstd.compress(b"content" * 99, 19)[4]
    assert descriptor & 0b1110_0000 != 0
    assert descriptor & 0b0000_0100 == 0


def test_frames_may_follow_each_other() -> None:
    """Tools that compress in parallel write many frames, and skippable ones between them."""
    frames = [SKIPPABLE, zstd.compress(b"one ", 1), zstd.compress(b"", 1), SKIPPABLE, zstd.compress(b"two", 1)]
    assert read(b"".join(frames)) == b"one two"


def test_an_empty_file_is_cut_short() -> None:
    """A file without a frame is not what was compressed, not even from nothing."""
    assert read(zstd.compress(b"", 1)) == b""
    with pytest.raises(EOFError):
        read(b"")


@pytest.mark.parametrize("window_log", [10, 27])
def test_a_cut_is_noticed_wherever_it_is(window_log: int) -> None:
    """Each proper part of a frame is an error: also one that lacks nothing but the end's mark."""
    whole = pbs.zstd_compress(b"some content, " * 500, 3, window_log)
    for end in range(1, len(whole)):
        with pytest.raises((EOFError, zstd.ZstdError)):
            read(whole[:end])


def test_a_cut_in_the_second_frame_is_noticed() -> None:
    """What came before it is no excuse."""
    frame = zstd.compress(b"content" * 999, 1)
    with pytest.raises(EOFError):
        read(frame + frame[:-1])


@pytest.mark.parametrize("tail", [b"garbage", b"\0" * 512])
def test_what_follows_and_is_no_frame_is_an_error(tail: bytes) -> None:
    """A file that goes on with something else is not what was compressed."""
    with pytest.raises(zstd.ZstdError):
        read(zstd.compress(b"content", 1) + tail)


def test_a_window_of_128_mib_is_read_and_a_larger_one_refused() -> None:
    """PBS asks for 128 MiB; who asks for more than that, asks for our memory."""
    assert read(pbs.zstd_compress(b"content", 1, 27)) == b"content"
    with pytest.raises(zstd.ZstdError, match="memory"):
        read(pbs.zstd_compress(b"content", 1, 28))


def test_a_bomb_does_not_explode_in_memory() -> None:
    """A frame of 40 KB that holds 1 GiB takes no more memory than a frame may ask for, and a little."""
    script = """
import io, resource, sys
from pyembed_gen import zstd
block = b"\\x02\\0\\x10\\0"  # 128 KiB of zeros: RFC 8878, 3.1.1.2, RLE_Block
frame = b"\\x28\\xb5\\x2f\\xfd\\0\\x88" + block * (8 << 10) + b"\\x03\\0\\x10\\0"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = 0
with zstd.open_reader(io.BytesIO(frame)) as reader:
    while part := reader.read(1 << 16):
        size += len(part)
print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    size, grown = map(int, done.stdout.split())
    assert size == (1 << 30) + (1 << 17)
    unit = 1 if sys.platform == "darwin" else 1024
    assert grown * unit < 450 << 20


def test_the_library_is_named_with_its_version() -> None:
    """Another version may compress to other bytes, so that a recipe names it."""
    assert zstd.LIBRARY.startswith("libzstd 1.")
