"""One URL into one file, or into text: resumed where an earlier try broke off, hashed while it arrives.

What may be asked for is in :mod:`pyembed_gen.url`, how servers answer in :mod:`pyembed_gen.http`, the file that
grows in :mod:`pyembed_gen.part`; this joins them. Nothing here knows about caches: the caller decides what
becomes of a part that is complete and has the right sum.
"""

import time
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pyembed_gen import http
from pyembed_gen.http import Policy, Sleep
from pyembed_gen.part import Begun, Downloaded, Meter, Part, StaleError, blocks_of
from pyembed_gen.progress import Progress
from pyembed_gen.url import LAYOUT_HINT, PAGE_HINT, NotFoundError, failure, not_found, scheme, shown

if TYPE_CHECKING:
    import httpx

# Callers need not know which of the modules has a name.
__all__ = [
    "Downloaded",
    "NotFoundError",
    "Policy",
    "Sleep",
    "check_file",
    "download",
    "fetch_text",
    "hash_file",
    "shown",
]

_TEXT_LIMIT = 4 << 20


def hash_file(path: Path) -> Downloaded:
    """Return the sum and size of a file, read in blocks of 1 MiB. Raises OSError."""
    return Begun(blocks_of(path)).result()


def download(
    url: str,
    part: Path,
    *,
    sha256: str | None,
    policy: Policy,
    progress: Progress,
    label: str = "",
    sleep: Sleep = time.sleep,
) -> Downloaded:
    """Fetch the archive at ``url`` (https, http or file) into ``part`` and return its sum and size.

    A part that an earlier call left is continued if the server vouches for it. ``sha256`` is the expected
    sum in lowercase hex; None checks none. ``label`` is what progress calls it, by default its file name. On
    success the sidecar is gone and the part is complete. What is interrupted stays for the next call; what
    turned out wrong is deleted.

    Raises NotFoundError (404), FetchError (no answer, stalled or cut off too often, over
    ``policy.max_bytes``, not a zstd or gzip archive, wrong sum, redirected from https to http), UsageError
    (another kind of URL), and WriteError (``part`` cannot be written).
    """
    meter = Meter(progress, f"fetching {label or unquote(url.rpartition('/')[2])}")
    growing = Part(url, part, sha256, policy.max_bytes, meter)
    try:
        result = _copy(growing) if scheme(url) == "file" else _persist(growing, policy, progress, sleep)
        growing.close()
    except BaseException:
        meter.done("failed")
        raise
    meter.done()
    return result


def fetch_text(url: str, *, policy: Policy, progress: Progress, sleep: Sleep = time.sleep) -> str:
    """Return the UTF-8 text at ``url`` (https, http or file), at most 4 MiB of it.

    Raises NotFoundError (404), FetchError (as for :func:`download`; also for a web page, or what is not
    text) and UsageError (another kind of URL).
    """
    if scheme(url) == "file":
        return _text(_file_blocks(url), url)
    with http.open_client(url, policy) as client:
        return http.persist(
            lambda: _get_text(client, url, policy),
            url,
            policy=policy,
            progress=progress,
            sleep=sleep,
        )


def check_file(url: str) -> None:
    """Raise what :func:`download` would raise because a file: URL names nothing that can be read."""
    with closing(_file_blocks(url)) as blocks:
        next(blocks, b"")


# --- an archive -------------------------------------------------------------------------------------


def _copy(part: Part) -> Downloaded:
    begun = Begun()
    blocks = _file_blocks(part.url)
    first = next(blocks, b"")  # before the part is made: there may be no such file
    part.receive(chain((first,), blocks), begun, None, page=False)
    return part.finish(begun, resumed=False)


def _persist(part: Part, policy: Policy, progress: Progress, sleep: Sleep) -> Downloaded:
    with http.open_client(part.url, policy) as client:
        return http.persist(
            lambda: _transfer(client, part, policy),
            part.url,
            policy=policy,
            progress=progress,
            sleep=sleep,
            reached=lambda: part.meter.reached,
        )


def _transfer(client: "httpx.Client", part: Part, policy: Policy) -> Downloaded:
    """Make one try, from where an earlier one ended if that can be; a beginning that is stale is dropped."""
    begun = part.recall()
    if begun.size and begun.result().sha256 == part.sha256:
        return begun.result()
    try:
        return _request(client, part, policy, begun)
    except StaleError:
        part.discard()
        return _request(client, part, policy, Begun())


def _request(client: "httpx.Client", part: Part, policy: Policy, begun: Begun) -> Downloaded:
    accepted = {200, 206, 416} if begun.size else {200}
    with http.answer(client, part.url, policy, accepted, begun.headers()) as response:
        resumed = response.status_code != 200  # noqa: PLR2004 - HTTP's own name for it
        if resumed:
            total = begun.whole_size(response.status_code, response.headers)
        else:
            begun, total = part.start_over(response.headers), http.length(response)
        part.receive(response.iter_raw(), begun, total, page=http.is_page(response))
    if total is not None and begun.size < total:
        raise http.TransientError("gave no whole answer", detail=f"{begun.size} of {total} bytes")
    return part.finish(begun, resumed=resumed)


# --- text -------------------------------------------------------------------------------------------


def _get_text(client: "httpx.Client", url: str, policy: Policy) -> str:
    with http.answer(client, url, policy, {200}, {}) as response:
        return _text(response.iter_raw(), url, page=http.is_page(response))


def _text(blocks: Iterable[bytes], url: str, *, page: bool = False) -> str:
    data = bytearray()
    for block in blocks:
        data += block
        if len(data) > _TEXT_LIMIT:
            raise failure(url, f"it goes on after {_TEXT_LIMIT} bytes, far more than a list of sums has", LAYOUT_HINT)
    if page or data.lstrip().startswith(b"<"):
        raise failure(url, "the answer is a web page, not a list of sums", PAGE_HINT)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise failure(url, "the answer is not text", LAYOUT_HINT) from error


# --- file: ------------------------------------------------------------------------------------------


def _file_blocks(url: str) -> Generator[bytes, None, None]:
    """Read the file that ``url`` names (RFC 8089), in blocks of 1 MiB."""
    from urllib.request import url2pathname  # noqa: PLC0415 - takes 30 ms

    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise failure(url, "it names another machine", "write file:///folder, or file:////server/share on Windows")
    try:
        yield from blocks_of(Path(url2pathname(parts.path)))
    except FileNotFoundError:
        raise not_found(url, "there is no such file") from None
    except (OSError, ValueError) as error:
        what = f"the file cannot be read ({getattr(error, 'strerror', None) or error})"
        raise failure(url, what, "check --mirror and the file's permissions") from error
