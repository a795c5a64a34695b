"""Downloads end in the right bytes or in one line that says what to do, whatever the server does."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path

import pytest

from pyembed_gen.download import Downloaded, NotFoundError, Policy, download, fetch_text, hash_file, shown
from pyembed_gen.errors import FetchError, PyembedError, UsageError, WriteError
from pyembed_gen.progress import Silent, Task
from web import Proxy, Reply, Web, certificate, closed_port, page, redirect

ZSTD = b"\x28\xb5\x2f\xfd"
ARCHIVE = ZSTD + bytes(range(256)) * 1200  # 300 KB
SUM = hashlib.sha256(ARCHIVE).hexdigest()
OTHER = ZSTD + b"other" * 60_000
PATH = "/20261021/cpython-3.14.9+20261021-x86_64.tar.zst"
QUICK = Policy(attempts=3, timeout=5, backoff=0.5)
IMPATIENT = Policy(attempts=2, timeout=0.2, backoff=0.5)


@dataclass
class Log:
    """Progress and sleep that remember."""

    notes: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    totals: list[int | None] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    advanced: int = 0

    def task(self, label: str, total: int | None = None, *, unit: str = "bytes") -> Task:
        """Begin the only kind of task there is."""
        assert (label, unit) == (PATH.rpartition("/")[2], "bytes")
        self.totals.append(total)
        return self

    def note(self, message: str) -> None:
        """Remember a note."""
        self.notes.append(message)

    def advance(self, amount: int) -> None:
        """Count."""
        assert amount > 0
        self.advanced += amount

    def done(self, note: str = "") -> None:
        """Remember the end."""
        self.ended.append(note)

    def sleep(self, seconds: float) -> None:
        """Remember instead of sleeping."""
        self.slept.append(seconds)


@dataclass
class Bench:
    """A server, a part, and what was said about it."""

    web: Web
    part: Path
    log: Log = field(default_factory=Log)

    @property
    def sidecar(self) -> Path:
        """Where the validators of the part are."""
        return self.part.with_name(self.part.name + ".json")

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request."""
        return [request.headers["Range"] for request in self.web.requests]

    def get(self, url: str = "", *, sha256: str | None = SUM, policy: Policy = QUICK) -> Downloaded:
        """Download the archive."""
        return download(
            url or self.web.url + PATH.replace("+", "%2B"),
            self.part,
            sha256=sha256,
            policy=policy,
            progress=self.log,
            sleep=self.log.sleep,
        )

    def text(self, path: str = "/SHA256SUMS") -> str:
        """Fetch a list."""
        return fetch_text(self.web.url + path, policy=QUICK, progress=self.log, sleep=self.log.sleep)

    def left(self) -> list[str]:
        """Name what is left beside the part."""
        return sorted(path.name for path in self.part.parent.iterdir())

    def fails(self, *words: str, kind: type[PyembedError] = FetchError, **options: object) -> PyembedError:
        """Expect an error that names the URL and holds ``words``, and has a hint."""
        with pytest.raises(kind) as caught:
            self.get(**options)  # type: ignore[arg-type]
        message = str(caught.value)
        for word in (*words, PATH.rpartition("%")[2].rpartition("+")[2]):
            assert word in message
        assert caught.value.hint
        assert "\n" not in message
        return caught.value


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    (tmp_path / "parts").mkdir()
    with Web() as web:
        yield Bench(web, tmp_path / "parts" / "archive.part")


@pytest.fixture
def tagged() -> Reply:
    return Reply(ARCHIVE, etag='"one"')


def gzip_like() -> bytes:
    return b"\x1f\x8b" + ARCHIVE


def test_a_plain_download(bench: Bench, tagged: Reply) -> None:
    """The part has the bytes, the answer has sum and size, the sidecar is gone, the progress is complete."""
    bench.web.serve(PATH, tagged)
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
    body = gzip_like()
    bench.web.serve(PATH, Reply(body, chunked=True))
    assert bench.get(sha256=None) == Downloaded(hashlib.sha256(body).hexdigest(), len(body))
    assert bench.log.totals == [None]


def test_bytes_are_taken_as_they_are(bench: Bench) -> None:
    """A server that says Content-Encoding: gzip of a .tar.gz does not get it unpacked."""
    body = gzip_like()
    bench.web.serve(PATH, Reply(body, headers={"Content-Encoding": "gzip", "Content-Type": "application/x-gzip"}))
    assert bench.get(sha256=None).size == len(body)


