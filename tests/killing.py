"""Ends a process at a chosen moment, as a power cut or `kill -9` does: nothing is cleaned up."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

# What changes a file system, as Python's audit hooks announce it. A hook is called before the event.
_EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "open", "shutil.rmtree", "ctypes.dlsym"}
_WRITING = os.O_WRONLY | os.O_RDWR


def killed_at(moment: int, action: Callable[[], object], below: Path) -> bool:
    """Run an action in a child that is killed before its ``moment``-th change below a folder; False if it got through.

    An exception in the child is an AssertionError here.
    """
    child = os.fork()
    if child == 0:
        try:
            _kill_at(moment, str(below))
            action()
        except BaseException as error:  # noqa: BLE001 - a child of pytest must not go on
            os.write(2, f"child failed: {error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _kill_at(moment: int, below: str) -> None:
    left = moment

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event not in _EVENTS or not _changes(event, arguments, below):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _changes(event: str, arguments: tuple[object, ...], below: str) -> bool:
    if event == "ctypes.dlsym":
        return True  # the exchange of two folders
    if event == "open" and not int(str(arguments[2])) & _WRITING:
        return False
    return isinstance(arguments[0], str | bytes | os.PathLike) and os.fsdecode(arguments[0]).startswith(below)
