"""The file into which an archive grows, and what its beginning is worth to a later try.

Beside a *part* is a sidecar, ``<part>.json``, that remembers where the bytes came from and the validator
(RFC 9110, 8.8) that proves that the rest still belongs to them; so another process can go on with it. What
interrupts leaves both; what proves the bytes wrong deletes both.
"""

import errno
import hashlib
import json
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pyembed_gen.errors import FetchError
from pyembed_gen.progress import Progress, Task
from pyembed_gen.url import LAYOUT_HINT, PAGE_HINT, failure, shown
from pyembed_gen.writing import CACHE, writing

__all__ = ["Begun", "Downloaded", "Meter", "Part", "StaleError", "blocks_of"]

_BLOCK = 1 << 20
# RFC 8878, 3.1.1 (zstd frame) and RFC 1952, 2.3.1 (gzip member).
_MAGICS = (b"\x28\xb5\x2f\xfd", b"\x1f\x8b")
_MAGIC_SIZE = max(map(len, _MAGICS))

_FILE_HINT = "try again or another --mirror; nothing of it was kept"
_SUM_HINT = (
    "do not use that file; try another --mirror, or if the release has changed, "
    "mend its line in matrix.lock or run `pyembed-gen cache clear`"
)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A complete part: the sha256 of its bytes in hex and its size in bytes."""

    sha256: str
    size: int


class StaleError(Exception):
    """The beginning that is in the part does not belong to what the server has now."""


def blocks_of(path: Path) -> Iterator[bytes]:
    """Read a regular file in blocks of 1 MiB. Raises OSError, also for a pipe, which might never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    with path.open("rb") as file:
        yield from iter(lambda: file.read(_BLOCK), b"")


class Begun:
    """What is in a part already: its hash so far, size in bytes, first bytes, and validator of the rest."""

    def __init__(self, blocks: Iterable[bytes] = (), validator: str = "") -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self.head = b""
        self.validator = validator
        for block in blocks:
            self.add(block)

    def add(self, block: bytes) -> None:
        """Go on with ``block``."""
        self.digest.update(block)
        self.size += len(block)
        if len(self.head) < _MAGIC_SIZE:
            self.head += block[:_MAGIC_SIZE]

    @property
    def is_archive(self) -> bool:
        """Whether it begins as a zstd or gzip archive does."""
        return self.head.startswith(_MAGICS)

    @property
    def looks_wrong(self) -> bool:
        """Whether it is long enough to be told from an archive, and is none."""
        return len(self.head) >= _MAGIC_SIZE and not self.is_archive

    def result(self) -> Downloaded:
        """Return sum and size so far."""
        return Downloaded(self.digest.hexdigest(), self.size)

    def headers(self) -> dict[str, str]:
        """Return the headers of a request for the rest; none if nothing is begun."""
        if not self.size:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}

    def whole_size(self, status: int, headers: Mapping[str, str]) -> int | None:
        """Check that an answer goes on where this ends; return the size of the whole in bytes, if it says so.

        Raises StaleError if it is no 206, has another range, or belongs to another version of the file.
        """
        text = headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", text)
        if status != 206 or match is None or int(match[1]) != self.size:  # noqa: PLR2004 - HTTP's own name for it
            raise StaleError
        if self.validator.startswith('"') and headers.get("ETag", self.validator) != self.validator:
            raise StaleError
        return None if match[2] == "*" else int(match[2])


class Meter:
    """A Task that only goes forward, however often a download starts over."""

    def __init__(self, progress: Progress, label: str) -> None:
        self.reached = 0  # bytes
        self._progress = progress
        self._label = label
        self._task: Task | None = None

    def start(self, total: int | None) -> None:
        """Announce the task, the first time this is called; ``total`` is in bytes."""
        self._task = self._task or self._progress.task(self._label, total)

    def at(self, position: int) -> None:
        """Say that ``position`` bytes are there; fewer than there were before change nothing."""
        if self._task is not None and position > self.reached:
            self._task.advance(position - self.reached)
            self.reached = position

    def done(self, note: str = "") -> None:
        """End the task, if it ever began."""
        if self._task is not None:
            self._task.done(note)


