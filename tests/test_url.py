"""URLs that can be fetched are told from those that cannot, and secrets in them are not shown."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from downloading import PATH, QUICK, TAGGED, Bench, serving
from pyembed_gen.download import fetch_text
from pyembed_gen.errors import UsageError
from pyembed_gen.progress import Silent
from pyembed_gen.url import shown
from web import Reply


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with serving(tmp_path, monkeypatch) as made:
        yield made


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


def test_credentials_are_sent_and_not_shown(bench: Bench) -> None:
    """Not in messages, and not in the sidecar."""
    bench.web.serve(PATH, Reply(status=503), replace(TAGGED, cut=1000), Reply(status=403))
    url = bench.web.url.replace("//", "//user:hush@") + PATH
    error = bench.fails("//***@127.0.0.1", "403", url=url)
    assert bench.web.requests[0].headers["Authorization"].startswith("Basic ")
    assert bench.sidecar.exists()
    for text in (str(error), *bench.log.notes, bench.sidecar.read_text(encoding="utf-8")):
        assert "hush" not in text
