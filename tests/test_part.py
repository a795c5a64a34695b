"""A beginning is continued only if it belongs to the rest, and bytes that are wrong do not stay."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from downloading import ARCHIVE, OTHER, PATH, QUICK, SUM, TAGGED, Bench, serving
from pyembed_gen.download import Downloaded
from pyembed_gen.errors import WriteError
from web import Reply, page


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with serving(tmp_path, monkeypatch) as made:
        yield made


# --- what a later try can use -------------------------------------------------------------------------


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


def test_a_server_without_ranges_sends_everything_again(bench: Bench) -> None:
    """A 200 to a Range request replaces what was there."""
    bench.web.serve(PATH, replace(TAGGED, cut=100_000), replace(TAGGED, ranges=False))
    assert bench.get().sha256 == SUM
    assert bench.ranges == [None, "bytes=100000-"]


def test_a_file_that_changed_is_fetched_whole(bench: Bench) -> None:
    """If-Range with the old tag makes the server send the new file from its start."""
    bench.web.serve(PATH, Reply(OTHER, etag='"zero"', cut=100_000), TAGGED)
    assert bench.get().sha256 == SUM
    assert bench.part.read_bytes() == ARCHIVE


def test_a_later_process_goes_on(bench: Bench) -> None:
    """The part and its sidecar are enough; the bytes that are there are hashed, not asked for."""
    bench.leave(ARCHIVE[:200_000])
    bench.web.serve(PATH, TAGGED)
    assert bench.get() == Downloaded(SUM, len(ARCHIVE))
    assert bench.ranges == ["bytes=200000-"]
    assert bench.left() == ["archive.part"]


def test_a_complete_part_needs_no_server(bench: Bench) -> None:
    """A run that was killed after the last byte has nothing left to ask for."""
    bench.leave(ARCHIVE)
    assert bench.get() == Downloaded(SUM, len(ARCHIVE))
    assert bench.web.requests == []
    assert bench.left() == ["archive.part"]


def test_a_part_that_is_too_long_is_dropped(bench: Bench) -> None:
    """416 to the rest: from the start."""
    bench.leave(ARCHIVE + b"more")
    bench.web.serve(PATH, TAGGED)
    assert bench.get().sha256 == SUM
    assert bench.ranges == [f"bytes={len(ARCHIVE) + 4}-", None]


def test_a_beginning_that_does_not_fit_is_dropped(bench: Bench) -> None:
    """A damaged part, vouched for by the right tag, costs one clean download and no error."""
    bench.leave(OTHER[:100_000])
    bench.web.serve(PATH, TAGGED)
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
def test_a_sidecar_that_makes_no_sense_is_ignored(bench: Bench, sidecar: str) -> None:
    """Also one of another URL."""
    bench.leave(ARCHIVE[:1000])
    bench.sidecar.write_text(sidecar, encoding="utf-8")
    bench.web.serve(PATH, TAGGED)
    assert bench.get().sha256 == SUM
    assert bench.ranges == [None]


@pytest.mark.parametrize("body", [b"", b"\x28\xb5", b"<html>"])
def test_a_part_that_is_no_beginning_of_an_archive_is_ignored(bench: Bench, body: bytes) -> None:
    """Such as one whose blocks a crash of the machine lost."""
    bench.leave(body)
    bench.web.serve(PATH, TAGGED)
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
def test_a_206_of_something_else_is_dropped(bench: Bench, headers: dict[str, str]) -> None:
    """A server or proxy that gets ranges wrong costs one clean download and no error."""
    bench.leave(ARCHIVE[:1000])
    bench.web.serve(PATH, Reply(ARCHIVE[1000:], status=206, headers=headers), TAGGED)
    assert bench.get().sha256 == SUM
    assert bench.ranges == ["bytes=1000-", None]


def test_a_206_of_unknown_length_is_fine(bench: Bench) -> None:
    """Content-Range may say `*` instead of the size of the whole."""
    bench.leave(ARCHIVE[:1000])
    headers = {"Content-Range": "bytes 1000-307203/*"}
    bench.web.serve(PATH, Reply(ARCHIVE[1000:], status=206, headers=headers))
    assert bench.get().sha256 == SUM


def test_a_206_of_less_than_was_asked_for_is_continued(bench: Bench) -> None:
    """A server may answer with a part of the range; the size of the whole shows that more is to come."""
    bench.leave(ARCHIVE[:1000])
    headers = {"Content-Range": f"bytes 1000-1999/{len(ARCHIVE)}"}
    bench.web.serve(PATH, Reply(ARCHIVE[1000:2000], status=206, headers=headers), TAGGED)
    assert bench.get().sha256 == SUM
    assert bench.ranges == ["bytes=1000-", "bytes=2000-"]


# --- content that is wrong ----------------------------------------------------------------------------


def test_a_wrong_sum_is_deleted(bench: Bench) -> None:
    """The line has both sums, and nothing of the file is left."""
    bench.web.serve(PATH, Reply(OTHER, etag='"one"'))
    actual = hashlib.sha256(OTHER).hexdigest()
    bench.fails(f"wrong sha256: expected {SUM}, got {actual}", "do not use that file")
    assert bench.left() == []
    assert len(bench.web.requests) == 1


def test_a_wrong_sum_after_resuming_is_deleted_too(bench: Bench) -> None:
    """It gets one clean download, which must be right."""
    bench.leave(OTHER[:1000])
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
def test_a_full_disk_is_a_write_error(bench: Bench) -> None:
    """It is not a matter of the network: exit 5, with the folder, and no retry."""
    bench.web.serve(PATH, TAGGED)
    with (
        small_disk(100_000),
        pytest.raises(WriteError, match=r"writing .*archive[.]part: File too large; .*--cache-dir"),
    ):
        bench.get()
    assert len(bench.web.requests) == 1
    assert bench.get().sha256 == SUM, "and the next run goes on"
    assert bench.ranges[1] is not None


def test_old_bytes_never_stand_beside_a_new_validator(bench: Bench) -> None:
    """A run that ends between the two leaves an empty part, not one that the next run would trust."""
    bench.web.serve(PATH, TAGGED)
    bench.part.write_bytes(OTHER)
    bench.sidecar.mkdir()
    with pytest.raises(WriteError, match="Is a directory"):
        bench.get()
    assert bench.part.read_bytes() == b""


def test_a_part_that_cannot_be_made_is_a_write_error(bench: Bench) -> None:
    """The message names it."""
    bench.web.serve(PATH, TAGGED)
    bench.part.mkdir()
    with pytest.raises(WriteError, match=r"writing .*archive[.]part: Is a directory"):
        bench.get()


def test_a_planted_link_is_not_followed(bench: Bench) -> None:
    """A link in place of the part must not have the file that it leads to overwritten."""
    bench.web.serve(PATH, Reply(ARCHIVE))
    precious = bench.part.with_name("precious")
    precious.write_text("mine")
    bench.part.symlink_to(precious)
    assert bench.get().sha256 == SUM
    assert precious.read_text() == "mine"
    assert not bench.part.is_symlink()
