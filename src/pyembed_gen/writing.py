"""How a failed write is told: one line with the place, the reason, and what helps against that reason."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyembed_gen.errors import WriteError

__all__ = ["CACHE", "OUT", "writing"]

CACHE = "--cache-dir or $PYEMBED_CACHE"
OUT = "--out"

_NO_FOLDER = (errno.ENOTDIR, errno.EEXIST)
_REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EFBIG: "check `ulimit -f`",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EROFS: "check its permissions",
    errno.ENOENT: "check that it is there",
}


@contextmanager
def writing(where: Path, *, doing: str = "writing below", option: str = OUT) -> Iterator[None]:
    """Turn an OSError of the block into a WriteError.

    ``doing`` and ``where`` say what failed, ``option`` what names another place.
    """
    try:
        yield
    except OSError as error:
        what, hint = error.strerror or str(error), f"name another folder with {option}"
        blocking = _blocking(error, where)
        if blocking is not None:
            what = f"{blocking} is not a folder"
        elif error.errno in _REMEDIES:
            hint = f"{_REMEDIES[error.errno]}, or {hint}"
        raise WriteError(f"{doing} {where}: {what}", hint=hint) from error


def _blocking(error: OSError, where: Path) -> Path | None:
    """Return what is no folder and is where one should be, if that is what went wrong."""
    if error.errno not in _NO_FOLDER:
        return None
    named = [Path(name) for name in (error.filename, error.filename2) if isinstance(name, str)]
    paths = (path for start in (*named, where) for path in (start, *start.parents))
    return next((path for path in paths if os.path.lexists(path) and not path.is_dir()), None)
