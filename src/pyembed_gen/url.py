"""Which URLs may be asked for, how they are shown, and how what went wrong with one is told."""

import re
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from pyembed_gen.errors import FetchError, UsageError

__all__ = ["LAYOUT_HINT", "PAGE_HINT", "NotFoundError", "base_url", "failure", "host", "not_found", "scheme", "shown"]

LAYOUT_HINT = "check --pbs, --python and --mirror (its layout is BASE/<tag>/<asset>)"
"""For an answer that a right URL would not get."""
PAGE_HINT = "a login page or a proxy may be in the way: check --mirror and HTTPS_PROXY, open the URL in a browser"
"""For an answer that comes from somebody else than the mirror."""

_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # longer than the letter of a Windows drive


class NotFoundError(FetchError):
    """The server answered, and has no such file."""


def shown(url: str) -> str:
    """Return ``url`` for messages and files: ``***`` for a user name and password, a plus instead of ``%2B``."""
    return re.sub(r"%2[Bb]", "+", re.sub(r"://[^/?#\s]*@", "://***@", url))


def host(url: str) -> str:
    """Return the host of ``url``, with the port if it names one."""
    return urlsplit(url).netloc.rpartition("@")[2]


def base_url(text: str) -> str:
    """Return what was given as the base of a mirror as a URL: a folder by its path becomes its file: URL.

    What is a URL is returned as it is. Raises UsageError for a path at which there is no folder.
    """
    if _HAS_SCHEME.match(text):
        return text
    path = Path(text).absolute()
    if not text or not path.is_dir():
        hint = f"name a folder that exists ({_file_url(path)}), or a URL that begins with https://"
        raise UsageError(f"looking for the mirror {text!r}: there is no such folder", hint=hint)
    return _file_url(path)


def _file_url(path: PurePath) -> str:
    """Return the file: URL of an absolute path (RFC 8089; a Windows share in its E.3.2 form, with an empty host)."""
    url = path.as_uri()
    return url if url.startswith("file:///") else url.replace("file://", "file:////", 1)


def scheme(url: str) -> str:
    """Return ``https``, ``http`` or ``file``. Raises UsageError for any other URL."""
    try:
        found = urlsplit(url).scheme
    except ValueError:
        found = ""
    if found not in {"https", "http", "file"}:
        raise UsageError(f"fetching {shown(url)}: not an https, http or file URL", hint="check --mirror")
    return found


def failure(url: str, what: str, hint: str) -> FetchError:
    """Return the error to raise when fetching ``url`` ended with ``what``."""
    return FetchError(f"fetching {shown(url)}: {what}", hint=hint)


def not_found(url: str, what: str) -> NotFoundError:
    """Return the error to raise when there is nothing at ``url``; ``what`` says how that showed."""
    return NotFoundError(f"fetching {shown(url)}: {what}", hint=LAYOUT_HINT)
