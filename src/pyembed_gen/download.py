"""One URL into one file: resumed where an earlier try broke off, hashed while it arrives.

A download grows in a *part*, with a sidecar ``<part>.json`` that remembers where the bytes came from and
the validator (RFC 9110, 8.8) that proves that the rest still belongs to them; so a later process can go on
with it. Nothing here knows about caches: the caller decides what becomes of a part that is complete and has
the right sum.

httpx is imported when the first connection is made, because a run that has nothing to fetch must start fast.
"""

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

from pyembed_gen import __version__
from pyembed_gen.errors import FetchError, UsageError, WriteError
from pyembed_gen.progress import Progress, Task

if TYPE_CHECKING:
    import httpx

__all__ = ["Downloaded", "NotFoundError", "Policy", "Sleep", "download", "fetch_text", "hash_file", "shown"]

_T = TypeVar("_T")
Sleep = Callable[[float], None]

_BLOCK = 1 << 20
_TEXT_LIMIT = 4 << 20
_LONGEST_WAIT = 60.0  # seconds
_REDIRECTS = 10
# A try that brought this much more starts the count of failures anew, so that a line that drops every few
# megabytes ends in an archive; less would let a hostile server keep us for ever, a byte at a time.
_WORTHWHILE = 1 << 20
# RFC 8878, 3.1.1 (zstd frame) and RFC 1952, 2.3.1 (gzip member).
_MAGICS = (b"\x28\xb5\x2f\xfd", b"\x1f\x8b")
_MAGIC_SIZE = max(map(len, _MAGICS))

_LAYOUT_HINT = "check --pbs, --python and --mirror (its layout is BASE/<tag>/<asset>)"
_NETWORK_HINT = "check the network and HTTPS_PROXY, try again later (what arrived is kept), or try another --mirror"
_PAGE_HINT = "a login page or a proxy may be in the way: check --mirror and HTTPS_PROXY, open the URL in a browser"
_FILE_HINT = "try again or another --mirror; nothing of it was kept"
_SUM_HINT = "do not use that file; try another --mirror, or if the release changed, `matrix lock` or `cache clear`"
_TLS_HINT = "if a proxy of your organisation signs connections, set SSL_CERT_FILE to its certificates"
_ENVIRONMENT_HINT = "check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE"


class NotFoundError(FetchError):
    """The server answered, and has no such file."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient a download is.

    ``attempts`` in a row that bring nothing new (first one included), ``timeout`` in seconds without a
    byte, ``backoff`` in seconds before the second attempt and doubled before each later one (a Retry-After
    goes first; neither waits over 60 s), ``max_bytes`` of one file.
    """

    attempts: int = 5
    timeout: float = 30.0
    backoff: float = 0.5
    max_bytes: int = 2 << 30

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Policy":
        """Read $PYEMBED_HTTP_TIMEOUT (seconds) and $PYEMBED_HTTP_RETRIES (after the first attempt).

        Raises UsageError for a value that is not a number above, or for retries at least, zero.
        """
        timeout = _number(environ, "PYEMBED_HTTP_TIMEOUT", float, cls().timeout)
        if timeout == 0:
            raise UsageError("reading $PYEMBED_HTTP_TIMEOUT: it is 0", hint="set it to seconds, such as 30")
        retries = _number(environ, "PYEMBED_HTTP_RETRIES", int, cls().attempts - 1)
        return cls(attempts=int(retries) + 1, timeout=timeout)

    def wait(self, failures: int, after: float | None) -> float:
        """Return the seconds to wait after ``failures`` in a row; ``after`` is what the server asked for."""
        doubled = self.backoff * 2 ** min(failures - 1, 20)
        return min(doubled if after is None else after, _LONGEST_WAIT)


