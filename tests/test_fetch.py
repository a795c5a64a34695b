"""An archive reaches the cache with the right sum or not at all."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fetching import ASSET, BODY, FILE, LIST, LOCK, SUM, TAG, WRONG, Bench, folder_mirror
from pyembed_gen import sums
from pyembed_gen.cache import Cache, clear
from pyembed_gen.download import Policy
from pyembed_gen.errors import FetchError, PyembedError, WriteError
from pyembed_gen.fetch import Archive, expected_sum, is_cached, known_sum
from pyembed_gen.filelock import exclusive
from pyembed_gen.release import Order, Wanted
from web import Reply, Web, page


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Web() as web:
        yield Bench(web, Cache(tmp_path / "cache"))


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return folder_mirror(tmp_path / "my mirror")


# --- from the lock ------------------------------------------------------------------------------------


def test_an_archive_of_the_lock(bench: Bench) -> None:
    """It is verified by the lock; the release's own list is not asked for."""
    bench.serve(listed="nonsense")
    archive = bench.get()
    path = bench.cache.archives / f"{SUM}-{ASSET}"
    url = f"{bench.web.url}/{TAG}/{ASSET}"
    assert archive == Archive(path, ASSET, SUM, url, len(BODY), cached=False, verified="lock")
    assert bench.asked == [ASSET.replace("+", "%2B")]
    assert path.read_bytes() == BODY
    assert bench.archives() == [path.name]
    assert len(bench.web.requests) == 1


def test_a_second_run_asks_nobody(bench: Bench) -> None:
    """It is a hit, offline too, and counts as a use."""
    bench.serve()
    path = bench.get().path
    os.utime(path, (0, 0))
    again = bench.get(offline=True)
    assert again.cached
    assert again.path == path
    assert (again.size, again.verified) == (len(BODY), "lock")
    assert path.stat().st_mtime > 1_000_000
    assert len(bench.web.requests) == 1


@pytest.mark.parametrize("damage", [b"", BODY[:-1], BODY[:-1] + b"x", BODY + b"x"])
def test_a_damaged_cached_file_is_fetched_again(bench: Bench, damage: bytes) -> None:
    """It is noticed by its sum, not by its size alone, and said."""
    bench.serve()
    path = bench.get().path
    path.write_bytes(damage)
    assert not bench.get().cached
    assert path.read_bytes() == BODY
    assert bench.progress.notes == [f"the cached {ASSET} is damaged; fetching it again"]


def test_a_wrong_sum_is_never_cached(bench: Bench) -> None:
    """Neither under the expected name nor under its own."""
    bench.serve(BODY + b"more")
    with pytest.raises(FetchError, match="wrong sha256"):
        bench.get()
    assert bench.archives() == []


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (Reply(status=404), "404 Not Found"),
        (Reply(status=503), "503 Service Unavailable"),
        (page(), "web page"),
        (Reply(BODY, cut=100), "the server gave no whole answer: peer closed"),
        (Reply(BODY, stall=100), "the server sent nothing for 0.2 s"),
    ],
)
def test_failures_name_the_url_and_leave_no_archive(bench: Bench, reply: Reply, what: str) -> None:
    """Exit 3, one line; at most a part that can be continued is left."""
    bench.web.serve(FILE, reply)
    with pytest.raises(FetchError) as caught:
        bench.get(timeout=0.2)
    assert caught.value.exit_code == 3
    assert str(caught.value).startswith(f"fetching {bench.web.url}{FILE}: ")
    assert what in str(caught.value)
    assert caught.value.hint
    assert all(".part" in name for name in bench.archives())


def test_an_interrupted_download_is_continued_by_the_next_run(bench: Bench) -> None:
    """Through the cache: the second run asks for the rest only."""
    bench.web.serve(FILE, Reply(BODY, etag='"one"', cut=1000), Reply(status=500))
    with pytest.raises(FetchError, match="500"):
        bench.get()
    bench.serve()
    assert bench.get().path.read_bytes() == BODY
    assert bench.web.requests[-1].headers["Range"] == "bytes=1000-"
    assert bench.archives() == [f"{SUM}-{ASSET}"]


def test_progress_says_what_is_fetched_for_what(bench: Bench) -> None:
    """In few letters where the caller knows some, so that a bar fits beside them."""
    bench.serve()
    bench.get(wanted=replace(bench.wanted, label="linux/amd64"))
    clear(bench.cache)
    bench.get()
    assert bench.progress.tasks == ["fetching linux/amd64", f"fetching {ASSET}"]


