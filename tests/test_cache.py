"""The cache keeps what it made, says what it takes, and deletes nothing else."""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pyembed_gen.cache import Amount, Cache, Removed, clear, default_root, prune, touch, usage
from pyembed_gen.errors import WriteError
from pyembed_gen.filelock import exclusive

SUM = "ab" * 32
DAY = 86400
MINE: Mapping[str, bytes] = {
    f"archives/{SUM}-a.tar.zst": b"12345",
    f"archives/{SUM}-a.tar.zst.part": b"123",
    f"archives/{SUM}-a.tar.zst.part.json": b"{}",
    f"packs/ab/{SUM}": b"1234567",
    f"packs/cd/{SUM}": b"",
    "releases/0123456789abcdef-20261021": b"sums",
    "temporary/tmpabc": b"x",
    f"wheels/{SUM}.whl": b"wh",
}
THEIRS = [
    "CACHEDIR.TAG",
    "notes.txt",
    "archives/photos.zip",
    "archives/2025/photos.zip",
    f"packs/{SUM}",
    f"packs/ab/cd/{SUM}",
    "packs/ab/readme",
    "releases/v1",
    "temporary/letter.odt",
    "temporary/run-abc/blob",
    "locks/mine",
    "wheels/mine-1.0-py3-none-any.whl",
    f"other/{SUM}-a",
]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def fill(cache: Cache, files: Mapping[str, bytes], *, age: float = 0) -> None:
    for name, content in files.items():
        path = cache.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        used = time.time() - age
        os.utime(path, (used, used))


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_the_default_root() -> None:
    """$PYEMBED_CACHE, or the system's folder for caches; an empty variable is as none."""
    assert default_root({"PYEMBED_CACHE": "/somewhere"}) == Path("/somewhere")
    assert default_root({}) == default_root({"PYEMBED_CACHE": ""})
    assert default_root({}).parts[-1] == "pyembed-gen"
    assert default_root({}).is_absolute()


def test_the_folders(cache: Cache) -> None:
    """All of them are below the root, and asking for them makes nothing."""
    folders = [cache.archives, cache.packs, cache.releases, cache.temporary, cache.locks]
    assert [folder.relative_to(cache.root).as_posix() for folder in folders] == [
        "archives",
        "packs",
        "releases",
        "temporary",
        "locks",
    ]
    assert not cache.root.exists()


def test_a_new_cache_is_tagged(cache: Cache) -> None:
    """Backup programs know it by the signature; making folders again changes nothing."""
    assert cache.create(cache.packs / "ab").is_dir()
    tag = cache.root / "CACHEDIR.TAG"
    assert tag.read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    tag.write_bytes(b"changed")
    cache.create(cache.packs / "ab")
    cache.create(cache.archives)
    assert tag.read_bytes() == b"changed"


def test_an_empty_folder_is_tagged_and_a_used_one_is_not(tmp_path: Path) -> None:
    """A person who names their home as cache still wants it in their backup."""
    for name in ("empty", "used"):
        (tmp_path / name).mkdir()
    (tmp_path / "used" / "letter").write_bytes(b"")
    for name in ("empty", "used"):
        cache = Cache(tmp_path / name)
        cache.create(cache.archives)
    assert (tmp_path / "empty" / "CACHEDIR.TAG").exists()
    assert not (tmp_path / "used" / "CACHEDIR.TAG").exists()


def test_a_cache_that_cannot_be_written_names_the_ways_out(tmp_path: Path) -> None:
    """Exit 5, with the folder, the option and the variable."""
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(tmp_path / "file" / "cache")
    with pytest.raises(WriteError) as caught:
        cache.create(cache.archives)
    message = str(caught.value)
    for word in (str(cache.root), f"{tmp_path / 'file'} is not a folder", "--cache-dir", "$PYEMBED_CACHE"):
        assert word in message


def test_usage_counts_by_kind(cache: Cache) -> None:
    """Files of others are not counted; a cache that is not there is empty."""
    assert usage(cache).total == Amount(0, 0)
    fill(cache, MINE)
    fill(cache, dict.fromkeys(THEIRS, b"theirs"))
    found = usage(cache)
    assert found.kinds == {
        "archives": Amount(3, 10),
        "packs": Amount(2, 7),
        "releases": Amount(1, 4),
        "temporary": Amount(1, 1),
        "wheels": Amount(1, 2),
    }
    assert found.total == Amount(8, 24)


