"""Zstandard, from the standard library where it has it (Python 3.14) and from ``zstandard`` elsewhere."""

import io
import sys
from typing import BinaryIO, cast

__all__ = ["LIBRARY", "MAX_WINDOW_LOG", "ZstdError", "compress", "decompress", "open_reader"]

# PBS compresses with a window of 128 MiB; a frame that asks for more memory is refused.
MAX_WINDOW_LOG = 27

if sys.version_info >= (3, 14):
    from compression import zstd as _zstd

    ZstdError = _zstd.ZstdError
    LIBRARY = f"libzstd {_zstd.zstd_version}"
    _LIMIT = {_zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}

    def open_reader(file: BinaryIO) -> io.BufferedIOBase:
        """Return a stream of what the frames in ``file`` hold; it raises ZstdError or EOFError on damage."""
        return _zstd.ZstdFile(file, options=_LIMIT)

    def compress(content: bytes, level: int) -> bytes:
        """Return one frame with its content size and no checksum."""
        return _zstd.compress(content, level=level)

    def decompress(payload: bytes, size: int) -> bytes:
        """Return up to ``size`` + 1 bytes of what one frame holds; ZstdError or EOFError on damage."""
        decompressor = _zstd.ZstdDecompressor(options=_LIMIT)
        content = cast("bytes", decompressor.decompress(payload, max_length=size + 1))
        if not decompressor.eof and len(content) <= size:
            raise EOFError("the frame is cut short")
        return content

else:
    import zstandard as _zstandard

    ZstdError = _zstandard.ZstdError
    LIBRARY = "libzstd " + ".".join(map(str, _zstandard.ZSTD_VERSION))

    def open_reader(file: BinaryIO) -> io.BufferedIOBase:
        """Return a stream of what the frames in ``file`` hold; it raises ZstdError or EOFError on damage."""
        decompressor = _zstandard.ZstdDecompressor(max_window_size=1 << MAX_WINDOW_LOG)
        reader = decompressor.stream_reader(file, read_size=1 << 18, read_across_frames=True, closefd=False)
        return cast("io.BufferedIOBase", reader)

    def compress(content: bytes, level: int) -> bytes:
        """Return one frame with its content size and no checksum."""
        return _zstandard.ZstdCompressor(level=level).compress(content)

    def decompress(payload: bytes, size: int) -> bytes:
        """Return up to ``size`` + 1 bytes of what one frame holds; ZstdError or EOFError on damage."""
        decompressor = _zstandard.ZstdDecompressor(max_window_size=1 << MAX_WINDOW_LOG)
        with decompressor.stream_reader(payload, read_across_frames=False) as reader:
            content: bytes = reader.read(size + 1)
        if len(content) < size:
            raise EOFError("the frame is cut short")
        return content
