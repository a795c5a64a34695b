"""Whatever stops a run, the previous bundle is whole and the next run succeeds."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pbs
from pyembed_gen import emit, verify
from setting import TAG, VERSION

TRIPLE = "x86_64-unknown-linux-gnu"
OLD, NEW = "3.14.8", VERSION


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a mirror with two versions, each with some megabytes to compress, so that a run takes a while."""
    noise = random.Random(5)
    assets = {
        pbs.asset_name(version, TAG, TRIPLE): [
            *pbs.tiny_members(version, TRIPLE),
            *(
                pbs.Member(f"python/install/lib/python3.14/big{number}.py", noise.randbytes(900_000).hex().encode())
                for number in range(12)
            ),
        ]
        for version in (OLD, NEW)
    }
    return pbs.write_mirror(tmp_path_factory.mktemp("mirror"), TAG, assets).as_uri()


def command(mirror: str, version: str, out: Path) -> list[str]:
    """Return the command line that generates one version into ``out``."""
    return [
        *(sys.executable, "-m", "pyembed_gen", "--mirror", mirror, "--pbs", TAG, "--python", version),
        *("--only-platforms", "linux/amd64", "--out", str(out), "-q", "--force"),
    ]


def check_whole(out: Path) -> str:
    """Check that the bundle in ``out`` is whole, and return its version."""
    manifest, differences = verify.verify(out / "linux-amd64")
    assert differences == ()
    return manifest.origin.python


def check_recovers(out: Path, mirror: str) -> None:
    """Check that the next run succeeds and leaves nothing but what it should."""
    subprocess.run(command(mirror, NEW, out), check=True)
    assert check_whole(out) == NEW
    assert sorted(path.name for path in out.iterdir()) == [
        *("PYTHON_VERSION", "embed_linux_amd64.go", "embed_other.go", "linux-amd64"),
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signal_at_any_moment(tmp_path: Path, mirror: str, number: signal.Signals) -> None:
    """A run that is stopped at any of many moments leaves one version or the other, never a mixture."""
    out = tmp_path / "o"
    subprocess.run(command(mirror, OLD, out), check=True)
    since = time.monotonic()
    subprocess.run(command(mirror, NEW, tmp_path / "other"), check=True)
    length = time.monotonic() - since
    moments = 12
    for moment in range(moments):
        process = subprocess.Popen(command(mirror, NEW, out), stderr=subprocess.PIPE, text=True, start_new_session=True)
        time.sleep(length * (moment + 0.5) / moments)
        process.send_signal(number)
        _, complaint = process.communicate(timeout=60)
        assert check_whole(out) in (OLD, NEW)
        if "pyembed_gen" in complaint or process.returncode == 130:  # not still in Python's own start
            # What counts coverage may still be saving when the run has said all it has to say.
            assert "Traceback" not in complaint.partition("Exception ignored in atexit callback")[0]
        if number == signal.SIGINT and moment > 2:
            # A busy machine may still be in Python's own start, which an interrupt ends by the signal itself.
            assert process.returncode in (0, 130, -signal.SIGINT), complaint
    check_recovers(out, mirror)


def test_runs_that_are_stopped_leave_no_temporary_folders(tmp_path: Path, mirror: str) -> None:
    """What killed runs leave in the cache's temporary folder is gone after the next one."""
    out = tmp_path / "o"
    for _ in range(3):
        process = subprocess.Popen(command(mirror, NEW, out), stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        process.kill()
        process.wait()
    check_recovers(out, mirror)
    temporary = Path(os.environ["PYEMBED_CACHE"]) / "tmp"
    assert [path for path in temporary.rglob("*") if path.name.startswith("run-")] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a file system of its own with 24 MB (Linux; mounting needs root)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_full_disk_leaves_the_previous_bundle(small_disk: Path, mirror: str) -> None:
    """When the output's disk is full: exit 5, one line, the old bundle whole, no left-overs, and the way out works."""
    out = small_disk / "o"
    subprocess.run(command(mirror, OLD, out), check=True)
    filler = small_disk / "filler"
    for left in (0, 100_000, 3_000_000):
        free = os.statvfs(small_disk)
        filler.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize + _size(filler) - left)))
        before = sorted(path.name for path in out.iterdir())
        done = subprocess.run(command(mirror, NEW, out), capture_output=True, text=True, check=False)
        assert done.returncode == 5, done.stderr
        assert "No space left on device; free some space" in done.stderr
        assert done.stderr.count("\n") == 1
        assert check_whole(out) == OLD
        assert sorted(path.name for path in out.iterdir()) == before
    filler.unlink()
    check_recovers(out, mirror)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_full_cache_disk_leaves_the_previous_bundle(small_disk: Path, tmp_path: Path, mirror: str) -> None:
    """When the cache's disk is full: exit 5 with --cache-dir in the hint, and the output is untouched."""
    out = tmp_path / "o"
    subprocess.run(command(mirror, OLD, out), check=True)
    for left in (0, 200_000, 9_000_000, 14_000_000):
        cache = small_disk / f"cache{left}"
        free = os.statvfs(small_disk)
        filler = small_disk / "filler"
        filler.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize + _size(filler) - left)))
        arguments = [*command(mirror, NEW, out), "--cache-dir", str(cache)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == 5, done.stderr
        assert "--cache-dir" in done.stderr
        assert "Traceback" not in done.stderr
        assert emit.read_bundle(out / "linux-amd64").origin.python == OLD
        subprocess.run(["rm", "-rf", str(cache)], check=True)
    filler.unlink()
    subprocess.run([*command(mirror, NEW, out), "--cache-dir", str(small_disk / "cache")], check=False)
    check_whole(out)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
