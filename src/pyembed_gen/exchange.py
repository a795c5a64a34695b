"""Puts a finished folder where another one is, in one step where the system has such a step."""

import ctypes
import os
import sys
from pathlib import Path

__all__ = ["exchange"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # Linux, renameat2(2)
_RENAME_SWAP = 2  # macOS, renamex_np(2)


def exchange(new: Path, old: Path) -> bool:
    """Swap two existing paths of one file system atomically; False where the system or file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform != "win32" else None
    if sys.platform == "darwin":
        swap = getattr(libc, "renamex_np", None)
        arguments: tuple[object, ...] = (os.fsencode(new), os.fsencode(old), ctypes.c_uint(_RENAME_SWAP))
    else:
        swap = getattr(libc, "renameat2", None)
        arguments = (
            _AT_FDCWD,
            os.fsencode(new),
            _AT_FDCWD,
            os.fsencode(old),
            ctypes.c_uint(_RENAME_EXCHANGE),
        )
    return swap is not None and swap(*arguments) == 0
