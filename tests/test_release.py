"""The list of a release is taken from the cache, the mirror or a folder, and what it does not have is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fetching import ASSET, BODY, FILE, LIST, LOCK, SUM, TAG, WRONG, Bench, folder_mirror
from pyembed_gen.cache import Cache
from pyembed_gen.errors import FetchError, UsageError
from pyembed_gen.fetch import known_sum
from pyembed_gen.release import Wanted
from web import Reply, Web, page


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Web() as web:
        yield Bench(web, Cache(tmp_path / "cache"))


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return folder_mirror(tmp_path / "my mirror")


def test_urls() -> None:
    """A plus is encoded for servers that would take it for a blank, and not in file URLs."""
    assert Wanted("a+b.tar.zst", "1", "https://host/x/").url == "https://host/x/1/a%2Bb.tar.zst"
    assert Wanted("a+b.tar.zst", "1", "file:///x").url == "file:///x/1/a+b.tar.zst"
    assert Wanted("a", "1", "https://host/x").sums_url == "https://host/x/1/SHA256SUMS"


@pytest.mark.parametrize(("asset", "tag"), [("../a", "1"), ("a", "1/.."), ("", "1"), ("a", ".."), ("a b", "1")])
def test_names_that_would_leave_the_cache_are_refused(asset: str, tag: str) -> None:
    """Names come from command lines and become file names."""
    with pytest.raises(UsageError, match="not a plain name"):
        Wanted(asset, tag, "https://host")


# --- the list of a mirror -----------------------------------------------------------------------------


def test_an_archive_that_the_lock_does_not_know(bench: Bench) -> None:
    """Its release's SHA256SUMS vouches for it, and is cached with it."""
    bench.serve()
    assert bench.get({}).verified == "release"
    assert bench.asked == ["SHA256SUMS", ASSET.replace("+", "%2B")]
    assert bench.get({}, offline=True).cached
    assert len(bench.web.requests) == 2
    assert sorted(path.name for path in bench.cache.temporary.iterdir()) == []


def test_a_cached_list_without_the_asset_is_asked_for_anew(bench: Bench) -> None:
    """Once: a release may get more assets after its first hour."""
    bench.serve(listed=f"{WRONG}  other\n")
    with pytest.raises(FetchError, match="no such asset"):
        bench.get({})
    bench.serve()
    assert bench.get({}).verified == "release"
    assert bench.asked.count("SHA256SUMS") == 2


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff\xfe"])
def test_a_damaged_cached_list_is_asked_for_anew(bench: Bench, damage: bytes) -> None:
    """It is as if there were none."""
    bench.serve()
    bench.get({})
    (listed,) = bench.cache.releases.iterdir()
    listed.write_bytes(damage)
    assert known_sum(bench.wanted, {}, bench.cache) is None
    assert bench.get({}).cached
    assert known_sum(bench.wanted, {}, bench.cache) == SUM


def test_lists_of_two_mirrors_and_two_tags_are_kept_apart(bench: Bench) -> None:
    """One mirror's list says nothing about another's."""
    bench.serve()
    bench.get({})
    assert known_sum(Wanted(ASSET, TAG, bench.web.url + "/x"), {}, bench.cache) is None
    assert known_sum(Wanted(ASSET, "20260414", bench.web.url), {}, bench.cache) is None
    assert known_sum(Wanted(ASSET, TAG, bench.web.url + "/"), {}, bench.cache) == SUM


def test_an_asset_that_the_release_does_not_have(bench: Bench) -> None:
    """The line names the nearest ones, at most three."""
    names = [ASSET.replace("3.14.9", f"3.14.{minor}") for minor in range(5)] + ["SBOM.json"]
    bench.serve(listed="".join(f"{WRONG}  {name}\n" for name in names))
    with pytest.raises(FetchError) as caught:
        bench.get({})
    message = str(caught.value)
    assert f"looking for {ASSET} in {bench.web.url}{LIST}: the release has no such asset (nearest: " in message
    assert message.count("cpython-3.14.") == 4
    assert "SBOM" not in message
    assert message.endswith("check --python, --only-platforms and --pbs")
    bench.serve(listed=f"{WRONG}  SBOM.json\n")
    with pytest.raises(FetchError, match="no such asset; check"):
        bench.get({})


