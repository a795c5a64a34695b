"""A release of a mirror: where its assets are, and the sums that its SHA256SUMS lists for them.

A list that was downloaded is cached, one of a folder is read anew each time, since somebody may be filling the
folder right now.
"""

import hashlib
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pyembed_gen import cache as caching
from pyembed_gen import sums
from pyembed_gen.cache import Cache
from pyembed_gen.download import NotFoundError, Policy, Sleep, check_file, fetch_text, shown
from pyembed_gen.errors import FetchError, UsageError
from pyembed_gen.progress import Progress, Silent
from pyembed_gen.url import base_url

__all__ = ["Order", "Wanted", "known_sums", "release_sum", "release_sums"]

_LIST = "SHA256SUMS"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The asset of a release: ``<base>/<tag>/<asset>``.

    ``base`` is an https, http or file URL, with or without a slash at its end, or the path of a folder, which
    becomes its file: URL. ``label`` is what progress calls the asset, by default its name. Raises UsageError for
    a path without a folder, and for an asset or tag that is not a plain name, since both become file names in
    the cache.
    """

    asset: str
    tag: str
    base: str
    label: str = ""

    def __post_init__(self) -> None:
        for name in (self.asset, self.tag):
            if not _PLAIN.fullmatch(name):
                raise UsageError(f"fetching {name!r}: not a plain name", hint="check --python and --pbs")
        object.__setattr__(self, "base", base_url(self.base))

    @property
    def url(self) -> str:
        """Where the archive is; ``+`` is percent-encoded except in file URLs."""
        return self._url_of(self.asset)

    @property
    def sums_url(self) -> str:
        """Where the sums of the release are."""
        return self._url_of(_LIST)

    @property
    def is_local(self) -> bool:
        """Whether no network is needed."""
        return self.base.lower().startswith("file:")

    def _url_of(self, asset: str) -> str:
        return f"{self.base.rstrip('/')}/{self.tag}/{asset if self.is_local else quote(asset)}"


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted, and how it may be had; ``offline`` allows only the cache and file: URLs."""

    wanted: Wanted
    cache: Cache
    policy: Policy
    progress: Progress
    offline: bool = False
    sleep: Sleep = time.sleep

    def check_reachable(self) -> None:
        """Raise FetchError if what is wanted is a file that is not there, or needs a network that must not be used."""
        if self.wanted.is_local:
            check_file(self.wanted.url)
        elif self.offline:
            raise FetchError(
                f"fetching {shown(self.wanted.url)}: no intact copy is cached, and this run is --offline",
                hint="run once without --offline, or name a folder with --mirror",
            )


def release_sum(order: Order) -> str:
    """Return the sum that the release lists for what is wanted, from the cache if it is there.

    Raises FetchError if the list cannot be had or does not have it, naming the assets that look most like it.
    """
    wanted = order.wanted
    if not wanted.is_local:
        if digest := _cached_sums(wanted, order.cache).get(wanted.asset):
            return digest
        if order.offline:
            raise FetchError(
                f"checking {wanted.asset}: its sum is not known offline, neither from matrix.lock nor from an earlier "
                f"run with {shown(wanted.base)}",
                hint="name the same --mirror again, add the sum to matrix.lock, or run once without --offline",
            )
    try:
        listed = _downloaded_sums(order)
    except NotFoundError as error:
        raise FetchError(
            f"{error.args[0]}, and {wanted.asset} is not in matrix.lock, so nothing vouches for it",
            hint=f"{error.hint}, add its sum to matrix.lock, or accept any bytes with --insecure",
        ) from error
    if wanted.asset not in listed:
        raise _no_such_asset(wanted, listed)
    return listed[wanted.asset]


def release_sums(
    base: str, tag: str, *, cache: Cache, policy: Policy, progress: Progress, offline: bool = False
) -> sums.Sums:
    """Return the sums of all assets of a release, from the cache if they are there.

    Raises FetchError if the list cannot be had, or is not cached and ``offline`` forbids to ask for it.
    """
    order = Order(Wanted(_LIST, tag, base), cache, policy, progress, offline)
    if not order.wanted.is_local and (listed := _cached_sums(order.wanted, cache)):
        return listed
    try:
        order.check_reachable()
        return _downloaded_sums(order)
    except NotFoundError as error:
        raise FetchError(
            f"release {tag} is not at {shown(order.wanted.base)}: there is no {tag}/{_LIST}",
            hint="check --pbs and --mirror (layout BASE/<tag>/<asset>), or name a full version with --python X.Y.Z",
        ) from error


def known_sums(wanted: Wanted, cache: Cache) -> sums.Sums:
    """Return the sums of the release as far as they are known without the network; those of a folder always are."""
    if not wanted.is_local:
        return _cached_sums(wanted, cache)
    try:
        return _parse(fetch_text(wanted.sums_url, policy=Policy(), progress=Silent()), wanted)
    except FetchError:
        return {}


def _downloaded_sums(order: Order) -> sums.Sums:
    """Ask for the list of the release. Raises NotFoundError if there is none, and FetchError."""
    wanted = order.wanted
    text = fetch_text(wanted.sums_url, policy=order.policy, progress=order.progress, sleep=order.sleep)
    listed = _parse(text, wanted)
    if not wanted.is_local:
        _keep(order, text)
    return listed


def _parse(text: str, wanted: Wanted) -> sums.Sums:
    return sums.parse(text, where=shown(wanted.sums_url), hint="check --mirror, or try another one")


def _keep(order: Order, text: str) -> None:
    """Cache the list of a release, whole or not at all."""
    path = _cached_list(order.wanted, order.cache)
    order.cache.create(path.parent)
    folder = order.cache.create(order.cache.temporary)
    with order.cache.writing():
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(text.encode())
        Path(file.name).replace(path)


def _cached_list(wanted: Wanted, cache: Cache) -> Path:
    base = hashlib.sha256(shown(wanted.base.rstrip("/")).encode()).hexdigest()[:16]
    return cache.releases / f"{base}-{wanted.tag}"


def _cached_sums(wanted: Wanted, cache: Cache) -> sums.Sums:
    """Read the list of the release without the network; one that is missing or damaged lists nothing."""
    path = _cached_list(wanted, cache)
    try:
        listed = _parse(path.read_text(encoding="utf-8"), wanted)
    except (OSError, ValueError, FetchError):
        return {}
    caching.touch(path)
    return listed


def _no_such_asset(wanted: Wanted, listed: sums.Sums) -> FetchError:
    import difflib  # noqa: PLC0415 - only for this message

    near = difflib.get_close_matches(wanted.asset, listed, n=3)
    nearest = f" (nearest: {', '.join(near)})" if near else ""
    return FetchError(
        f"looking for {wanted.asset} in {shown(wanted.sums_url)}: the release has no such asset{nearest}",
        hint="check --python, --only-platforms and --pbs",
    )
