"""Stage two of the pipeline: from the name of an archive to its verified bytes in the cache.

An archive has the sum that matrix.lock gives, or else the one in the SHA256SUMS of its release. What has
neither is refused, unless the caller says ``insecure``. Only an archive with the right sum ever has a place
in the cache, and it is hashed again each time it is used.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pyembed_gen import cache as caching
from pyembed_gen import sums
from pyembed_gen.cache import Cache
from pyembed_gen.download import Downloaded, Policy, Sleep, download, hash_file, shown
from pyembed_gen.errors import FetchError
from pyembed_gen.filelock import exclusive
from pyembed_gen.progress import Progress
from pyembed_gen.release import Order, Wanted, known_sums, release_sum

__all__ = ["Archive", "Verified", "check", "expected_sum", "fetch", "is_cached", "known_sum"]

Verified: TypeAlias = Literal["lock", "release", "none"]
"""What vouches for the sum of an archive; ``none``: nobody, it is computed."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive in the cache.

    ``sha256`` in lowercase hex, ``url`` without credentials, ``size`` in bytes, ``cached``: nothing was
    downloaded, ``verified``: what vouches for the sum.
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
    order = Order(wanted, cache, policy, progress, offline, sleep)
    found = expected_sum(order, lock, insecure=insecure)
    if found is None:
        return _fetch_unverified(order)
    return _fetch_verified(order, *found)


def check(
    wanted: Wanted,
    *,
    lock: sums.Sums,
    cache: Cache,
    policy: Policy,
    progress: Progress,
    offline: bool = False,
    insecure: bool = False,
    sleep: Sleep = time.sleep,
) -> None:
    """Raise what :func:`fetch` would raise, as far as that shows without asking a server for the archive.

    That is for an asset that neither the lock nor the release lists, one that a folder does not have, and one
    that is not cached when ``offline`` forbids to ask for it.
    """
    order = Order(wanted, cache, policy, progress, offline, sleep)
    found = expected_sum(order, lock, insecure=insecure)
    if found is None or not is_cached(wanted, found[0], cache):
        order.check_reachable()


def expected_sum(order: Order, lock: sums.Sums, *, insecure: bool) -> tuple[str, Verified] | None:
    """Return the sum that the archive must have and who says so: the lock first, then the release.

    None if nobody does and ``insecure`` allows that. Raises FetchError if nobody does otherwise, naming the
    assets of the release that look most like it.
    """
    asset = order.wanted.asset
    if digest := lock.get(asset):
        return digest, "lock"
    try:
        return release_sum(order), "release"
    except FetchError as error:
        if not insecure:
            raise
        order.progress.note(f"{asset} is not verified: {error.args[0]}")
        return None


def known_sum(wanted: Wanted, lock: sums.Sums, cache: Cache) -> str | None:
    """Return the expected sum as far as it is known without the network: lock, cached sums, file: URL."""
    return lock.get(wanted.asset) or known_sums(wanted, cache).get(wanted.asset)


def is_cached(wanted: Wanted, sha256: str, cache: Cache) -> bool:
    """Whether there is a file for that archive; :func:`fetch` is what checks that it is intact."""
    return _path(cache, sha256, wanted.asset).is_file()


def _path(cache: Cache, sha256: str, asset: str) -> Path:
    return cache.archives / f"{sha256}-{asset}"


def _fetch_verified(order: Order, digest: str, verified: Verified) -> Archive:
    path = _path(order.cache, digest, order.wanted.asset)
    size = _intact_size(path, digest)
    cached = size is not None
    if size is None:
        order.check_reachable()
        with exclusive(_lock_file(order, digest), waiting=lambda: _say_waiting(order)):
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


def _replace(order: Order, path: Path, digest: str) -> int:
    """Download to ``path``, instead of what may be there."""
    with order.cache.writing():
        if path.exists():
            order.progress.note(f"the cached {order.wanted.asset} is damaged; fetching it again")
            path.unlink()
    _, got = _download(order, path.with_name(f"{path.name}.part"), digest, lambda _: path)
    return got.size


def _fetch_unverified(order: Order) -> Archive:
    order.check_reachable()
    asset = order.wanted.asset
    key = hashlib.sha256(shown(order.wanted.url).encode()).hexdigest()
    with exclusive(_lock_file(order, key), waiting=lambda: _say_waiting(order)):
        part = _path(order.cache, key, f"{asset}.part")
        path, got = _download(order, part, None, lambda got: _path(order.cache, got.sha256, asset))
    return _archive(order, path, got, cached=False, verified="none")


def _download(
    order: Order, part: Path, digest: str | None, final: Callable[[Downloaded], Path]
) -> tuple[Path, Downloaded]:
    """Download into ``part`` and give it its ``final`` name; nothing that failed ever has that name."""
    got = download(
        order.wanted.url,
        part,
        sha256=digest,
        policy=order.policy,
        progress=order.progress,
        label=order.wanted.label,
        sleep=order.sleep,
    )
    with order.cache.writing():
        return part.replace(final(got)), got


def _lock_file(order: Order, name: str) -> Path:
    order.cache.create(order.cache.archives)
    return order.cache.create(order.cache.locks) / name


def _say_waiting(order: Order) -> None:
    order.progress.note(f"waiting for another process that is fetching {order.wanted.asset}")


def _archive(order: Order, path: Path, got: Downloaded, *, cached: bool, verified: Verified) -> Archive:
    wanted = order.wanted
    return Archive(path, wanted.asset, got.sha256, shown(wanted.url), got.size, cached, verified)
