"""Downloads end in the right bytes or in one line that says what to do, whatever the server does."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from downloading import ARCHIVE, GZIP, IMPATIENT, OTHER, PATH, QUICK, SUM, TAGGED, Bench, serving
from pyembed_gen.download import Downloaded, check_file, fetch_text, hash_file
from pyembed_gen.errors import FetchError
from pyembed_gen.progress import Silent
from pyembed_gen.url import NotFoundError, host
from web import Reply, page


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with serving(tmp_path, monkeypatch) as made:
        yield made


def test_a_plain_download(bench: Bench) -> None:
    """The part has the bytes, the answer has sum and size, the sidecar is gone, the progress is complete."""
    bench.web.serve(PATH, TAGGED)
    assert bench.get() == Downloaded(SUM, len(ARCHIVE))
    assert bench.part.read_bytes() == ARCHIVE
    assert bench.left() == ["archive.part"]
    assert (bench.log.totals, bench.log.advanced, bench.log.ended) == ([len(ARCHIVE)], len(ARCHIVE), [""])
    headers = bench.web.requests[0].headers
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"].startswith("pyembed-gen/")
    assert bench.log.notes == bench.log.slept == []


def test_without_a_sum_any_archive_will_do(bench: Bench) -> None:
    """The sum is computed; gzip is an archive too; a server may leave out Content-Length."""
    body = GZIP
    bench.web.serve(PATH, Reply(body, chunked=True))
    assert bench.get(sha256=None) == Downloaded(hashlib.sha256(body).hexdigest(), len(body))
    assert bench.log.totals == [None]


def test_bytes_are_taken_as_they_are(bench: Bench) -> None:
    """A server that says Content-Encoding: gzip of a .tar.gz does not get it unpacked."""
    body = GZIP
    bench.web.serve(PATH, Reply(body, headers={"Content-Encoding": "gzip", "Content-Type": "application/x-gzip"}))
    assert bench.get(sha256=None).size == len(body)


def test_an_archive_with_the_label_of_a_page_is_an_archive(bench: Bench) -> None:
    """Content decides, not Content-Type: some servers label everything text/html."""
    bench.web.serve(PATH, Reply(ARCHIVE, headers={"Content-Type": "text/html"}))
    assert bench.get().sha256 == SUM


# --- broken off and resumed ---------------------------------------------------------------------------


def test_a_cut_download_goes_on_where_it_ended(bench: Bench) -> None:
    """The rest is asked for with Range and If-Range, once, and the whole has the right sum."""
    bench.web.serve(PATH, replace(TAGGED, cut=100_000), TAGGED)
    assert bench.get().sha256 == SUM
    assert bench.part.read_bytes() == ARCHIVE
    assert bench.ranges == [None, "bytes=100000-"]
    assert bench.web.requests[1].headers["If-Range"] == '"one"'
    assert bench.log.advanced == len(ARCHIVE)
    assert bench.log.slept == [0.5]
    assert bench.log.notes == [f"{host(bench.web.url)} gave no whole answer; trying again"]


def test_a_stalled_download_goes_on_where_it_ended(bench: Bench) -> None:
    """No byte for the time-out counts as broken off."""
    bench.web.serve(PATH, replace(TAGGED, stall=70_000), TAGGED)
    assert bench.get(policy=IMPATIENT).sha256 == SUM
    assert bench.ranges == [None, "bytes=70000-"]
    assert bench.log.notes == [f"{host(bench.web.url)} sent nothing for 0.2 s; trying again"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has other interrupts")
def test_a_killed_process_leaves_what_the_next_one_needs(bench: Bench) -> None:
    """Ctrl-C in a real process: it ends as interrupted, and the next one asks for the rest only."""
    bench.web.serve(PATH, replace(TAGGED, stall=150_000), TAGGED)
    script = """