def test_an_archive_with_the_label_of_a_page_is_an_archive(bench: Bench) -> None:
    """Content decides, not Content-Type: some servers label everything text/html."""
    bench.web.serve(PATH, Reply(ARCHIVE, headers={"Content-Type": "text/html"}))
    assert bench.get().sha256 == SUM


# --- broken off and resumed ---------------------------------------------------------------------------


def test_a_cut_download_goes_on_where_it_ended(bench: Bench, tagged: Reply) -> None:
    """The rest is asked for with Range and If-Range, once, and the whole has the right sum."""
    bench.web.serve(PATH, replace(tagged, cut=100_000), tagged)
    assert bench.get().sha256 == SUM
    assert bench.part.read_bytes() == ARCHIVE
    assert bench.ranges == [None, "bytes=100000-"]
    assert bench.web.requests[1].headers["If-Range"] == '"one"'
    assert bench.log.advanced == len(ARCHIVE)
    assert bench.log.slept == [0.5]
    assert "trying again in 0.5 s" in bench.log.notes[0]


def test_a_stalled_download_goes_on_where_it_ended(bench: Bench, tagged: Reply) -> None:
    """No byte for the time-out counts as broken off."""
    bench.web.serve(PATH, replace(tagged, stall=70_000), tagged)
    assert bench.get(policy=IMPATIENT).sha256 == SUM
    assert bench.ranges == [None, "bytes=70000-"]
    assert "nothing came for 0.2 s" in bench.log.notes[0]


def test_a_date_will_do_where_there_is_no_strong_etag(bench: Bench) -> None:
    """A weak entity tag must not be used for ranges."""
    date = formatdate(0, usegmt=True)
    reply = Reply(ARCHIVE, etag='W/"weak"', modified=date)
    bench.web.serve(PATH, replace(reply, cut=100), reply)
    assert bench.get().sha256 == SUM
    assert bench.web.requests[1].headers["If-Range"] == date


@pytest.mark.parametrize("etag", ["", 'W/"weak"', '"\xe9"'])
def test_without_a_validator_it_starts_over(bench: Bench, etag: str) -> None:
    """Nobody could say that the rest belongs to the beginning."""
    reply = Reply(ARCHIVE, etag=etag)
    bench.web.serve(PATH, replace(reply, cut=100_000), reply)
    assert bench.get().sha256 == SUM
    assert bench.ranges == [None, None]
    assert bench.log.advanced == len(ARCHIVE), "progress does not count bytes twice"


def test_a_server_without_ranges_sends_everything_again(bench: Bench, tagged: Reply) -> None:
    """A 200 to a Range request replaces what was there."""
    bench.web.serve(PATH, replace(tagged, cut=100_000), replace(tagged, ranges=False))
    assert bench.get().sha256 == SUM
    assert bench.ranges == [None, "bytes=100000-"]


def test_a_file_that_changed_is_fetched_whole(bench: Bench, tagged: Reply) -> None:
    """If-Range with the old tag makes the server send the new file from its start."""
    bench.web.serve(PATH, Reply(OTHER, etag='"zero"', cut=100_000), tagged)
    assert bench.get().sha256 == SUM
    assert bench.part.read_bytes() == ARCHIVE


def left_behind(bench: Bench, body: bytes, etag: str = '"one"') -> None:
    """Leave what a killed run would leave."""
    bench.part.write_bytes(body)
    facts = {"url": bench.web.url + PATH.replace("+", "%2B"), "etag": etag, "last_modified": None}
    bench.sidecar.write_text(json.dumps(facts), encoding="utf-8")