def test_offline_without_the_archive(bench: Bench) -> None:
    """The line says what to do, and nobody is asked."""
    with pytest.raises(FetchError, match=r"no intact copy is cached.*--offline; run once without --offline"):
        bench.get(offline=True)
    assert bench.web.requests == []


# --- insecure -----------------------------------------------------------------------------------------


def test_insecure_takes_what_comes_and_says_so(bench: Bench) -> None:
    """It is cached under the sum that it has."""
    bench.web.serve(FILE, BODY)
    archive = bench.get({}, insecure=True)
    assert (archive.verified, archive.sha256, archive.cached) == ("none", SUM, False)
    assert bench.archives() == [f"{SUM}-{ASSET}"]
    assert bench.progress.notes[0].startswith(f"{ASSET} is not verified: fetching {bench.web.url}{LIST}: ")


def test_insecure_still_believes_a_sum_that_there_is(bench: Bench) -> None:
    """The option allows a missing sum, not a wrong one."""
    bench.serve(BODY + b"more")
    for lock in (LOCK, {}):
        with pytest.raises(FetchError, match="wrong sha256"):
            bench.get(lock, insecure=True)


def test_insecure_and_offline(bench: Bench) -> None:
    """Without a sum, nobody knows which cached file it would be."""
    with pytest.raises(FetchError, match="--offline"):
        bench.get({}, insecure=True, offline=True)


# --- file: mirrors ------------------------------------------------------------------------------------


def test_a_folder_as_mirror_by_its_path(bench: Bench, mirror: Path) -> None:
    """A person need not know how a file: URL is written."""
    archive = bench.get({}, wanted=Wanted(ASSET, TAG, f"{mirror}/"), offline=True)
    assert (archive.verified, archive.url) == ("release", f"{mirror.as_uri()}/{TAG}/{ASSET}")


def test_a_folder_as_mirror(bench: Bench, mirror: Path) -> None:
    """Works offline, with its own SHA256SUMS, blanks in the path and a plus in the name."""
    wanted = Wanted(ASSET, TAG, mirror.as_uri())
    archive = bench.get({}, wanted=wanted, offline=True)
    assert (archive.verified, archive.cached, archive.sha256) == ("release", False, SUM)
    assert bench.get({}, wanted=wanted).cached
    assert not bench.cache.releases.exists()


# --- what is known without the network ----------------------------------------------------------------


def test_known_sum_asks_nobody(bench: Bench) -> None:
    """The lock goes before the list; with neither the answer is None."""
    assert known_sum(bench.wanted, {}, bench.cache) is None
    assert known_sum(bench.wanted, {ASSET: WRONG}, bench.cache) == WRONG
    assert not is_cached(bench.wanted, SUM, bench.cache)
    bench.serve()
    bench.get({})
    asked = len(bench.web.requests)
    assert known_sum(bench.wanted, {}, bench.cache) == SUM
    assert is_cached(bench.wanted, SUM, bench.cache)
    assert len(bench.web.requests) == asked


def test_expected_sum_says_who_vouches(bench: Bench) -> None:
    """Lock, release, or with insecure nobody."""
    bench.serve()

    def ask(wanted: Wanted, lock: sums.Sums) -> object:
        order = Order(wanted, bench.cache, Policy(), bench.progress)
        return expected_sum(order, lock, insecure=True)

    assert ask(bench.wanted, {ASSET: WRONG}) == (WRONG, "lock")
    assert ask(bench.wanted, {}) == (SUM, "release")
    assert ask(Wanted(ASSET, "1", bench.web.url), {}) is None


# --- before anything is fetched -----------------------------------------------------------------------


def test_a_check_fetches_no_archive(bench: Bench) -> None:
    """Nobody is asked for what the lock knows, and for the list alone otherwise."""
    bench.serve()
    bench.check(LOCK)
    assert bench.asked == []
    bench.check({})
    bench.check({})
    assert bench.asked == ["SHA256SUMS"]
    assert bench.archives() == []


def test_a_check_finds_what_the_release_does_not_have(bench: Bench) -> None:
    """With the same line as fetching would, and only a note with --insecure."""
    bench.serve(listed=f"{WRONG}  {ASSET.replace('linux', 'darwin')}\n")
    with pytest.raises(FetchError, match=f"looking for {re.escape(ASSET)} in .*no such asset"):
        bench.check({})
    bench.check({}, insecure=True)
    assert "is not verified: " in bench.progress.notes[0]
    assert ASSET not in bench.asked


