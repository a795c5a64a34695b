"""URLs that can be fetched are told from those that cannot, and secrets in them are not shown."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PureWindowsPath

import pytest

from downloading import PATH, QUICK, TAGGED, Bench, serving
from pyembed_gen.download import fetch_text
from pyembed_gen.errors import UsageError
from pyembed_gen.progress import Silent
from pyembed_gen.url import _file_url, base_url, host, shown
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
        ("https://host/a%2Bb%2bc%2Fd", "https://host/a+b+c%2Fd"),
    ],
)
def test_shown(url: str, safe: str) -> None:
    """Everything before the last @ of the authority is hidden, and a plus is written as people write it."""
    assert shown(url) == safe


def test_the_host_of_a_url() -> None:
    """With its port, and without password."""
    assert host("https://user:hush@host:8443/a@b") == "host:8443"
    assert host("http://host") == "host"


@pytest.mark.parametrize(
    "url", ["https://host/x/", "http://host:1", "file:///x", "FILE:///x", "ftp://host", "host:80/x"]
)
def test_a_base_that_is_a_url_stays_what_it_is(url: str) -> None:
    """Whether it can be fetched from is told where it is."""
    assert base_url(url) == url


def test_a_base_that_is_a_folder_becomes_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute or relative, whatever characters it has."""
    folder = tmp_path / "my mirror+1"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    assert base_url(str(folder)) == base_url("my mirror+1/") == folder.as_uri()
    assert base_url(".") == tmp_path.as_uri()


def test_a_drive_letter_is_no_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder on Windows is as good as any; where there are no drives it is a strange name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "C:").mkdir(exist_ok=True)
    assert base_url("C:").startswith("file:///")


def test_paths_of_windows_as_urls() -> None:
    """Drives and shares; the host of a share is part of the path, as no other machine may be named."""
    assert _file_url(PureWindowsPath(r"C:\my mirror")) == "file:///C:/my%20mirror"
    assert _file_url(PureWindowsPath(r"\\server\share\m")) == "file:////server/share/m"


@pytest.mark.parametrize("path", ["/none/such", "nosuch", "github.com/x", "file", ""])
def test_a_base_that_is_no_folder_is_a_usage_error(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line shows both of the forms that would do."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=f"looking for the mirror '{path}': there is no such folder") as caught:
        base_url(path)
    assert f"({(tmp_path / path).as_uri()}), or a URL that begins with https://" in caught.value.hint


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
