"""Which URLs may be asked for, how they are shown, and how what went wrong with one is told."""

import re
from urllib.parse import urlsplit

from pyembed_gen.errors import FetchError, UsageError

__all__ = ["LAYOUT_HINT", "PAGE_HINT", "NotFoundError", "failure", "not_found", "scheme", "shown"]

LAYOUT_HINT = "check --pbs, --python and --mirror (its layout is BASE/<tag>/<asset>)"
"""For an answer that a right URL would not get."""
PAGE_HINT = "a login page or a proxy may be in the way: check --mirror and HTTPS_PROXY, open the URL in a browser"
"""For an answer that comes from somebody else than the mirror."""


class NotFoundError(FetchError):
    """The server answered, and has no such file."""


def shown(url: str) -> str:
    """Return ``url`` as it may appear in messages and files: with ``***`` for a user name and password."""
    return re.sub(r"://[^/?#\s]*@", "://***@", url)


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