def test_a_later_process_goes_on(bench: Bench, tagged: Reply) -> None:
    """The part and its sidecar are enough; the bytes that are there are hashed, not asked for."""
    left_behind(bench, ARCHIVE[:200_000])
    bench.web.serve(PATH, tagged)
    assert bench.get() == Downloaded(SUM, len(ARCHIVE))
    assert bench.ranges == ["bytes=200000-"]
    assert bench.left() == ["archive.part"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has other interrupts")
def test_a_killed_process_leaves_what_the_next_one_needs(bench: Bench, tagged: Reply) -> None:
    """Ctrl-C in a real process: it ends as interrupted, and the next one asks for the rest only."""
    bench.web.serve(PATH, replace(tagged, stall=150_000), tagged)
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


def test_a_complete_part_needs_no_server(bench: Bench) -> None:
    """A run that was killed after the last byte has nothing left to ask for."""
    left_behind(bench, ARCHIVE)
    assert bench.get() == Downloaded(SUM, len(ARCHIVE))
    assert bench.web.requests == []
    assert bench.left() == ["archive.part"]


def test_a_part_that_is_too_long_is_dropped(bench: Bench, tagged: Reply) -> None:
    """416 to the rest: from the start."""
    left_behind(bench, ARCHIVE + b"more")
    bench.web.serve(PATH, tagged)
    assert bench.get().sha256 == SUM
    assert bench.ranges == [f"bytes={len(ARCHIVE) + 4}-", None]


def test_a_beginning_that_does_not_fit_is_dropped(bench: Bench, tagged: Reply) -> None:
    """A damaged part, vouched for by the right tag, costs one clean download and no error."""
    left_behind(bench, OTHER[:100_000])
    bench.web.serve(PATH, tagged)
    assert bench.get().sha256 == SUM
    assert bench.part.read_bytes() == ARCHIVE
    assert bench.ranges == ["bytes=100000-", None]


@pytest.mark.parametrize(
    "sidecar",
    [
        "",
        "[]",
        "{}",
        '{"url": 1, "etag": "x"}',
        '{"url": "http://elsewhere/a", "etag": "\\"one\\"", "last_modified": null}',
    ],
)
def test_a_sidecar_that_makes_no_sense_is_ignored(bench: Bench, tagged: Reply, sidecar: str) -> None:
    """Also one of another URL."""
    left_behind(bench, ARCHIVE[:1000])
    bench.sidecar.write_text(sidecar, encoding="utf-8")
    bench.web.serve(PATH, tagged)
    assert bench.get().sha256 == SUM
    assert bench.ranges == [None]


@pytest.mark.parametrize("body", [b"", b"\x28\xb5", b"<html>"])
def test_a_part_that_is_no_beginning_of_an_archive_is_ignored(bench: Bench, tagged: Reply, body: bytes) -> None:
    """Such as one whose blocks a crash of the machine lost."""
    left_behind(bench, body)
    bench.web.serve(PATH, tagged)
    assert bench.get().sha256 == SUM
    assert bench.ranges == [None]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 5-299999/307204"},
        {"Content-Range": "lines 1-2/3"},
        {"Content-Range": ""},
        {"ETag": '"two"', "Content-Range": "bytes 1000-307203/307204"},
    ],
)
def test_a_206_of_something_else_is_dropped(bench: Bench, tagged: Reply, headers: dict[str, str]) -> None:
    """A server or proxy that gets ranges wrong costs one clean download and no error."""
    left_behind(bench, ARCHIVE[:1000])
    bench.web.serve(PATH, Reply(ARCHIVE[1000:], status=206, headers=headers), tagged)
    assert bench.get().sha256 == SUM
    assert bench.ranges == ["bytes=1000-", None]


def test_a_206_of_unknown_length_is_fine(bench: Bench) -> None:
    """Content-Range may say `*` instead of the size of the whole."""
    left_behind(bench, ARCHIVE[:1000])
    headers = {"Content-Range": "bytes 1000-307203/*"}
    bench.web.serve(PATH, Reply(ARCHIVE[1000:], status=206, headers=headers))
    assert bench.get().sha256 == SUM


def test_a_206_of_less_than_was_asked_for_is_continued(bench: Bench, tagged: Reply) -> None:
    """A server may answer with a part of the range; the size of the whole shows that more is to come."""
    left_behind(bench, ARCHIVE[:1000])
    headers = {"Content-Range": f"bytes 1000-1999/{len(ARCHIVE)}"}
    bench.web.serve(PATH, Reply(ARCHIVE[1000:2000], status=206, headers=headers), tagged)
    assert bench.get().sha256 == SUM
    assert bench.ranges == ["bytes=1000-", "bytes=2000-"]


def test_an_unasked_206_is_refused(bench: Bench) -> None:
    """Part of a file is not a file."""
    bench.web.serve(PATH, Reply(ARCHIVE, status=206))
    bench.fails("the server answered 206 Partial Content")


