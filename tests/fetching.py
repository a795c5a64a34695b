"""A mirror and a cache: what tests of archives and of the lists of releases share.

bench = Bench(web, Cache(tmp_path / "cache"))
bench.serve()
assert bench.get().path.read_bytes() == BODY
assert bench.asked == ["SHA256SUMS", ASSET]
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from pyembed_gen import sums
from pyembed_gen.cache import Cache
from pyembed_gen.download import Policy
from pyembed_gen.fetch import Archive, check, fetch
from pyembed_gen.progress import Silent, Task
from pyembed_gen.release import Wanted, release_sums
from web import Reply, Web

TAG = "20261021"

ASSET = f"cpython-3.14.9+{TAG}-x86_64-unknown-linux-gnu-pgo+lto-full.tar.zst"

BODY = b"\x28\xb5\x2f\xfd" + b"archive" * 30_000

SUM = hashlib.sha256(BODY).hexdigest()

WRONG = "0" * 64

LOCK = {ASSET: SUM}

FILE = f"/{TAG}/{ASSET}"

LIST = f"/{TAG}/SHA256SUMS"


class Heard(Silent):
    """Progress that remembers its notes and the names of its tasks."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.tasks: list[str] = []

    def task(self, label: str, total: int | None = None, *, unit: str = "bytes") -> Task:
        """Remember a name."""
        self.tasks.append(label)
        return super().task(label, total, unit=unit)

    def note(self, message: str) -> None:
        """Remember a note."""
        self.notes.append(message)


@dataclass
class Bench:
    """A mirror and a cache."""

    web: Web
    cache: Cache
    progress: Heard = field(default_factory=Heard)

    @property
    def wanted(self) -> Wanted:
        """What the mirror has."""
        return Wanted(ASSET, TAG, self.web.url)

    def get(
        self,
        lock: sums.Sums = LOCK,
        *,
        wanted: Wanted | None = None,
        offline: bool = False,
        insecure: bool = False,
        timeout: float = 5,
    ) -> Archive:
        """Fetch what is wanted."""
        return fetch(
            wanted or self.wanted,
            lock=lock,
            cache=self.cache,
            policy=Policy(attempts=2, timeout=timeout),
            progress=self.progress,
            offline=offline,
            insecure=insecure,
            sleep=lambda _: None,
        )

    def check(
        self, lock: sums.Sums, wanted: Wanted | None = None, *, offline: bool = False, insecure: bool = False
    ) -> None:
        """Ask whether what is wanted could be fetched."""
        check(
            wanted or self.wanted,
            lock=lock,
            cache=self.cache,
            policy=Policy(attempts=1, timeout=5),
            progress=self.progress,
            offline=offline,
            insecure=insecure,
        )

    def serve(self, body: bytes = BODY, listed: str = f"{SUM}  {ASSET}\n") -> None:
        """Put archive and list on the mirror."""
        self.web.serve(FILE, Reply(body, etag='"one"'))
        self.web.serve(LIST, listed.encode())

    def listed(self, base: str, *, offline: bool) -> sums.Sums:
        """Return the sums of a whole release."""
        policy = Policy(attempts=1, timeout=5)
        return release_sums(base, TAG, cache=self.cache, policy=policy, progress=self.progress, offline=offline)

    def archives(self) -> list[str]:
        """Name what is in the cache."""
        return sorted(path.name for path in self.cache.archives.glob("*"))

    @property
    def asked(self) -> list[str]:
        """The last path element of each request."""
        return [request.path.rpartition("/")[2] for request in self.web.requests]


def folder_mirror(folder: Path) -> Path:
    """Make ``folder`` a mirror with its own SHA256SUMS, and return it."""
    (folder / TAG).mkdir(parents=True)
    (folder / TAG / ASSET).write_bytes(BODY)
    (folder / TAG / "SHA256SUMS").write_text(sums.render(LOCK), encoding="utf-8")
    return folder
