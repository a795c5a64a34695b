"""The lock keeps processes and threads apart, and dies with its holder."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyembed_gen.errors import WriteError
from pyembed_gen.filelock import exclusive

HOLD = """
import sys
from pathlib import Path
from pyembed_gen.filelock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


class BusyError(Exception):
    """Raised by a waiting callback that does not want to wait."""


def give_up() -> None:
    raise BusyError


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another process that holds the lock until it is told otherwise."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def is_free(path: Path) -> bool:
    try:
        with exclusive(path, waiting=give_up):
            return True
    except BusyError:
        return False


def test_another_process_is_kept_out(tmp_path: Path) -> None:
    """While one process holds the lock, nobody else gets it."""
    with held_elsewhere(tmp_path / "lock"):
        assert not is_free(tmp_path / "lock")
        assert is_free(tmp_path / "other")


def test_a_dead_holder_blocks_nobody(tmp_path: Path) -> None:
    """A process that is killed leaves a file, but no lock."""
    with held_elsewhere(tmp_path / "lock") as holder:
        holder.kill()
        holder.wait()
        assert (tmp_path / "lock").exists()
        assert is_free(tmp_path / "lock")


def test_waits_until_the_holder_is_done_and_says_so_once(tmp_path: Path) -> None:
    """The second comer is told that it waits, one time, and goes on when the first one ends."""
    said: list[float] = []
    with held_elsewhere(tmp_path / "lock") as holder:
        assert holder.stdin is not None
        timer = threading.Timer(0.25, holder.stdin.write, ["go\n"])
        flush = threading.Timer(0.3, holder.stdin.flush)
        timer.start()
        flush.start()
        begun = time.monotonic()
        with exclusive(tmp_path / "lock", waiting=lambda: said.append(time.monotonic())):
            assert time.monotonic() - begun > 0.2
        timer.join()
        flush.join()
    assert len(said) == 1


def test_nobody_is_told_to_wait_for_a_free_lock(tmp_path: Path) -> None:
    """The callback is for waiting only."""
    with exclusive(tmp_path / "lock", waiting=give_up):
        pass


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    """Each block sees the work of the ones before it complete."""
    counter = tmp_path / "counter"
    counter.write_text("0", encoding="ascii")

    def add() -> None:
        for _ in range(5):
            with exclusive(tmp_path / "lock"):
                value = int(counter.read_text(encoding="ascii"))
                time.sleep(0.001)
                counter.write_text(str(value + 1), encoding="ascii")

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.read_text(encoding="ascii") == "15"


def test_the_lock_is_released_when_the_block_fails(tmp_path: Path) -> None:
    """An error in the block reaches the caller as it is, and the lock is free."""
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock"):
        _ = 1 / 0
    assert is_free(tmp_path / "lock")


@pytest.mark.skipif(os.name != "posix", reason="Windows does not open folders")
def test_a_folder_can_be_locked(tmp_path: Path) -> None:
    """Nothing is added to the folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with exclusive(folder):
        assert not is_free(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="Windows does not delete open files")
def test_whoever_waited_on_a_deleted_lock_file_takes_the_new_one(tmp_path: Path) -> None:
    """A holder may delete the lock file: two who come later still exclude each other."""
    path = tmp_path / "lock"
    waiting, inside, leave = threading.Event(), threading.Event(), threading.Event()

    def second() -> None:
        with exclusive(path, waiting=waiting.set):
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=second)
    with exclusive(path):
        thread.start()
        assert waiting.wait(5)
        path.unlink()
    assert inside.wait(5)
    assert not is_free(path)
    leave.set()
    thread.join()
    assert is_free(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A child that was forked inside the block shares the open file, but not the lock after the block."""
    script = """
import os, sys, time
from pathlib import Path
from pyembed_gen.filelock import exclusive
with exclusive(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
print(child, flush=True)
sys.stdin.readline()
os.kill(child, 9)
os.waitpid(child, 0)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0
        assert is_free(tmp_path / "lock")
        process.communicate("\n", timeout=10)
    assert process.returncode == 0


def test_a_lock_that_cannot_be_made_is_a_write_error(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(WriteError, match=r"locking .*file/lock: .*file is not a folder"),
        exclusive(tmp_path / "file" / "lock"),
    ):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
def test_a_file_system_that_refuses_is_a_write_error() -> None:
    """The message names the file."""
    with (
        pytest.raises(WriteError, match="locking /proc/self/status/lock"),
        exclusive(Path("/proc/self/status/lock")),
    ):
        pass
