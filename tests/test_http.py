"""What may pass is tried again, what will not is told at once, and nobody leads the client astray."""

import hashlib
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from downloading import ARCHIVE, IMPATIENT, PATH, QUICK, SUM, TAGGED, ZSTD, Bench, serving
from pyembed_gen.errors import UsageError
from pyembed_gen.http import Policy
from pyembed_gen.url import NotFoundError, host
from web import CERTIFICATE, Proxy, Reply, Web, closed_port, redirect, tls


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with serving(tmp_path, monkeypatch) as made:
        yield made


def test_server_errors_are_retried_with_growing_pauses(bench: Bench) -> None:
    """500 and 503 may pass."""
    bench.web.serve(PATH, Reply(status=500), Reply(status=503), TAGGED)
    assert bench.get().sha256 == SUM
    assert bench.log.slept == [0.5, 1.0]
    name = host(bench.web.url)
    assert bench.log.notes == [
        f"{name} answered 500 Internal Server Error; trying again",
        f"{name} answered 503 Service Unavailable; trying again",
    ]


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
def test_retry_after_is_honoured_up_to_a_minute(bench: Bench, value: str, low: float, high: float) -> None:
    """In seconds or as a date; what cannot be read is as if it were not there."""
    bench.web.serve(PATH, Reply(status=429, headers={"Retry-After": value}), TAGGED)
    assert bench.get().sha256 == SUM
    assert low <= bench.log.slept[0] <= high


def test_a_server_that_never_answers(bench: Bench) -> None:
    """Each attempt ends after the time-out."""
    bench.web.serve(PATH, Reply(delay=5))
    bench.fails("the server sent nothing for 0.2 s (2 tries)", policy=IMPATIENT)


def test_nobody_listens(bench: Bench) -> None:
    """The line mentions proxies and the ways around the network, not bytes that never came; notes are all the same."""
    url = f"http://127.0.0.1:{closed_port()}{PATH}"
    error = bench.fails("the server cannot be reached (", "HTTPS_PROXY", url=url)
    for option in ("--mirror", "--offline", "--source host"):
        assert option in error.hint
    assert "kept" not in error.hint
    assert "Errno" not in error.args[0]
    assert len(bench.log.slept) == 2
    assert len(set(bench.log.notes)) == 1
    assert re.fullmatch(rf"{host(url)} cannot be reached \([^)]+\); trying again", bench.log.notes[0])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what Linux lets wait")
def test_a_host_that_takes_no_connection(bench: Bench) -> None:
    """A firewall that drops everything is a host that cannot be reached."""
    with socket.socket() as listener, ExitStack() as others:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(3):  # fill the queue of those who wait to be accepted
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(address)
        bench.fails(
            "the server cannot be reached (nothing came for 0.2 s) (2 tries)",
            url=f"http://127.0.0.1:{address[1]}{PATH}",
            policy=IMPATIENT,
        )


def test_a_line_that_drops_every_few_megabytes_still_ends(bench: Bench) -> None:
    """Attempts count only in a row: each that brought a megabyte is a new beginning."""
    body = ZSTD + os.urandom(5 << 20)
    reply = Reply(body, etag='"big"')
    bench.web.serve(PATH, replace(reply, cut=1_200_000))
    assert bench.get(sha256=hashlib.sha256(body).hexdigest(), policy=replace(QUICK, attempts=2)).size == len(body)
    assert len(bench.web.requests) == 5
    assert bench.log.slept == [0.5] * 4


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


def test_an_unasked_206_is_refused(bench: Bench) -> None:
    """Part of a file is not a file."""
    bench.web.serve(PATH, Reply(ARCHIVE, status=206))
    bench.fails("the server answered 206 Partial Content")


def test_chunks_that_end_early_are_noticed(bench: Bench) -> None:
    """A missing last chunk is a cut connection, not the end of the file."""
    bench.web.serve(PATH, replace(TAGGED, body=ARCHIVE[:70_000], chunked=True, cut=1), TAGGED)
    assert bench.get().sha256 == SUM
    assert bench.ranges == [None, "bytes=70000-"]


@pytest.mark.parametrize("base", ["http://", "http://host:port", "http://\x7f"])
def test_a_url_that_cannot_be_asked_for(bench: Bench, base: str) -> None:
    """It is not retried."""
    bench.fails("not a URL that can be asked for", url=base + PATH)
    assert bench.log.slept == []


# --- redirects ----------------------------------------------------------------------------------------


def test_redirects_are_followed(bench: Bench) -> None:
    """Relative and absolute, to another server; the Range goes along."""
    bench.leave(ARCHIVE[:1000])
    with Web() as storage:
        storage.serve("/blob", TAGGED)
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


# --- proxies and TLS ----------------------------------------------------------------------------------


def test_https_with_a_certificate_of_the_organisation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE is honoured; a redirect back to http is refused and its signature is not shown."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with Web(tls()) as web:
        bench.web.serve(PATH, Reply(ARCHIVE))
        url = web.serve(PATH, Reply(ARCHIVE), redirect(bench.web.url + PATH + "?signature=secret"))
        assert bench.get(url).sha256 == SUM
        error = bench.fails("it was redirected from https to http://127.0.0.1, which is refused", url=url)
    assert "secret" not in str(error)
    assert bench.web.requests == []


def test_a_certificate_that_is_not_trusted(bench: Bench) -> None:
    """It is not retried, and the hint names SSL_CERT_FILE."""
    with Web(tls()) as web:
        bench.fails("the server's certificate is not trusted", "SSL_CERT_FILE", url=web.serve(PATH, Reply(ARCHIVE)))
    assert bench.log.slept == []


def test_a_proxy_is_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is honoured, and NO_PROXY too."""
    bench.web.serve(PATH, TAGGED)
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
