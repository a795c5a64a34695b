"""Zstandard, from the standard library where it has it (Python 3.14) and from ``zstandard`` elsewhere."""

import io
import sys
from typing import BinaryIO, cast

__all__ = ["LIBRARY", "MAX_WINDOW_LOG", "ZstdError", "compress", "open_reader"]

# PBS compresses with a window of 128 MiB; a frame that asks for more memory is refused.
MAX_WINDOW_LOG = 27

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd as _zstd

    ZstdError = _zstd.ZstdError
    LIBRARY = f"libzstd {_zstd.zstd_version}"
    _LIMIT = {_zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}

    def open_reader(file: BinaryIO) -> BinaryIO:
        """Return a stream of what the frames in ``file`` hold; it raises ZstdError or EOFError on damage."""
        return cast("BinaryIO", _zstd.ZstdFile(file, options=_LIMIT))

    def compress(content: bytes, level: int) -> bytes:
        """Return one frame with its content size and no checksum."""
        return _zstd.compress(content, level=level)

else:
    import zstandard as _zstandard

    ZstdError = _zstandard.ZstdError
    LIBRARY = "libzstd " + ".".join(map(str, _zstandard.ZSTD_VERSION))
    # A block of 128 KiB takes 4 bytes at the least, so what this much gives is no more than the window.
    _STEP = 4096

    def open_reader(file: BinaryIO) -> BinaryIO:
        """Return a stream of what the frames in ``file`` hold; it raises ZstdError or EOFError on damage."""
        return cast("BinaryIO", _Reader(file))

    def compress(content: bytes, level: int) -> bytes:
        """Return one frame with its content size and no checksum."""
        return _zstandard.ZstdCompressor(level=level).compress(content)

    class _Reader(io.RawIOBase):
        """What the frames of a file hold. The stream of ``zstandard`` takes a frame that is cut short for whole."""

        def __init__(self, file: BinaryIO) -> None:
            self._file = file
            self._frame = _new_frame()
            self._begun = True  # an empty file lacks a frame
            self._input = b""
            self._output = memoryview(b"")

        def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # narrower than Buffer
            while not self._output and (block := self._input or self._file.read(_STEP)):
                self._feed(block)
            if not self._output and self._begun:
                raise EOFError("the frame is cut short")
            size = min(len(buffer), len(self._output))
            buffer[:size] = self._output[:size]
            self._output = self._output[size:]
            return size

        def _feed(self, block: bytes) -> None:
            self._output = memoryview(self._frame.decompress(block))
            self._input = self._frame.unused_data
            self._begun = not self._frame.eof
            if self._frame.eof:
                self._frame = _new_frame()

    def _new_frame() -> "_zstandard.ZstdDecompressionObj":
        return _zstandard.ZstdDecompressor(max_window_size=1 << MAX_WINDOW_LOG).decompressobj()