def _number(environ: Mapping[str, str], name: str, kind: Callable[[str], float], default: float) -> float:
    text = environ.get(name, "")
    try:
        value = kind(text) if text else default
    except ValueError:
        value = -1
    if not 0 <= value < math.inf:
        raise UsageError(f"reading ${name}: {text!r} is not a number from 0 up", hint="correct or unset it")
    return value


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A complete part: the sha256 of its bytes in hex and its size in bytes."""

    sha256: str
    size: int


def shown(url: str) -> str:
    """Return ``url`` as it may appear in messages and files: with ``***`` for a user name and password."""
    return re.sub(r"://[^/?#\s]*@", "://***@", url)


def hash_file(path: Path) -> Downloaded:
    """Return the sum and size of a file, read in blocks of 1 MiB. Raises OSError."""
    begun = _Begun(path)
    return Downloaded(begun.digest.hexdigest(), begun.size)


def download(
    url: str,
    part: Path,
    *,
    sha256: str | None,
    policy: Policy,
    progress: Progress,
    sleep: Sleep = time.sleep,
) -> Downloaded:
    """Fetch the archive at ``url`` (https, http or file) into ``part`` and return its sum and size.

    A part that an earlier call left is continued if the server vouches for it. ``sha256`` is the expected
    sum in lowercase hex; None checks none. On success the sidecar is gone and the part is complete. What is
    interrupted stays for the next call; what turned out wrong is deleted.

    Raises NotFoundError (404), FetchError (no answer, stalled or cut off too often, over
    ``policy.max_bytes``, not a zstd or gzip archive, wrong sum, redirected from https to http), UsageError
    (another kind of URL), and WriteError (``part`` cannot be written).
    """
    meter = _Meter(progress, unquote(url.rpartition("/")[2]))
    target = _Target(url, part, sha256, policy, meter)
    try:
        if _scheme(url) == "file":
            result = _copy(target)
        else:
            with _client(url, policy) as client:
                result = _persist(
                    lambda: _transfer(client, target),
                    url,
                    policy=policy,
                    progress=progress,
                    sleep=sleep,
                    meter=meter,
                )
        with _writing(part):
            _sidecar(part).unlink(missing_ok=True)
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
    if _scheme(url) == "file":
        return _text(_file_blocks(url), url)
    with _client(url, policy) as client:
        return _persist(
            lambda: _get_text(client, url, policy),
            url,
            policy=policy,
            progress=progress,
            sleep=sleep,
            meter=_Meter(progress, ""),
        )


# --- the file that grows ----------------------------------------------------------------------------


class _Begun:
    """What is in a part already: its hash so far, size in bytes, first bytes, and validator of the rest."""

    def __init__(self, part: Path | None = None, validator: str = "") -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self.head = b""
        self.validator = validator
        if part is not None:
            with part.open("rb") as file:
                for block in iter(lambda: file.read(_BLOCK), b""):
                    self.add(block)

    def add(self, block: bytes) -> None:
        self.digest.update(block)
        self.size += len(block)
        if len(self.head) < _MAGIC_SIZE:
            self.head += block[:_MAGIC_SIZE]

    @property
    def looks_wrong(self) -> bool:
        return len(self.head) >= _MAGIC_SIZE and not self.head.startswith(_MAGICS)

    def headers(self) -> dict[str, str]:
        if not self.size:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}


class _Meter:
    """A Task that only goes forward, however often a download starts over."""

    def __init__(self, progress: Progress, label: str) -> None:
        self.reached = 0  # bytes
        self._progress = progress
        self._label = label
        self._task: Task | None = None

    def start(self, total: int | None) -> None:
        self._task = self._task or self._progress.task(self._label, total)

    def at(self, position: int) -> None:
        if self._task is not None and position > self.reached:
            self._task.advance(position - self.reached)
            self.reached = position

    def done(self, note: str = "") -> None:
        if self._task is not None:
            self._task.done(note)


@dataclass(frozen=True, slots=True)
class _Target:
    """What is being fetched into which file, and how it shall be."""

    url: str
    part: Path
    sha256: str | None
    policy: Policy
    meter: _Meter

    def error(self, what: str, hint: str) -> FetchError:
        return _error(self.url, what, hint)

    def refuse(self, what: str, hint: str) -> FetchError:
        """Delete the part and return the error to raise: its bytes are worth nothing."""
        self.discard()
        return self.error(what, hint)

    def discard(self) -> None:
        with _writing(self.part):
            self.part.unlink(missing_ok=True)
            _sidecar(self.part).unlink(missing_ok=True)


class _StaleError(Exception):
    """The beginning that is in the part does not belong to what the server has now."""


def _receive(target: _Target, blocks: Iterable[bytes], begun: _Begun, total: int | None, *, page: bool) -> None:
    """Write ``blocks`` to the part after what is ``begun``, until they turn out to be no archive."""
    limit = target.policy.max_bytes
    if total is not None and total > limit:
        raise target.refuse(f"it has {total} bytes, and {limit} are the limit", _LAYOUT_HINT)
    target.meter.start(total)
    target.meter.at(begun.size)
    with _writing(target.part), target.part.open("ab" if begun.size else "wb") as out:
        for block in blocks:
            begun.add(block)
            if begun.looks_wrong:
                break
            if begun.size > (limit if total is None else total):
                break
            out.write(block)
            target.meter.at(begun.size)
    if not begun.head.startswith(_MAGICS):
        raise _not_an_archive(target, begun, page=page)
    if total is not None and begun.size > total:
        raise target.refuse(f"it is longer than the {total} bytes that were announced", _FILE_HINT)
    if begun.size > limit:
        raise target.refuse(f"it goes on after {limit} bytes, which are the limit", _LAYOUT_HINT)


def _not_an_archive(target: _Target, begun: _Begun, *, page: bool) -> FetchError:
    if page or begun.head.lstrip().startswith(b"<"):
        return target.refuse("the answer is a web page, not an archive", _PAGE_HINT)
    if not begun.size:
        return target.refuse("the answer is empty", _FILE_HINT)
    return target.refuse(f"the answer is no zstd or gzip archive (it starts with {begun.head.hex(' ')})", _FILE_HINT)


def _finish(target: _Target, begun: _Begun, *, resumed: bool) -> Downloaded:
    """Compare sums; a wrong one of a download in several pieces may be the fault of the pieces."""
    actual = begun.digest.hexdigest()
    if target.sha256 in {None, actual}:
        return Downloaded(actual, begun.size)
    if resumed:
        raise _StaleError
    raise target.refuse(f"wrong sha256: expected {target.sha256}, got {actual} ({begun.size} bytes)", _SUM_HINT)


def _sidecar(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remember(target: _Target, response: "httpx.Response") -> None:
    """Write down what proves, next time, that the part is the beginning of what the server has."""
    facts = {
        "url": shown(target.url),
        "etag": response.headers.get("ETag"),
        "last_modified": response.headers.get("Last-Modified"),
    }
    with _writing(target.part):
        # Emptied first: a validator beside bytes that it does not vouch for would be worse than none.
        target.part.write_bytes(b"")
        _sidecar(target.part).write_text(json.dumps(facts), encoding="utf-8")


def _recall(target: _Target) -> _Begun:
    """Read what an earlier try left, if it can be continued."""
    try:
        facts = json.loads(_sidecar(target.part).read_text(encoding="utf-8"))
        validator = _validator(facts) if facts["url"] == shown(target.url) else ""
        begun = _Begun(target.part, validator) if validator else _Begun()
    except (OSError, ValueError, KeyError, TypeError):
        return _Begun()
    return begun if begun.head.startswith(_MAGICS) else _Begun()


def _validator(facts: Mapping[str, object]) -> str:
    """Return what If-Range may hold: an entity tag that is not weak, or a date (RFC 9110, 13.1.5)."""
    etag, date = facts["etag"], facts["last_modified"]
    if isinstance(etag, str) and etag.isascii() and etag.startswith('"'):
        return etag
    return date if isinstance(date, str) and date.isascii() else ""


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"writing {part}: {error.strerror or error}",
            hint="free some space there, or choose another folder with --cache-dir or $PYEMBED_CACHE",
        ) from error


# --- file: ------------------------------------------------------------------------------------------


def _scheme(url: str) -> str:
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in {"https", "http", "file"}:
        raise UsageError(f"fetching {shown(url)}: not an https, http or file URL", hint="check --mirror")
    return scheme


def _copy(target: _Target) -> Downloaded:
    begun = _Begun()
    blocks = _file_blocks(target.url)
    first = next(blocks, b"")  # before the part is made: there may be no such file
    _receive(target, chain((first,), blocks), begun, None, page=False)
    return _finish(target, begun, resumed=False)


def _file_blocks(url: str) -> Iterator[bytes]:
    """Read the file that ``url`` names (RFC 8089), in blocks of 1 MiB."""
    from urllib.request import url2pathname  # noqa: PLC0415 - takes 30 ms

    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise _error(url, "it names another machine", "write file:///folder, or file:////server/share on Windows")
    try:
        with Path(url2pathname(parts.path)).open("rb") as file:
            yield from iter(lambda: file.read(_BLOCK), b"")
    except FileNotFoundError:
        raise _not_found(url, "there is no such file") from None
    except (OSError, ValueError) as error:
        what = f"the file cannot be read ({getattr(error, 'strerror', None) or error})"
        raise _error(url, what, "check --mirror and the file's permissions") from error


def _error(url: str, what: str, hint: str) -> FetchError:
    return FetchError(f"fetching {shown(url)}: {what}", hint=hint)


def _not_found(url: str, what: str) -> NotFoundError:
    return NotFoundError(f"fetching {shown(url)}: {what}", hint=_LAYOUT_HINT)


def _text(blocks: Iterable[bytes], url: str, *, page: bool = False) -> str:
    data = bytearray()
    for block in blocks:
        data += block
        if len(data) > _TEXT_LIMIT:
            raise _error(url, f"it goes on after {_TEXT_LIMIT} bytes, far more than a list of sums has", _LAYOUT_HINT)
    if page or data.lstrip().startswith(b"<"):
        raise _error(url, "the answer is a web page, not a list of sums", _PAGE_HINT)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _error(url, "the answer is not text", _LAYOUT_HINT) from error


# --- http: and https: -------------------------------------------------------------------------------


class _TransientError(Exception):
    """A try failed, and another one may not. ``after``: seconds that the server wants us to wait."""

    def __init__(self, what: str, *, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


def _persist(
    attempt: Callable[[], _T],
    url: str,
    *,
    policy: Policy,
    progress: Progress,
    sleep: Sleep,
    meter: _Meter,
) -> _T:
    """Call ``attempt`` until it returns, raises what is no _TransientError, or has failed too often."""
    failures = 0
    while True:
        reached = meter.reached
        try:
            return attempt()
        except _TransientError as failure:
            failures = 1 if meter.reached - reached >= _WORTHWHILE else failures + 1
            if failures >= policy.attempts:
                tries = f" ({failures} tries)" if failures > 1 else ""
                raise _error(url, f"{failure}{tries}", _NETWORK_HINT) from failure
            wait = policy.wait(failures, failure.after)
            progress.note(f"fetching {shown(url)}: {failure}; trying again in {wait:g} s")
        sleep(wait)


def _transfer(client: "httpx.Client", target: _Target) -> Downloaded:
    """Make one try, from where an earlier one ended if that can be; a beginning that is stale is dropped."""
    begun = _recall(target)
    if begun.size and begun.digest.hexdigest() == target.sha256:
        return Downloaded(target.sha256, begun.size)
    try:
        return _request(client, target, begun)
    except _StaleError:
        target.discard()
        return _request(client, target, _Begun())


def _request(client: "httpx.Client", target: _Target, begun: _Begun) -> Downloaded:
    accepted = {200, 206, 416} if begun.size else {200}
    with _answer(client, target.url, target.policy, accepted, begun.headers()) as response:
        resumed = response.status_code != 200  # noqa: PLR2004 - HTTP's own name for it
        if resumed:
            total = _remaining(response, begun)
        else:
            begun, total = _Begun(), _length(response)
            _remember(target, response)
        _receive(target, response.iter_raw(), begun, total, page=_is_page(response))
    if total is not None and begun.size < total:
        raise _TransientError(f"the answer ended after {begun.size} of {total} bytes")
    return _finish(target, begun, resumed=resumed)


def _length(response: "httpx.Response") -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _remaining(response: "httpx.Response", begun: _Begun) -> int | None:
    """Check that a 206 goes on where ``begun`` ends; return the size of the whole, if it says so."""
    text = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", text)
    if response.status_code != 206 or match is None or int(match[1]) != begun.size:  # noqa: PLR2004
        raise _StaleError
    if begun.validator.startswith('"') and response.headers.get("ETag", begun.validator) != begun.validator:
        raise _StaleError
    return None if match[2] == "*" else int(match[2])


def _get_text(client: "httpx.Client", url: str, policy: Policy) -> str:
    with _answer(client, url, policy, {200}, {}) as response:
        return _text(response.iter_raw(), url, page=_is_page(response))


def _is_page(response: "httpx.Response") -> bool:
    return str(response.headers.get("Content-Type", "")).lower().startswith("text/html")


@contextmanager
def _client(url: str, policy: Policy) -> Iterator["httpx.Client"]:
    """Open a client with the proxies and certificates that the environment names."""
    import httpx  # noqa: PLC0415 - takes 140 ms

    # Without identity, a server may compress once more, and neither Range nor the sum would fit the bytes.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"pyembed-gen/{__version__}"}
    try:
        client = httpx.Client(headers=headers, timeout=policy.timeout)
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        what = f"the proxy or certificate settings cannot be used ({shown(str(error))})"
        raise _error(url, what, _ENVIRONMENT_HINT) from error
    with client:
        yield client


@contextmanager
def _answer(
    client: "httpx.Client",
    url: str,
    policy: Policy,
    accepted: set[int],
    headers: Mapping[str, str],
) -> Iterator["httpx.Response"]:
    """Send a GET, follow redirects, and give the answer if its status is one of ``accepted``."""
    with _network(url, policy):
        request = client.build_request("GET", url, headers=headers)
        for _ in range(_REDIRECTS + 1):
            response = client.send(request, stream=True)
            try:
                if response.next_request is None:
                    _judge(response, url, accepted)
                    yield response
                    return
            finally:
                response.close()
            _check_redirect(url, request, response.next_request)
            request = response.next_request
        raise _error(url, f"it was redirected more than {_REDIRECTS} times", _PAGE_HINT)


@contextmanager
def _network(url: str, policy: Policy) -> Iterator[None]:
    """Sort what httpx raises into what may pass and what will not."""
    import httpx  # noqa: PLC0415 - takes 140 ms

    try:
        yield
    except httpx.TimeoutException as error:
        raise _TransientError(f"nothing came for {policy.timeout:g} s") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise _error(url, "not a URL that can be asked for", "check --mirror") from error
    except httpx.TransportError as error:
        text = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in text:
            raise _error(url, f"the server's certificate is not trusted ({text})", _TLS_HINT) from error
        if isinstance(error, httpx.ProxyError) and text.startswith("4"):
            raise _error(url, f"the proxy answered {text}", _ENVIRONMENT_HINT) from error
        raise _TransientError(f"the connection failed ({text})") from error


def _judge(response: "httpx.Response", url: str, accepted: set[int]) -> None:
    status = response.status_code
    if status in accepted:
        return
    what = f"the server answered {status} {response.reason_phrase}".rstrip()
    if status in {404, 410}:
        raise _not_found(url, what)
    if status in {408, 425, 429} or status >= 500:  # noqa: PLR2004
        raise _TransientError(what, after=_retry_after(response.headers.get("Retry-After", "")))
    if status in {401, 403, 407}:
        raise _error(url, what, "check the user and password in --mirror, and HTTPS_PROXY")
    raise _error(url, what, _LAYOUT_HINT)


def _retry_after(text: str) -> float | None:
    """Read seconds or a date (RFC 9110, 10.2.3)."""
    if re.fullmatch(r"[0-9]+", text):
        return float(text)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - takes 17 ms

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _check_redirect(url: str, before: "httpx.Request", after: "httpx.Request") -> None:
    """Refuse to leave the web or the protection of TLS; a signature in the new URL is not shown."""
    scheme, host = after.url.scheme, after.url.host
    if scheme not in {"https", "http"} or (before.url.scheme, scheme) == ("https", "http"):
        what = f"it was redirected from {before.url.scheme} to {scheme}://{host}, which is refused"
        raise _error(url, what, "use a --mirror that stays on https")