import sys
from pathlib import Path
from pyembed_gen.download import Policy, download
from pyembed_gen.progress import Silent
download(sys.argv[1], Path(sys.argv[2]), sha256=None, policy=Policy(), progress=Silent())
"""
    url = bench.web.url + PATH.replace("+", "%2B")
    command = [sys.executable, "-c", script, url, str(bench.part)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 10
        while not (bench.part.exists() and bench.part.stat().st_size >= 130_000):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert "KeyboardInterrupt" in errors
    assert bench.part.stat().st_size == 150_000
    assert bench.get().sha256 == SUM
    assert bench.ranges == [None, "bytes=150000-"]


def test_always_cut_off_at_the_same_place(bench: Bench) -> None:
    """What arrived stays for the next run; the line says so."""
    bench.web.serve(PATH, Reply(ARCHIVE, cut=5000))
    bench.fails("the server gave no whole answer: ", "(3 tries)", "what arrived is kept")
    assert bench.part.stat().st_size == 5000
    assert bench.log.ended == ["failed"]


# --- file: --------------------------------------------------------------------------------------------


def test_a_file_url_is_copied(bench: Bench, tmp_path: Path) -> None:
    """Percent-encoded names are decoded, and a plus stays a plus."""
    folder = tmp_path / "my mirror"
    folder.mkdir()
    source = folder / PATH.rpartition("/")[2]
    source.write_bytes(ARCHIVE)
    assert "my%20mirror" in source.as_uri()
    assert bench.get(source.as_uri().replace("%2B", "+")) == Downloaded(SUM, len(ARCHIVE))
    assert bench.part.read_bytes() == source.read_bytes() == ARCHIVE
    assert bench.log.advanced == len(ARCHIVE)


def test_a_missing_file_is_like_a_404(bench: Bench, tmp_path: Path) -> None:
    """The same class, so that callers need not know the scheme."""
    bench.fails("there is no such file", kind=NotFoundError, url=(tmp_path / PATH[1:]).as_uri())
    assert bench.left() == []


def test_a_file_is_checked_like_any_other_source(bench: Bench, tmp_path: Path) -> None:
    """Sum, magic bytes and limit."""
    source = tmp_path / PATH.rpartition("/")[2]
    source.write_bytes(OTHER)
    bench.fails("wrong sha256", url=source.as_uri())
    source.write_bytes(b"text")
    bench.fails("no zstd or gzip archive", url=source.as_uri())
    source.write_bytes(ARCHIVE)
    bench.fails("it goes on after 1000 bytes", url=source.as_uri(), policy=replace(QUICK, max_bytes=1000))
    assert bench.left() == []


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("file://server/share" + PATH, "it names another machine"),
        ("file:///%00" + PATH, "the file cannot be read"),
    ],
)
def test_file_urls_that_cannot_be_read(bench: Bench, url: str, what: str) -> None:
    """Each with its reason."""
    bench.fails(what, url=url)


def test_a_folder_is_not_a_file(bench: Bench, tmp_path: Path) -> None:
    """A folder by the name of the archive cannot be read."""
    folder = tmp_path / PATH.rpartition("/")[2]
    folder.mkdir()
    bench.fails("the file cannot be read", url=folder.as_uri())


def test_a_file_can_be_looked_for_alone(tmp_path: Path) -> None:
    """With the answer that fetching it would give, and no part."""
    source = tmp_path / "a+b"
    with pytest.raises(NotFoundError, match="there is no such file"):
        check_file(source.as_uri())
    source.write_bytes(b"")
    check_file(source.as_uri())


def test_hash_file(tmp_path: Path) -> None:
    """Of a file of more than one block."""
    body = os.urandom((1 << 20) + 7)
    (tmp_path / "file").write_bytes(body)
    assert hash_file(tmp_path / "file") == Downloaded(hashlib.sha256(body).hexdigest(), len(body))


# --- text ---------------------------------------------------------------------------------------------


def test_text_is_fetched(bench: Bench, tmp_path: Path) -> None:
    """Over http, with retries, and from files."""
    bench.web.serve("/SHA256SUMS", Reply(status=503), Reply("é\n".encode()))
    assert bench.text() == "é\n"
    assert bench.log.slept == [0.5]
    (tmp_path / "SHA256SUMS").write_bytes(b"x")
    assert fetch_text((tmp_path / "SHA256SUMS").as_uri(), policy=QUICK, progress=Silent()) == "x"


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (page(), "a web page, not a list of sums"),
        (page(""), "a web page, not a list of sums"),
        (Reply(b"  <html>"), "a web page, not a list of sums"),
        (Reply(b"\xff\xfe"), "the answer is not text"),
        (Reply(b"x" * 100_000, endless=True), "it goes on after 4194304 bytes"),
        (Reply(status=404), "the server answered 404 Not Found"),
        (Reply(b"cut off", cut=3), "the server gave no whole answer"),
    ],
)
def test_text_that_is_none(bench: Bench, reply: Reply, what: str) -> None:
    """Each with its reason and the URL."""
    bench.web.serve("/SHA256SUMS", reply)
    with pytest.raises(FetchError, match=f"fetching {bench.web.url}/SHA256SUMS: .*{what}"):
        bench.text()


# --- at the start -------------------------------------------------------------------------------------


def test_httpx_is_imported_only_when_it_is_needed() -> None:
    """A run that has nothing to fetch must start fast."""
    script = "import sys, pyembed_gen.fetch; sys.exit('httpx' in sys.modules or 'urllib.request' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