def test_a_line_that_drops_every_few_megabytes_still_ends(bench: Bench) -> None:
    """Attempts count only in a row: each that brought a megabyte is a new beginning."""
    body = ZSTD + os.urandom(5 << 20)
    reply = Reply(body, etag='"big"')
    bench.web.serve(PATH, replace(reply, cut=1_200_000))
    assert bench.get(sha256=hashlib.sha256(body).hexdigest(), policy=replace(QUICK, attempts=2)).size == len(body)
    assert len(bench.web.requests) == 5
    assert bench.log.slept == [0.5] * 4


# --- retries ------------------------------------------------------------------------------------------


def test_server_errors_are_retried_with_growing_pauses(bench: Bench, tagged: Reply) -> None:
    """500 and 503 may pass."""
    bench.web.serve(PATH, Reply(status=500), Reply(status=503), tagged)
    assert bench.get().sha256 == SUM
    assert bench.log.slept == [0.5, 1.0]
    assert "the server answered 503 Service Unavailable; trying again in 1 s" in bench.log.notes[1]


def test_it_gives_up_after_the_last_attempt(bench: Bench) -> None:
    """The line says how often it was tried and what to do."""
    bench.web.serve(PATH, Reply(status=502))
    bench.fails("the server answered 502 Bad Gateway (3 tries)", "try again later")
    assert len(bench.web.requests) == 3
    assert bench.log.slept == [0.5, 1.0], "no pause after the last one"


def test_one_attempt_is_not_called_tries(bench: Bench) -> None:
    """With $PYEMBED_HTTP_RETRIES=0 there is one attempt."""
    bench.web.serve(PATH, Reply(status=502))
    error = bench.fails(policy=replace(QUICK, attempts=1))
    assert "tries" not in error.args[0]


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("100000", 60, 60),
        ("soon", 0.5, 0.5),
        (formatdate(time.time() + 36_000, usegmt=True), 60, 60),
        (formatdate(0, usegmt=True), 0, 0),
    ],
)
def test_retry_after_is_honoured_up_to_a_minute(
    bench: Bench, tagged: Reply, value: str, low: float, high: float
) -> None:
    """In seconds or as a date; what cannot be read is as if it were not there."""
    bench.web.serve(PATH, Reply(status=429, headers={"Retry-After": value}), tagged)
    assert bench.get().sha256 == SUM
    assert low <= bench.log.slept[0] <= high


def test_a_server_that_never_answers(bench: Bench) -> None:
    """Each attempt ends after the time-out."""
    bench.web.serve(PATH, Reply(delay=5))
    bench.fails("nothing came for 0.2 s (2 tries)", policy=IMPATIENT)


def test_nobody_listens(bench: Bench) -> None:
    """The line says that the connection failed and mentions proxies."""
    url = f"http://127.0.0.1:{closed_port()}{PATH}"
    bench.fails("the connection failed", "HTTPS_PROXY", url=url)
    assert len(bench.log.slept) == 2


def test_always_cut_off_at_the_same_place(bench: Bench) -> None:
    """What arrived stays for the next run; the line says so."""
    bench.web.serve(PATH, Reply(ARCHIVE, cut=5000))
    bench.fails("the connection failed", "(3 tries)", "what arrived is kept")
    assert bench.part.stat().st_size == 5000
    assert bench.log.ended == ["failed"]


# --- answers that are wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 410])
def test_not_found_is_told_apart(bench: Bench, status: int) -> None:
    """It is not retried, and the hint is about names, not about the network."""
    bench.web.serve(PATH, Reply(status=status))
    bench.fails(f"the server answered {status}", "--pbs", kind=NotFoundError)
    assert len(bench.web.requests) == 1
    assert bench.left() == []


@pytest.mark.parametrize(("status", "word"), [(403, "password"), (401, "password"), (400, "check"), (304, "check")])
def test_refusals_are_not_retried(bench: Bench, status: int, word: str) -> None:
    """Asking again would not help."""
    bench.web.serve(PATH, Reply(status=status))
    bench.fails(f"the server answered {status}", word)
    assert len(bench.web.requests) == 1


def test_a_wrong_sum_is_deleted(bench: Bench) -> None:
    """The line has both sums, and nothing of the file is left."""
    bench.web.serve(PATH, Reply(OTHER, etag='"one"'))
    actual = hashlib.sha256(OTHER).hexdigest()
    bench.fails(f"wrong sha256: expected {SUM}, got {actual}", "do not use that file")
    assert bench.left() == []
    assert len(bench.web.requests) == 1


