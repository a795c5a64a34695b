"""Answers of web servers: asked for with patience, across redirects, each failure sorted into passing and lasting.

httpx is imported when the first connection is made, because a run that has nothing to fetch must start fast.
"""

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pyembed_gen import __version__
from pyembed_gen.errors import FetchError, UsageError
from pyembed_gen.progress import Progress
from pyembed_gen.url import LAYOUT_HINT, PAGE_HINT, failure, host, not_found, shown

if TYPE_CHECKING:
    import httpx

__all__ = ["Policy", "Sleep", "TransientError", "answer", "is_page", "length", "open_client", "persist"]

_T = TypeVar("_T")
Sleep = Callable[[float], None]
"""Waits so many seconds."""

_LONGEST_WAIT = 60.0  # seconds
_REDIRECTS = 10
# A try that brought this much more starts the count of failures anew, so that a line that drops every few
# megabytes ends in an archive; less would let a hostile server keep us for ever, a byte at a time.
_WORTHWHILE = 1 << 20

_NETWORK_HINT = "check the network and HTTPS_PROXY, try again later{kept}, or see --mirror, --offline and --source host"
_TLS_HINT = "if a proxy of your organisation signs connections, set SSL_CERT_FILE to its certificates"
_ENVIRONMENT_HINT = "check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE"


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


class TransientError(Exception):
    """A try failed, and another one may not.

    ``what`` is said after the name of the server, ``detail`` after that in the end, of the last try alone;
    ``after``: seconds that the server wants us to wait.
    """

    def __init__(self, what: str, *, detail: str = "", after: float | None = None) -> None:
        super().__init__(what)
        self.detail = detail
        self.after = after


def persist(
    attempt: Callable[[], _T],
    url: str,
    *,
    policy: Policy,
    progress: Progress,
    sleep: Sleep,
    reached: Callable[[], int] = lambda: 0,
) -> _T:
    """Call ``attempt`` until it returns, raises what is no TransientError, or has failed too often.

    ``reached`` tells how many bytes there are by now. What is noted is the same for all files and tries that a
    host fails in one way. Raises FetchError after the last attempt.
    """
    failures = 0
    while True:
        before = reached()
        try:
            return attempt()
        except TransientError as error:
            failures = 1 if reached() - before >= _WORTHWHILE else failures + 1
            if failures >= policy.attempts:
                raise _given_up(url, error, failures, kept=reached() > 0) from error
            progress.note(f"{host(url)} {error}; trying again")
            wait = policy.wait(failures, error.after)
        sleep(wait)


def _given_up(url: str, error: TransientError, failures: int, *, kept: bool) -> FetchError:
    tries = f" ({failures} tries)" if failures > 1 else ""
    detail = f": {error.detail}" if error.detail else ""
    hint = _NETWORK_HINT.format(kept=" (what arrived is kept)" if kept else "")
    return failure(url, f"the server {error}{detail}{tries}", hint)


@contextmanager
def open_client(url: str, policy: Policy) -> Iterator["httpx.Client"]:
    """Open a client with the proxies and certificates that the environment names. Raises FetchError."""
    import httpx  # noqa: PLC0415 - takes 140 ms

    # Without identity, a server may compress once more, and neither Range nor the sum would fit the bytes.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"pyembed-gen/{__version__}"}
    try:
        opened = httpx.Client(headers=headers, timeout=policy.timeout)
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        what = f"the proxy or certificate settings cannot be used ({shown(str(error))})"
        raise failure(url, what, _ENVIRONMENT_HINT) from error
    with opened:
        yield opened


@contextmanager
def answer(
    client: "httpx.Client",
    url: str,
    policy: Policy,
    accepted: set[int],
    headers: Mapping[str, str],
) -> Iterator["httpx.Response"]:
    """Send a GET, follow redirects, and give the answer if its status is one of ``accepted``.

    The block reads the body. Raises TransientError for what may pass, NotFoundError (404, 410) and FetchError.
    """
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
        raise failure(url, f"it was redirected more than {_REDIRECTS} times", PAGE_HINT)


def length(response: "httpx.Response") -> int | None:
    """Return the bytes that Content-Length announces, if it does."""
    text = response.headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def is_page(response: "httpx.Response") -> bool:
    """Whether the answer is labelled as a web page, which some servers do with everything."""
    return str(response.headers.get("Content-Type", "")).lower().startswith("text/html")


@contextmanager
def _network(url: str, policy: Policy) -> Iterator[None]:
    """Sort what httpx raises into what may pass and what will not."""
    import httpx  # noqa: PLC0415 - takes 140 ms

    try:
        yield
    except httpx.ConnectTimeout as error:
        raise TransientError(f"cannot be reached (nothing came for {policy.timeout:g} s)") from error
    except httpx.TimeoutException as error:
        raise TransientError(f"sent nothing for {policy.timeout:g} s") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise failure(url, "not a URL that can be asked for", "check --mirror") from error
    except httpx.TransportError as error:
        text = re.sub(r"\[Errno -?[0-9]+\] ", "", str(error)) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in text:
            raise failure(url, f"the server's certificate is not trusted ({text})", _TLS_HINT) from error
        if isinstance(error, httpx.ProxyError) and text.startswith("4"):
            raise failure(url, f"the proxy answered {text}", _ENVIRONMENT_HINT) from error
        if isinstance(error, httpx.ProxyError):
            raise TransientError(f"cannot be reached (through the proxy: {text})") from error
        if isinstance(error, httpx.ConnectError):
            raise TransientError(f"cannot be reached ({text})") from error
        raise TransientError("gave no whole answer", detail=text) from error


def _judge(response: "httpx.Response", url: str, accepted: set[int]) -> None:
    status = response.status_code
    if status in accepted:
        return
    answered = f"answered {status} {response.reason_phrase}".rstrip()
    what = f"the server {answered}"
    if status in {404, 410}:
        raise not_found(url, what)
    if status in {408, 425, 429} or status >= 500:  # noqa: PLR2004
        raise TransientError(answered, after=_retry_after(response.headers.get("Retry-After", "")))
    if status in {401, 403, 407}:
        raise failure(url, what, "check the user and password in --mirror, and HTTPS_PROXY")
    raise failure(url, what, LAYOUT_HINT)


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
        raise failure(url, what, "use a --mirror that stays on https")