def test_nothing_vouches_for_it(bench: Bench) -> None:
    """Without lock and list it is refused, and the line names the three ways out."""
    bench.web.serve(FILE, BODY)
    with pytest.raises(FetchError) as caught:
        bench.get({})
    for word in (f"{bench.web.url}{LIST}: the server answered 404", "--mirror", "matrix.lock", "--insecure"):
        assert word in str(caught.value)
    assert ASSET.replace("+", "%2B") not in bench.asked


@pytest.mark.parametrize("reply", [page(), Reply(b"nonsense"), Reply(status=500)])
def test_a_list_that_cannot_be_used(bench: Bench, reply: Reply) -> None:
    """It is not cached, and the line names its URL."""
    bench.serve()
    bench.web.serve(LIST, reply)
    with pytest.raises(FetchError, match=f"{bench.web.url}{LIST}"):
        bench.get({})
    assert not list(bench.cache.releases.glob("*"))


def test_offline_without_a_list(bench: Bench) -> None:
    """The line says what to do, and nobody is asked."""
    with pytest.raises(FetchError, match=r"its sum is not known offline.*name the same --mirror.*matrix.lock"):
        bench.get({}, offline=True)
    assert bench.web.requests == []


# --- the list of a folder -----------------------------------------------------------------------------


def test_the_list_of_a_folder_is_always_read_anew(bench: Bench, mirror: Path) -> None:
    """Somebody may be filling it right now."""
    wanted = Wanted(ASSET, TAG, mirror.as_uri())
    assert known_sum(wanted, {}, bench.cache) == SUM
    (mirror / TAG / "SHA256SUMS").write_text(f"{WRONG}  {ASSET}\n", encoding="utf-8")
    assert known_sum(wanted, {}, bench.cache) == WRONG
    with pytest.raises(FetchError, match="wrong sha256"):
        bench.get({}, wanted=wanted)
    (mirror / TAG / "SHA256SUMS").unlink()
    assert known_sum(wanted, {}, bench.cache) is None
    with pytest.raises(FetchError, match="there is no such file, and"):
        bench.get({}, wanted=wanted)


# --- all sums of a release ----------------------------------------------------------------------------


def test_all_sums_of_a_release(bench: Bench) -> None:
    """They are asked for once, and known offline from then on."""
    bench.serve()
    for offline in (False, True):
        assert bench.listed(bench.web.url, offline=offline) == LOCK
    assert bench.asked == ["SHA256SUMS"]


def test_all_sums_of_a_folder(bench: Bench, mirror: Path) -> None:
    """No network is needed, and nothing is cached."""
    assert bench.listed(mirror.as_uri(), offline=True) == LOCK
    assert not bench.cache.releases.exists()


def test_a_release_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    """The list itself was wanted: the line says so, and nothing of sums and of --insecure."""
    bases = bench.web.url.replace("//", "//user:hush@"), str(tmp_path), (tmp_path / "gone").as_uri()
    shown = bench.web.url.replace("//", "//***@"), tmp_path.as_uri(), (tmp_path / "gone").as_uri()
    for base, where in zip(bases, shown, strict=True):
        with pytest.raises(FetchError) as caught:
            bench.listed(base, offline=False)
        assert str(caught.value) == (
            f"release {TAG} is not at {where}: there is no {TAG}/SHA256SUMS; check --pbs and --mirror "
            "(layout BASE/<tag>/<asset>), or name a full version with --python X.Y.Z"
        )


def test_all_sums_of_a_folder_by_its_path(bench: Bench, mirror: Path) -> None:
    """As for a single asset."""
    assert bench.listed(str(mirror), offline=True) == LOCK


def test_all_sums_offline(bench: Bench) -> None:
    """Without a cached list, nobody is asked."""
    with pytest.raises(FetchError, match=f"{bench.web.url}{LIST}: no intact copy is cached.*--offline"):
        bench.listed(bench.web.url, offline=True)
    assert bench.web.requests == []