def test_a_cache_is_told_from_a_mistyped_folder(cache: Cache) -> None:
    """It is none before its first folder; it is one, though empty, after everything was removed."""
    assert not cache.exists()
    cache.root.mkdir()
    (cache.root / "letters").mkdir()
    assert not cache.exists()
    fill(cache, MINE)
    clear(cache)
    assert cache.exists()


def test_a_cache_that_is_a_file_is_a_write_error(cache: Cache) -> None:
    """Whatever is asked of it."""
    cache.root.write_bytes(b"")
    for ask in (Cache.exists, usage, clear):
        with pytest.raises(WriteError, match=f"using the cache {cache.root}: {cache.root} is not a folder"):
            ask(cache)


def test_clear_deletes_what_is_ours_and_nothing_else(cache: Cache) -> None:
    """Also in a folder in which somebody keeps other things."""
    fill(cache, MINE | {f"locks/{SUM}": b""})
    fill(cache, dict.fromkeys(THEIRS, b"theirs"))
    assert clear(cache) == Removed(8, 24, 0)
    assert files_of(cache.root) == set(THEIRS)
    assert clear(cache) == Removed(0, 0, 0)


def test_clearing_nothing_makes_nothing(cache: Cache) -> None:
    """There may never have been a cache."""
    assert clear(cache) == Removed()
    assert not cache.root.exists()


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_are_neither_followed_nor_deleted(cache: Cache, tmp_path: Path) -> None:
    """A linked folder, a linked subfolder and a linked file stay, and so does what they point to."""
    elsewhere = Cache(tmp_path / "elsewhere")
    fill(elsewhere, MINE)
    before = files_of(elsewhere.root)
    cache.packs.mkdir(parents=True)
    cache.archives.symlink_to(elsewhere.archives)
    (cache.packs / "ab").symlink_to(elsewhere.packs / "ab")
    cache.releases.mkdir()
    (cache.releases / "0123456789abcdef-1").symlink_to(elsewhere.releases / "0123456789abcdef-20261021")
    assert usage(cache).total == Amount(0, 0)
    assert clear(cache) == Removed()
    assert files_of(elsewhere.root) == before
    assert (cache.releases / "0123456789abcdef-1").is_symlink()


def test_prune_goes_by_the_last_use(cache: Cache) -> None:
    """What was touched since stays, however old it is."""
    fill(cache, MINE, age=40 * DAY)
    touch(cache.packs / "ab" / SUM)
    fill(cache, {"releases/0123456789abcdef-1": b"young"}, age=29 * DAY)
    assert prune(cache, timedelta(days=30), datetime.now(UTC)) == Removed(7, 17, 0)
    assert files_of(cache.root) == {f"packs/ab/{SUM}", "releases/0123456789abcdef-1"}


def test_touching_what_is_gone_is_no_error(tmp_path: Path) -> None:
    """A hit in a cache that cannot be written to is a hit."""
    touch(tmp_path / "none")


def test_what_is_being_fetched_is_left_alone(cache: Cache) -> None:
    """A running download keeps its part and its lock; it is counted as busy."""
    other = "cd" * 32
    fill(cache, MINE | {f"archives/{other}-b": b"1"})
    with exclusive(cache.create(cache.locks) / SUM):
        assert clear(cache) == Removed(5, 13, 4)
        left = {name for name in MINE if name.startswith(("archives", "wheels"))}
        assert files_of(cache.root) == left | {f"locks/{SUM}"}
    assert clear(cache) == Removed(4, 12, 0)
    assert files_of(cache.root) == set()


def test_a_file_that_cannot_be_deleted_is_a_write_error(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where a file that is in use cannot be."""
    fill(cache, MINE)

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        del missing_ok
        raise PermissionError(13, "in use", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(WriteError, match="in use"):
        clear(cache)
    monkeypatch.undo()
    assert files_of(cache.root) >= set(MINE)