@dataclass(frozen=True, slots=True)
class Part:
    """The file at ``path`` into which the archive at ``url`` grows.

    ``sha256`` is the expected sum in lowercase hex, None for any; ``limit`` is the size in bytes over which
    no archive is accepted. All methods raise WriteError if the file or its sidecar cannot be written.
    """

    url: str
    path: Path
    sha256: str | None
    limit: int
    meter: Meter

    def __post_init__(self) -> None:
        """Remove links: whoever planted one would have the file that it leads to overwritten."""
        with self._writing():
            for path in (self.path, self._sidecar):
                if path.is_symlink():
                    path.unlink()

    def recall(self) -> Begun:
        """Read what an earlier try left, if it can be continued."""
        try:
            facts = json.loads(self._sidecar.read_text(encoding="utf-8"))
            validator = _validator(facts) if facts["url"] == shown(self.url) else ""
            begun = Begun(blocks_of(self.path), validator) if validator else Begun()
        except (OSError, ValueError, KeyError, TypeError):
            return Begun()
        return begun if begun.is_archive else Begun()

    def start_over(self, headers: Mapping[str, str]) -> Begun:
        """Empty the part, and write down what proves, next time, that it is the beginning of what the server has."""
        facts = {
            "url": shown(self.url),
            "etag": headers.get("ETag"),
            "last_modified": headers.get("Last-Modified"),
        }
        with self._writing():
            # Emptied first: a validator beside bytes that it does not vouch for would be worse than none.
            self.path.write_bytes(b"")
            self._sidecar.write_text(json.dumps(facts), encoding="utf-8")
        return Begun()

    def receive(self, blocks: Iterable[bytes], begun: Begun, total: int | None, *, page: bool) -> None:
        """Write ``blocks`` after what is ``begun``, until they turn out to be no archive.

        ``total`` is the announced size of the whole in bytes, ``page`` whether it was announced as a web
        page. Raises FetchError, and deletes the part, for what is no archive or too long.
        """
        if total is not None and total > self.limit:
            raise self._refuse(f"it has {total} bytes, and {self.limit} are the limit", LAYOUT_HINT)
        self.meter.start(total)
        self.meter.at(begun.size)
        self._write(blocks, begun, self.limit if total is None else total)
        if not begun.is_archive:
            raise self._not_an_archive(begun, page=page)
        if total is not None and begun.size > total:
            raise self._refuse(f"it is longer than the {total} bytes that were announced", _FILE_HINT)
        if begun.size > self.limit:
            raise self._refuse(f"it goes on after {self.limit} bytes, which are the limit", LAYOUT_HINT)

    def finish(self, begun: Begun, *, resumed: bool) -> Downloaded:
        """Compare sums, and return what the part is now.

        Raises FetchError, and deletes the part, for a wrong sum; StaleError if the download was ``resumed``,
        since then it may be the fault of the pieces.
        """
        result = begun.result()
        if self.sha256 in {None, result.sha256}:
            return result
        if resumed:
            raise StaleError
        what = f"wrong sha256: expected {self.sha256}, got {result.sha256} ({result.size} bytes)"
        raise self._refuse(what, _SUM_HINT)

    def discard(self) -> None:
        """Delete the part: its bytes are worth nothing."""
        with self._writing():
            self.path.unlink(missing_ok=True)
            self._sidecar.unlink(missing_ok=True)

    def close(self) -> None:
        """Delete the sidecar: the part is complete."""
        with self._writing():
            self._sidecar.unlink(missing_ok=True)

    @property
    def _sidecar(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def _write(self, blocks: Iterable[bytes], begun: Begun, end: int) -> None:
        """Append ``blocks`` as far as they can be part of an archive of at most ``end`` bytes."""
        with self._writing(), self.path.open("ab" if begun.size else "wb") as out:
            for block in blocks:
                begun.add(block)
                if begun.looks_wrong or begun.size > end:
                    break
                out.write(block)
                self.meter.at(begun.size)

    def _not_an_archive(self, begun: Begun, *, page: bool) -> FetchError:
        if page or begun.head.lstrip().startswith(b"<"):
            return self._refuse("the answer is a web page, not an archive", PAGE_HINT)
        if not begun.size:
            return self._refuse("the answer is empty", _FILE_HINT)
        what = f"the answer is no zstd or gzip archive (it starts with {begun.head.hex(' ')})"
        return self._refuse(what, _FILE_HINT)

    def _refuse(self, what: str, hint: str) -> FetchError:
        """Delete the part and return the error to raise."""
        self.discard()
        return failure(self.url, what, hint)

    def _writing(self) -> AbstractContextManager[None]:
        return writing(self.path, doing="writing", option=CACHE)


def _validator(facts: Mapping[str, object]) -> str:
    """Return what If-Range may hold: an entity tag that is not weak, or a date (RFC 9110, 13.1.5)."""
    etag, date = facts["etag"], facts["last_modified"]
    if isinstance(etag, str) and etag.isascii() and etag.startswith('"'):
        return etag
    return date if isinstance(date, str) and date.isascii() else ""
