"""A run has a folder of its own, and leaves nothing behind: if it is killed, the next run sees to that."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyembed_gen.cache import Cache, usage
from pyembed_gen.errors import WriteError
from pyembed_gen.workspace import workspace

RUN = """
import sys
from pathlib import Path
from pyembed_gen.cache import Cache
from pyembed_gen.workspace import workspace
with workspace(Cache(Path(sys.argv[1]))) as folder:
    (folder / "blob").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@contextmanager
def running(cache: Cache) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Yield another process that has a workspace, and that workspace."""
    command = [sys.executable, "-c", RUN, str(cache.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().rstrip("\n"))
        process.kill()


def left(cache: Cache) -> list[str]:
    """Return the folders of runs that are there."""
    return sorted(path.name for path in cache.temporary.glob("run-*"))


def test_it_is_empty_private_and_gone_afterwards(cache: Cache) -> None:
    """The folder is this run's alone while it lasts, whatever was put into it."""
    with workspace(cache) as folder:
        assert folder.parent == cache.temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in folder.iterdir()] == ["lock"]
        (folder / "a/b").mkdir(parents=True)
        (folder / "a/b/c").write_bytes(b"x")
    assert left(cache) == []


def test_it_is_gone_after_a_failure(cache: Cache) -> None:
    """An error, or Ctrl-C, leaves nothing either."""
    with pytest.raises(KeyboardInterrupt), workspace(cache):
        raise KeyboardInterrupt
    assert left(cache) == []


def test_what_a_killed_run_left_is_removed(cache: Cache) -> None:
    """After SIGKILL the folder stays, until the next run begins."""
    with running(cache) as (process, folder):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (folder / "blob").exists()
        with workspace(cache) as own:
            assert left(cache) == [own.name]


def test_a_living_run_is_left_alone(cache: Cache) -> None:
    """Two runs on one cache work side by side, and each one removes its own."""
    with running(cache) as (process, folder), workspace(cache) as own:
        assert own != folder
        assert (folder / "blob").exists()
        process.communicate("\n", timeout=10)
        assert left(cache) == [own.name]


def test_runs_that_begin_together(cache: Cache) -> None:
    """No run takes another's folder for a leftover between its making and its locking."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(20):
                with workspace(cache) as folder:
                    (folder / "blob").write_bytes(b"x")
        except BaseException as error:  # noqa: BLE001 - a thread's failure would be lost
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert left(cache) == []


def test_nothing_else_is_swept(cache: Cache, tmp_path: Path) -> None:
    """Files, other folders, and links are not leftovers of runs, nor is what a link leads to."""
    precious = tmp_path / "precious"
    precious.mkdir()
    cache.create(cache.temporary)
    (cache.temporary / "run-link").symlink_to(precious)
    (cache.temporary / "run-file").write_bytes(b"x")
    (cache.temporary / "other").mkdir()
    with workspace(cache):
        pass
    assert left(cache) == ["run-file", "run-link"]
    assert (cache.temporary / "other").exists()
    assert list(precious.iterdir()) == []


def test_a_leftover_that_cannot_be_locked_is_no_obstacle(cache: Cache) -> None:
    """What is another user's, or broken, is left to others."""
    cache.create(cache.temporary)
    (cache.temporary / "run-odd/lock/x").mkdir(parents=True)
    os.mkfifo(cache.temporary / "run-odd/fifo")
    (cache.temporary / "run-dangling").mkdir()
    (cache.temporary / "run-dangling/lock").symlink_to("/nothing/there")
    with workspace(cache) as own:
        assert left(cache) == sorted(["run-dangling", own.name])


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names the cache and how to choose another."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteError, match=r"using the cache .*/file/cache: .*; .*--cache-dir"):
        workspace(Cache(tmp_path / "file/cache")).__enter__()


def test_workspaces_are_not_counted_as_cached(cache: Cache) -> None:
    """`cache size` and `cache clear` are about what is kept."""
    with workspace(cache) as folder:
        (folder / "blob").write_bytes(b"x")
        assert usage(cache).total.files == 0
