"""Stage two of the pipeline: from the name of an archive to its verified bytes in the cache.

An archive has the sum that matrix.lock gives, or else the one in the SHA256SUMS of its release. What has
neither is refused, unless the caller says ``insecure``. Only an archive with the right sum ever has a place
in the cache, and it is hashed again each time it is used.
"""

import hashlib
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import quote

from pyembed_gen import cache as caching
from pyembed_gen import sums
from pyembed_gen.cache import Cache
from pyembed_gen.download import (
    Downloaded,
    NotFoundError,
    Policy,
    Sleep,
    download,
    fetch_text,
    hash_file,
    shown,
)
from pyembed_gen.errors import FetchError, UsageError
from pyembed_gen.filelock import exclusive
from pyembed_gen.progress import Progress, Silent

__all__ = ["Archive", "Verified", "Wanted", "expected_sum", "fetch", "is_cached", "known_sum"]

Verified: TypeAlias = Literal["lock", "release", "none"]

_LIST = "SHA256SUMS"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The asset of a release: ``<base>/<tag>/<asset>``.

    ``base`` is an https, http or file URL, with or without a slash at its end. Raises UsageError for an
    asset or tag that is not a plain name, since both become file names in the cache.
    """

    asset: str
    tag: str
    base: str

    def __post_init__(self) -> None:
        for name in (self.asset, self.tag):
            if not _PLAIN.fullmatch(name):
                raise UsageError(f"fetching {name!r}: not a plain name", hint="check --python and --pbs")

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
class Archive:
    """An archive in the cache.

    ``sha256`` in lowercase hex, ``url`` without credentials, ``size`` in bytes, ``cached``: nothing was
    downloaded, ``verified``: what vouches for the sum (``none``: nobody, it is computed).
    """

    path: Path
    asset: str
    sha256: str
    url: str
    size: int
    cached: bool
    verified: Verified


def fetch(
    wanted: Wanted,
    *,
    lock: sums.Sums,
    cache: Cache,
    policy: Policy,
    progress: Progress,
    offline: bool = False,
    insecure: bool = False,
    sleep: Sleep = time.sleep,
) -> Archive:
    """Return the archive, from the cache if it is there undamaged, else downloaded.

    Processes and threads that want the same archive wait for each other and download it once. ``offline``
    allows only the cache and file: URLs. Raises FetchError (also a wrong sum, or none without ``insecure``)
    and WriteError.
    """
    order = _Order(wanted, cache, policy, progress, sleep)
    found = expected_sum(
        wanted,
        lock,
        cache,
        offline=offline,
        insecure=insecure,
        policy=policy,
        progress=progress,
        sleep=sleep,
    )
    if found is None:
        return _fetch_unverified(order, offline=offline)
    return _fetch_verified(order, *found, offline=offline)


def expected_sum(
    wanted: Wanted,
    lock: sums.Sums,
    cache: Cache,
    *,
    offline: bool,
    insecure: bool,
    policy: Policy,
    progress: Progress,
    sleep: Sleep = time.sleep,
) -> tuple[str, Verified] | None:
    """Return the sum that the archive must have and who says so: the lock first, then the release.

    None if nobody does and ``insecure`` allows that. Raises FetchError if nobody does otherwise, naming the
    assets of the release that look most like it.
    """
    if digest := lock.get(wanted.asset):
        return digest, "lock"
    order = _Order(wanted, cache, policy, progress, sleep)
    try:
        return _release_sum(order, offline=offline), "release"
    except FetchError as error:
        if not insecure:
            raise
        progress.note(f"{wanted.asset} is not verified: {error.args[0]}")
        return None


def known_sum(wanted: Wanted, lock: sums.Sums, cache: Cache) -> str | None:
    """Return the expected sum as far as it is known without the network: lock, cached sums, file: URL."""
    if digest := lock.get(wanted.asset):
        return digest
    if not wanted.is_local:
        return _cached_sums(wanted, cache).get(wanted.asset)
    try:
        text = fetch_text(wanted.sums_url, policy=Policy(), progress=Silent())
        return _parse(text, wanted).get(wanted.asset)
    except FetchError:
        return None


def release_sums(
    base: str, tag: str, *, cache: Cache, policy: Policy, progress: Progress, offline: bool = False
) -> sums.Sums:
    """Return the sums of all assets of a release, from the cache if they are there.

    Raises FetchError if the list cannot be had, or is not cached and ``offline`` forbids to ask for it.
    """
    wanted = Wanted(_LIST, tag, base)
    order = _Order(wanted, cache, policy, progress, time.sleep)
    if not wanted.is_local and (listed := _cached_sums(wanted, cache)):
        return listed
    order.check_reachable(offline=offline)
    return _downloaded_sums(order)


def is_cached(wanted: Wanted, sha256: str, cache: Cache) -> bool:
    """Whether there is a file for that archive; :func:`fetch` is what checks that it is intact."""
    return _path(cache, sha256, wanted.asset).is_file()


def _path(cache: Cache, sha256: str, asset: str) -> Path:
    return cache.archives / f"{sha256}-{asset}"


@dataclass(frozen=True, slots=True)
class _Order:
    """What is wanted, and how it may be had."""

    wanted: Wanted
    cache: Cache
    policy: Policy
    progress: Progress
    sleep: Sleep

    def download(self, part: Path, digest: str | None, final: Callable[[Downloaded], Path]) -> tuple[Path, Downloaded]:
        """Download into ``part`` and give it its ``final`` name; nothing that failed ever has that name."""
        got = download(
            self.wanted.url,
            part,
            sha256=digest,
            policy=self.policy,
            progress=self.progress,
            sleep=self.sleep,
        )
        with self.cache.writing():
            return part.replace(final(got)), got

    def waiting(self) -> None:
        self.progress.note(f"waiting for another process that is fetching {self.wanted.asset}")

    def lock_file(self, name: str) -> Path:
        self.cache.create(self.cache.archives)
        return self.cache.create(self.cache.locks) / name

    def check_reachable(self, *, offline: bool) -> None:
        if offline and not self.wanted.is_local:
            raise FetchError(
                f"fetching {shown(self.wanted.url)}: no intact copy is cached, and this run is --offline",
                hint="run once without --offline, or name a folder with --mirror file:///…",
            )


def _fetch_verified(order: _Order, digest: str, verified: Verified, *, offline: bool) -> Archive:
    path = _path(order.cache, digest, order.wanted.asset)
    size = _intact_size(path, digest)
    cached = size is not None
    if size is None:
        order.check_reachable(offline=offline)
        with exclusive(order.lock_file(digest), waiting=order.waiting):
            size = _intact_size(path, digest)  # another process may have been faster
            cached = size is not None
            if size is None:
                size = _replace(order, path, digest)
    if cached:
        caching.touch(path)
    return _archive(order, path, Downloaded(digest, size), cached=cached, verified=verified)


def _intact_size(path: Path, digest: str) -> int | None:
    try:
        found = hash_file(path)
    except OSError:
        return None
    return found.size if found.sha256 == digest else None


def _replace(order: _Order, path: Path, digest: str) -> int:
    """Download to ``path``, instead of what may be there."""
    with order.cache.writing():
        if path.exists():
            order.progress.note(f"the cached {order.wanted.asset} is damaged; fetching it again")
            path.unlink()
    _, got = order.download(path.with_name(f"{path.name}.part"), digest, lambda _: path)
    return got.size


def _fetch_unverified(order: _Order, *, offline: bool) -> Archive:
    order.check_reachable(offline=offline)
    asset = order.wanted.asset
    key = hashlib.sha256(shown(order.wanted.url).encode()).hexdigest()
    with exclusive(order.lock_file(key), waiting=order.waiting):
        part = _path(order.cache, key, f"{asset}.part")
        path, got = order.download(part, None, lambda got: _path(order.cache, got.sha256, asset))
    return _archive(order, path, got, cached=False, verified="none")


def _archive(order: _Order, path: Path, got: Downloaded, *, cached: bool, verified: Verified) -> Archive:
    wanted = order.wanted
    return Archive(path, wanted.asset, got.sha256, shown(wanted.url), got.size, cached, verified)


# --- the sums of a release --------------------------------------------------------------------------


def _release_sum(order: _Order, *, offline: bool) -> str:
    wanted = order.wanted
    if not wanted.is_local:
        if digest := _cached_sums(wanted, order.cache).get(wanted.asset):
            return digest
        if offline:
            raise FetchError(
                f"checking {wanted.asset}: neither matrix.lock nor cached sums of {wanted.tag} list it",
                hint="run once without --offline, or add its sum to matrix.lock",
            )
    listed = _downloaded_sums(order)
    if wanted.asset not in listed:
        raise _no_such_asset(wanted, listed)
    return listed[wanted.asset]


def _downloaded_sums(order: _Order) -> sums.Sums:
    wanted = order.wanted
    try:
        text = fetch_text(wanted.sums_url, policy=order.policy, progress=order.progress, sleep=order.sleep)
    except NotFoundError as error:
        raise FetchError(
            f"{error.args[0]}, and {wanted.asset} is not in matrix.lock, so nothing vouches for it",
            hint=f"{error.hint}, add its sum to matrix.lock, or accept any bytes with --insecure",
        ) from error
    listed = _parse(text, wanted)
    if not wanted.is_local:
        _keep(order, text)
    return listed


def _parse(text: str, wanted: Wanted) -> sums.Sums:
    return sums.parse(text, where=shown(wanted.sums_url), hint="check --mirror, or try another one")


def _keep(order: _Order, text: str) -> None:
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