def test_a_wrong_sum_after_resuming_is_deleted_too(bench: Bench) -> None:
    """It gets one clean download, which must be right."""
    left_behind(bench, OTHER[:1000])
    bench.web.serve(PATH, Reply(OTHER, etag='"one"'))
    bench.fails("wrong sha256")
    assert bench.ranges == ["bytes=1000-", None]
    assert bench.left() == []


@pytest.mark.parametrize("reply", [page(), page(""), Reply(b"\n <?xml version='1.0'?>"), Reply(b"<a>", chunked=True)])
def test_a_web_page_is_called_one(bench: Bench, reply: Reply) -> None:
    """A login page or a captive portal, by its label or by its first byte."""
    bench.web.serve(PATH, reply)
    bench.fails("the answer is a web page, not an archive", "login page")
    assert bench.left() == []


def test_other_content_is_shown(bench: Bench) -> None:
    """The first bytes tell what it may be."""
    bench.web.serve(PATH, Reply(b"PK\x03\x04 a zip"))
    bench.fails("no zstd or gzip archive (it starts with 50 4b 03 04)")
    assert bench.left() == []


def test_an_empty_answer_is_called_empty(bench: Bench) -> None:
    """No bytes at all are no archive."""
    bench.web.serve(PATH, Reply(b""))
    bench.fails("the answer is empty")


def test_an_announced_size_over_the_limit_is_refused_at_once(bench: Bench) -> None:
    """Before anything is written."""
    bench.web.serve(PATH, Reply(ARCHIVE))
    bench.fails(f"it has {len(ARCHIVE)} bytes, and 1000 are the limit", policy=replace(QUICK, max_bytes=1000))
    assert bench.left() == []


def test_an_endless_answer_is_refused_at_the_limit(bench: Bench) -> None:
    """The disk is not filled."""
    bench.web.serve(PATH, Reply(ARCHIVE, endless=True))
    bench.fails("it goes on after 1000000 bytes", policy=replace(QUICK, max_bytes=1_000_000))
    assert bench.left() == []


def test_more_than_announced_is_not_read(bench: Bench) -> None:
    """What comes after Content-Length belongs to nothing; the sum of the rest does not fit."""
    bench.web.serve(PATH, Reply(ARCHIVE, announce=1000))
    bench.fails("wrong sha256", "(1000 bytes)")


def test_more_than_announced_in_chunks_is_refused(bench: Bench) -> None:
    """Content-Length and the chunks of one answer contradict each other."""
    bench.web.serve(PATH, Reply(ARCHIVE, chunked=True, headers={"Content-Length": "1000"}))
    bench.fails("it is longer than the 1000 bytes that were announced")
    assert bench.left() == []


def test_chunks_that_end_early_are_noticed(bench: Bench, tagged: Reply) -> None:
    """A missing last chunk is a cut connection, not the end of the file."""
    bench.web.serve(PATH, replace(tagged, body=ARCHIVE[:70_000], chunked=True, cut=1), tagged)
    assert bench.get().sha256 == SUM
    assert bench.ranges == [None, "bytes=70000-"]


# --- redirects, proxies, TLS --------------------------------------------------------------------------


def test_redirects_are_followed(bench: Bench, tagged: Reply) -> None:
    """Relative and absolute, to another server; the Range goes along."""
    left_behind(bench, ARCHIVE[:1000])
    with Web() as storage:
        storage.serve("/blob", tagged)
        bench.web.serve(PATH, redirect("/next", 301))
        bench.web.serve("/next", redirect(storage.url + "/blob?signature=secret", 307))
        assert bench.get().sha256 == SUM
        assert storage.requests[0].headers["Range"] == "bytes=1000-"


def test_a_redirect_loop_ends(bench: Bench) -> None:
    """After ten redirects."""
    bench.web.serve(PATH, redirect(PATH.replace("+", "%2B")))
    bench.fails("it was redirected more than 10 times")
    assert len(bench.web.requests) == 11


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_a_redirect_away_from_the_web_is_refused(bench: Bench, target: str) -> None:
    """A server must not make us read local files."""
    bench.web.serve(PATH, redirect(target))
    bench.fails("it was redirected from http to", "which is refused")


