"""The temporary folder of a run, gone when the run is, however it ends."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pyembed_gen import filelock
from pyembed_gen.cache import Cache
from pyembed_gen.errors import WriteError

__all__ = ["in_use", "workspace"]

_PREFIX = "run-"
_LOCK = "lock"


class _InUseError(Exception):
    """The folder belongs to a run that is still alive."""


@contextmanager
def workspace(cache: Cache) -> Iterator[Path]:
    """Yield an empty folder of this run alone, below the cache; folders of runs that were killed are removed."""
    parent = cache.create(cache.temporary)
    with ExitStack() as stack:
        # Between its making and its locking a new folder would look like one that was left behind.
        with filelock.exclusive(parent / _LOCK):
            _sweep(parent)
            with cache.writing():
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(filelock.exclusive(folder / _LOCK))
        yield folder


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*/"):
        if folder.is_symlink():
            continue
        with suppress(_InUseError, WriteError):  # WriteError: it is another user's, or went away just now
            with filelock.exclusive(folder / _LOCK, waiting=_give_up):
                pass
            shutil.rmtree(folder, ignore_errors=True)


def in_use(cache: Cache) -> bool:
    """Whether a run that is alive has its folder in the cache."""
    for folder in cache.temporary.glob(f"{_PREFIX}*/"):
        try:
            with suppress(WriteError), filelock.exclusive(folder / _LOCK, waiting=_give_up):
                pass
        except _InUseError:
            return True
    return False


def _give_up() -> None:
    raise _InUseError