def test_a_check_finds_what_a_folder_does_not_have(bench: Bench, mirror: Path) -> None:
    """Though its list or the lock has it, unless it is cached."""
    wanted = Wanted(ASSET, TAG, mirror.as_uri())
    bench.check({}, wanted)
    (mirror / TAG / ASSET).unlink()
    for lock in (LOCK, {}):
        with pytest.raises(FetchError, match=f"{re.escape(ASSET)}: there is no such file"):
            bench.check(lock, wanted)
    bench.serve()
    bench.get()
    bench.check({}, wanted)


def test_a_check_finds_what_is_not_cached(bench: Bench) -> None:
    """In a run that must not use the network."""
    bench.serve()
    for insecure in (False, True):
        with pytest.raises(FetchError, match=r"no intact copy is cached.*--offline"):
            bench.check(LOCK, offline=True, insecure=insecure)
    bench.get()
    bench.check(LOCK, offline=True)
    with pytest.raises(FetchError, match="its sum is not known offline"):
        bench.check({}, offline=True)


# --- side by side -------------------------------------------------------------------------------------


RUN = """
import json, sys
from pathlib import Path
from pyembed_gen.cache import Cache
from pyembed_gen.download import Policy
from pyembed_gen.fetch import fetch
from pyembed_gen.progress import Silent
from pyembed_gen.release import Wanted

class Notes(Silent):
    def note(self, message):
        print(message, flush=True)

base, root, asset, tag, digest = sys.argv[1:]
cache = Cache(Path(root))
archive = fetch(Wanted(asset, tag, base), lock={asset: digest}, cache=cache, policy=Policy(), progress=Notes())
print("cached" if archive.cached else "downloaded", archive.path.stat().st_size)
"""


def test_two_processes_download_it_once(bench: Bench) -> None:
    """The second one waits, says so, and finds it cached."""
    bench.web.serve(FILE, Reply(BODY, delay=0.6))
    command = [sys.executable, "-c", RUN, bench.web.url, str(bench.cache.root), ASSET, TAG, SUM]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=20)[0] for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert said == [
        f"downloaded {len(BODY)}\n",
        f"waiting for another process that is fetching {ASSET}\ncached {len(BODY)}\n",
    ]
    assert len(bench.web.requests) == 1
    assert bench.archives() == [f"{SUM}-{ASSET}"]


def test_threads_download_it_once(bench: Bench) -> None:
    """One process with several jobs is no different."""
    bench.web.serve(FILE, Reply(BODY, delay=0.2))
    results: list[Archive] = []
    threads = [threading.Thread(target=lambda: results.append(bench.get())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(archive.cached for archive in results) == [False, True, True]
    assert bench.progress.notes == [f"waiting for another process that is fetching {ASSET}"] * 2
    assert len(bench.web.requests) == 1


def test_clearing_the_cache_leaves_a_running_download_alone(bench: Bench) -> None:
    """It ends as if nothing had happened."""
    bench.web.serve(FILE, Reply(BODY, delay=0.1))
    results: list[Archive] = []
    thread = threading.Thread(target=lambda: results.append(bench.get(wanted=bench.wanted)))
    thread.start()
    while not bench.web.requests:
        time.sleep(0.01)
    clear(bench.cache)
    thread.join()
    assert results[0].path.read_bytes() == BODY


# --- writing ------------------------------------------------------------------------------------------


def test_a_cache_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    """Exit 5, and the line names the option."""
    (tmp_path / "file").write_bytes(b"")
    bench.cache = Cache(tmp_path / "file" / "cache")
    bench.serve()
    for lock in (LOCK, {}):
        with pytest.raises(WriteError, match=r"using the cache .*--cache-dir or \$PYEMBED_CACHE"):
            bench.get(lock)


def test_a_name_that_is_taken_by_a_folder(bench: Bench) -> None:
    """A cache that somebody tampered with is an error, not a traceback."""
    (bench.cache.archives / f"{SUM}-{ASSET}").mkdir(parents=True)
    bench.serve()
    with pytest.raises(PyembedError) as caught:
        bench.get()
    assert isinstance(caught.value, WriteError)


def test_a_hit_needs_no_lock(bench: Bench) -> None:
    """So that a cache on a read-only disk, or in use by another process, still serves."""
    bench.serve()
    bench.get()
    with exclusive(bench.cache.locks / SUM):
        assert bench.get().cached