def test_a_redirect_to_nowhere(bench: Bench) -> None:
    """A Location that is no URL ends in an error, not in a traceback."""
    bench.web.serve(PATH, redirect("http://host:port/"))
    bench.fails("Invalid URL in location header")


@contextmanager
def tls_web(folder: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool) -> Iterator[Web]:
    made = certificate(folder)
    if made is None:
        pytest.skip("no openssl here")
    path, context = made
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with Web(context) as web:
        yield web


def test_https_with_a_certificate_of_the_organisation(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE is honoured; a redirect back to http is refused and its signature is not shown."""
    with tls_web(tmp_path, monkeypatch, trusted=True) as web:
        bench.web.serve(PATH, Reply(ARCHIVE))
        url = web.serve(PATH, Reply(ARCHIVE), redirect(bench.web.url + PATH + "?signature=secret"))
        assert bench.get(url).sha256 == SUM
        error = bench.fails("it was redirected from https to http://127.0.0.1, which is refused", url=url)
    assert "secret" not in str(error)
    assert bench.web.requests == []


def test_a_certificate_that_is_not_trusted(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not retried, and the hint names SSL_CERT_FILE."""
    with tls_web(tmp_path, monkeypatch, trusted=False) as web:
        bench.fails("the server's certificate is not trusted", "SSL_CERT_FILE", url=web.serve(PATH, Reply(ARCHIVE)))
    assert bench.log.slept == []


def test_a_proxy_is_used(bench: Bench, tagged: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is honoured, and NO_PROXY too."""
    bench.web.serve(PATH, tagged)
    with Proxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert bench.get().sha256 == SUM
        assert proxy.urls == [bench.web.url + PATH.replace("+", "%2B")]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert bench.get().sha256 == SUM
        assert len(proxy.urls) == 1


@pytest.mark.parametrize(("status", "tries"), [(407, 1), (502, 3)])
def test_a_proxy_that_refuses(bench: Bench, monkeypatch: pytest.MonkeyPatch, status: int, tries: int) -> None:
    """A wrong password of the proxy is not retried; a proxy in trouble is."""
    with Proxy(status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        bench.fails(str(status), "HTTPS_PROXY", url="https://host.invalid" + PATH)
        assert len(proxy.urls) == tries


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTP_PROXY", "socks5://user:hush@127.0.0.1:1"), ("HTTP_PROXY", "gopher://u:hush@x"), ("SSL_CERT_FILE", "/none")],
)
def test_settings_that_cannot_be_used(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """An environment with a mistake in it is named, without its secrets."""
    monkeypatch.setenv(name, value)
    error = bench.fails("the proxy or certificate settings cannot be used", "HTTP_PROXY")
    assert "hush" not in str(error)


def test_credentials_are_sent_and_not_shown(bench: Bench, tagged: Reply) -> None:
    """Not in messages, and not in the sidecar."""
    bench.web.serve(PATH, Reply(status=503), replace(tagged, cut=1000), Reply(status=403))
    url = bench.web.url.replace("//", "//user:hush@") + PATH
    error = bench.fails("//***@127.0.0.1", "403", url=url)
    assert bench.web.requests[0].headers["Authorization"].startswith("Basic ")
    assert bench.sidecar.exists()
    for text in (str(error), *bench.log.notes, bench.sidecar.read_text(encoding="utf-8")):
        assert "hush" not in text


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://u:p@host/a", "https://***@host/a"),
        ("https://token@host:1/a@b", "https://***@host:1/a@b"),
        ("https://u:p@q@host", "https://***@host"),
        ("https://host/a@b", "https://host/a@b"),
        ("file:///a@b", "file:///a@b"),
    ],
)
def test_shown(url: str, safe: str) -> None:
    """Everything before the last @ of the authority is hidden."""
    assert shown(url) == safe


@pytest.mark.parametrize("url", ["ftp://host/x", "host/x", "http://[x", "C:\\mirror"])
def test_another_kind_of_url_is_a_usage_error(bench: Bench, url: str) -> None:
    """Exit 2: it is --mirror that is wrong."""
    with pytest.raises(UsageError, match="not an https, http or file URL"):
        bench.get(url)
    with pytest.raises(UsageError, match="not an https, http or file URL"):
        fetch_text(url, policy=QUICK, progress=Silent())


@pytest.mark.parametrize("base", ["http://", "http://host:port", "http://\x7f"])
def test_a_url_that_cannot_be_asked_for(bench: Bench, base: str) -> None:
    """It is not retried."""
    bench.fails("not a URL that can be asked for", url=base + PATH)
    assert bench.log.slept == []


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


# --- writing ------------------------------------------------------------------------------------------


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Let no file grow over ``size`` bytes, as a quota would."""
    import resource  # noqa: PLC0415 - only on POSIX

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.skipif(os.name != "posix", reason="needs setrlimit")
def test_a_full_disk_is_a_write_error(bench: Bench, tagged: Reply) -> None:
    """It is not a matter of the network: exit 5, with the folder, and no retry."""
    bench.web.serve(PATH, tagged)
    with small_disk(100_000), pytest.raises(WriteError, match=r"writing .*archive[.]part: File too large; free some"):
        bench.get()
    assert len(bench.web.requests) == 1
    assert bench.get().sha256 == SUM, "and the next run goes on"
    assert bench.ranges[1] is not None


def test_old_bytes_never_stand_beside_a_new_validator(bench: Bench, tagged: Reply) -> None:
    """A run that ends between the two leaves an empty part, not one that the next run would trust."""
    bench.web.serve(PATH, tagged)
    bench.part.write_bytes(OTHER)
    bench.sidecar.mkdir()
    with pytest.raises(WriteError, match="Is a directory"):
        bench.get()
    assert bench.part.read_bytes() == b""


def test_a_part_that_cannot_be_made_is_a_write_error(bench: Bench, tagged: Reply) -> None:
    """The message names it."""
    bench.web.serve(PATH, tagged)
    bench.part.mkdir()
    with pytest.raises(WriteError, match=r"writing .*archive[.]part: Is a directory"):
        bench.get()


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
        (Reply(b"cut off", cut=3), "the connection failed"),
    ],
)
def test_text_that_is_none(bench: Bench, reply: Reply, what: str) -> None:
    """Each with its reason and the URL."""
    bench.web.serve("/SHA256SUMS", reply)
    with pytest.raises(FetchError, match=f"fetching {bench.web.url}/SHA256SUMS: .*{what}"):
        bench.text()


