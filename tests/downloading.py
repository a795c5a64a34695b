"""A server, a part to download into, and a memory of what was said: what tests of downloads share.

with serving(tmp_path, monkeypatch) as bench:
    bench.web.serve(PATH, replace(TAGGED, cut=1000), TAGGED)
    assert bench.get().sha256 == SUM
    assert bench.ranges == [None, "bytes=1000-"]
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pyembed_gen.download import Downloaded, download, fetch_text
from pyembed_gen.errors import FetchError, PyembedError
from pyembed_gen.http import Policy
from pyembed_gen.progress import Task
from web import Reply, Web

ZSTD = b"\x28\xb5\x2f\xfd"
ARCHIVE = ZSTD + bytes(range(256)) * 1200  # 300 KB
SUM = hashlib.sha256(ARCHIVE).hexdigest()
OTHER = ZSTD + b"other" * 60_000
GZIP = b"\x1f\x8b" + ARCHIVE
PATH = "/20261021/cpython-3.14.9+20261021-x86_64.tar.zst"
TAGGED = Reply(ARCHIVE, etag='"one"')
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
        assert (label, unit) == ("fetching " + PATH.rpartition("/")[2], "bytes")
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

    def leave(self, body: bytes, etag: str = '"one"') -> None:
        """Leave what a killed run would leave."""
        self.part.write_bytes(body)
        facts = {"url": self.web.url + PATH, "etag": etag, "last_modified": None}
        self.sidecar.write_text(json.dumps(facts), encoding="utf-8")

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


@contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Start a server, with an empty folder for the part and no certificates but the default ones."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    (folder / "parts").mkdir()
    with Web() as web:
        yield Bench(web, folder / "parts" / "archive.part")