# --- policy -------------------------------------------------------------------------------------------


def test_policy_from_the_environment() -> None:
    """Unset and empty mean the defaults; retries come after the first attempt."""
    assert Policy.from_environ({}) == Policy() == Policy(5, 30.0, 0.5, 2 << 30)
    assert Policy.from_environ({"PYEMBED_HTTP_TIMEOUT": "", "PYEMBED_HTTP_RETRIES": ""}) == Policy()
    chosen = Policy.from_environ({"PYEMBED_HTTP_TIMEOUT": "2.5", "PYEMBED_HTTP_RETRIES": "0"})
    assert (chosen.timeout, chosen.attempts) == (2.5, 1)


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf"])
def test_a_time_out_that_is_none(value: str) -> None:
    """Exit 2, with the name of the variable."""
    with pytest.raises(UsageError, match="PYEMBED_HTTP_TIMEOUT"):
        Policy.from_environ({"PYEMBED_HTTP_TIMEOUT": value})


@pytest.mark.parametrize("value", ["-1", "1.5", "many"])
def test_retries_that_are_none(value: str) -> None:
    """Exit 2, with the name of the variable."""
    with pytest.raises(UsageError, match="PYEMBED_HTTP_RETRIES"):
        Policy.from_environ({"PYEMBED_HTTP_RETRIES": value})


def test_pauses_double_up_to_a_minute() -> None:
    """However many attempts are allowed."""
    wait: Callable[[int, float | None], float] = Policy().wait
    assert [wait(failures, None) for failures in (1, 2, 3, 8, 5000)] == [0.5, 1.0, 2.0, 60.0, 60.0]


def test_hash_file(tmp_path: Path) -> None:
    """Of a file of more than one block."""
    body = os.urandom((1 << 20) + 7)
    (tmp_path / "file").write_bytes(body)
    assert hash_file(tmp_path / "file") == Downloaded(hashlib.sha256(body).hexdigest(), len(body))


def test_httpx_is_imported_only_when_it_is_needed() -> None:
    """A run that has nothing to fetch must start fast."""
    script = "import sys, pyembed_gen.fetch; sys.exit('httpx' in sys.modules or 'urllib.request' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
