"""Wheels come into the cache once, whole and as they were resolved, or not at all."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from index import Dist, Index, dist
from pipping import LINUX, WINDOWS, Bench, pipping
from pyembed_gen import wheels
from pyembed_gen.errors import PipError, WriteError
from pyembed_gen.filelock import exclusive
from pyembed_gen.piprun import Pip
from pyembed_gen.resolution import Item, Resolution
from pyembed_gen.resolve import Options
from web import Reply

PURE, NATIVE = dist("pure"), dist("native", tag="cp314-cp314-manylinux_2_17_x86_64")
OTHER = dist("native", tag="cp313-cp313-win_amd64")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with pipping(tmp_path, monkeypatch) as made:
        made.index.add(PURE, NATIVE, OTHER)
        yield made


def resolution(*items: Item) -> Resolution:
    return Resolution(LINUX, items)


def item(bench: Bench, file: Dist, **changes: str) -> Item:
    """Return the item of a file in the index."""
    made = Item(file.name, "1.0", bench.index.link(file), file.filename, file.sha256)
    return replace(made, **changes)  # type: ignore[arg-type]


def cached(bench: Bench) -> list[str]:
    """Return the names of what is in the cache."""
    return sorted(path.name for path in wheels.folder(bench.cache).iterdir())


def test_wheels_of_several_targets(bench: Bench) -> None:
    """Each target gets its own, what is shared is downloaded once, and another run needs no network."""
    resolutions = bench.resolve(bench.requirements("pure", "native"), LINUX, WINDOWS)
    before = len(bench.index.paths)
    linux, windows = bench.fetch(resolutions)
    assert [stored.item.filename for stored in linux] == [NATIVE.filename, PURE.filename]
    assert [stored.item.filename for stored in windows] == [OTHER.filename, PURE.filename]
    for stored, file in zip((*linux, *windows), (NATIVE, PURE, OTHER, PURE), strict=True):
        assert stored.path == wheels.path_of(bench.cache, file.sha256)
        assert stored.path.read_bytes() == file.data
        assert (stored.item.sha256, stored.size, stored.cached) == (file.sha256, len(file.data), False)
    assert cached(bench) == sorted(f"{file.sha256}.whl" for file in (PURE, NATIVE, OTHER))
    assert bench.left() == []
    asked = bench.index.paths[before:]
    assert sorted(asked) == sorted(f"/files/{file.filename}" for file in (PURE, NATIVE, OTHER))
    again = bench.fetch(resolutions, offline=True)
    assert [[stored.path for stored in group] for group in again] == [[s.path for s in g] for g in (linux, windows)]
    assert all(stored.cached for group in again for stored in group)
    assert bench.index.paths[before:] == asked


def test_offline_without_the_wheel(bench: Bench) -> None:
    """It is said which one is missing, and nothing is asked for."""
    with pytest.raises(PipError, match=r"pure-1.0-py3-none-any.whl: it is not in the cache"):
        bench.fetch([resolution(item(bench, PURE))], offline=True)
    assert bench.index.paths == []


def test_a_damaged_wheel_is_fetched_again(bench: Bench) -> None:
    """What is in the cache is hashed each time."""
    resolutions = [resolution(item(bench, PURE))]
    path = bench.fetch(resolutions)[0][0].path
    path.write_bytes(b"damaged")
    again = bench.fetch(resolutions)[0][0]
    assert (again.path.read_bytes(), again.cached) == (PURE.data, False)
    assert any("damaged" in note for note in bench.log.notes)


def test_another_content_is_refused(bench: Bench) -> None:
    """pip sees it, and nothing is cached."""
    bench.index.faults[f"/files/{PURE.filename}"] = Reply(dist("pure", files={"evil.py": b""}).data)
    with pytest.raises(PipError, match=r"fetching pure for linux/amd64, Python 3.14: its hash is") as caught:
        bench.fetch([resolution(item(bench, PURE))])
    assert PURE.sha256 in str(caught.value)
    assert cached(bench) == []
    assert bench.left() == []


@pytest.mark.parametrize("brought", [b"something else", None])
def test_pip_is_not_believed(bench: Bench, monkeypatch: pytest.MonkeyPatch, brought: bytes | None) -> None:
    """Whatever pip says, the sum is computed here."""

    def run(self: Pip, commands: object, target: object, **more: object) -> object:
        del self, commands, target, more
        (folder,) = bench.folder.glob("wheels-*")
        if brought is not None:
            (folder / PURE.filename).write_bytes(brought)
        return type("Done", (), {"codes": (0,)})

    monkeypatch.setattr(Pip, "run", run)
    with pytest.raises(PipError, match=r"its sha256 is|pip brought something else"):
        bench.fetch([resolution(item(bench, PURE))])
    assert cached(bench) == []


def test_a_sum_that_nobody_knew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index without hashes: the sum is found out, and told; others of the run keep theirs."""
    with pipping(tmp_path, monkeypatch, Index(hashes=False)) as bench:
        bench.index.add(PURE, NATIVE)
        (found,) = bench.resolve(bench.requirements("pure", "native"))
        assert {each.sha256 for each in found.items} == {""}
        first = replace(found.items[0], sha256=NATIVE.sha256)
        stored = bench.fetch([resolution(first, found.items[1])])[0]
        assert [each.item.sha256 for each in stored] == [NATIVE.sha256, PURE.sha256]
        assert cached(bench) == sorted(f"{file.sha256}.whl" for file in (PURE, NATIVE))


def test_wheels_of_this_machine_are_copied(bench: Bench, tmp_path: Path) -> None:
    """A wheel by path needs no pip; one that has changed since is refused, and one that is gone."""
    path = PURE.write(tmp_path)
    local = item(bench, PURE, url=path.as_uri())
    assert bench.fetch([resolution(local)], offline=True)[0][0].path.read_bytes() == PURE.data
    assert path.exists()
    other = replace(local, sha256="0" * 64)
    with pytest.raises(PipError, match=r"its sha256 is \w+, not 0000"):
        bench.fetch([resolution(other)])
    path.unlink()
    with pytest.raises(PipError, match=r"reading .*pure-1.0-py3-none-any.whl: No such file"):
        bench.fetch([resolution(other)])
    assert len(cached(bench)) == 1


def test_credentials_of_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those on the command line, in a requirement file, and in the URL of a requirement."""
    with pipping(tmp_path, monkeypatch, Index(account="me:s3cr3t")) as bench:
        bench.index.add(PURE, NATIVE)
        secret = Options(index_url=bench.index.secret)
        assert bench.fetch([resolution(item(bench, PURE))], options=secret)
        bench.write("r.txt", f"--index-url {bench.index.secret}\n")
        files = bench.requirements(files=("r.txt",))
        assert bench.fetch([resolution(item(bench, NATIVE))], files, options=Options())
        url = bench.index.link(PURE).replace("://", "://me:s3cr3t@")
        wheels.path_of(bench.cache, PURE.sha256).unlink()
        direct = replace(item(bench, PURE), direct=True)
        assert bench.fetch([resolution(direct)], bench.requirements(f"pure @ {url}"), options=Options())
        wheels.path_of(bench.cache, PURE.sha256).unlink()
        with pytest.raises(PipError, match=r"401|HTTP error") as caught:
            bench.fetch([resolution(direct)], options=Options())
        assert "s3cr3t" not in str(caught.value)


def test_a_link_that_has_ended(bench: Bench) -> None:
    """The wheel is looked up in the index again, by its sum; one by URL is not."""
    ended = item(bench, PURE, url=f"{bench.index.url}/ended/{PURE.filename}")
    assert bench.fetch([resolution(ended)])[0][0].path.read_bytes() == PURE.data
    wheels.path_of(bench.cache, PURE.sha256).unlink()
    with pytest.raises(PipError, match=r"fetching .* for linux/amd64, Python 3.14: .*404"):
        bench.fetch([resolution(replace(ended, direct=True))])


def test_a_broken_download(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs up ends in an error, and in no file."""
    monkeypatch.setenv("PIP_RESUME_RETRIES", "0")
    bench.index.faults[f"/files/{PURE.filename}"] = Reply(PURE.data, cut=50)
    with pytest.raises(PipError, match=r"^fetching "):
        bench.fetch([resolution(item(bench, PURE))])
    assert cached(bench) == []
    assert bench.log.ended == ["failed"]


def test_a_server_in_trouble(bench: Bench) -> None:
    """Its answer is told."""
    bench.index.faults[f"/files/{PURE.filename}"] = Reply(status=503)
    with pytest.raises(PipError, match=r"^fetching .*: too many 503 error responses; check the URL of the index"):
        bench.fetch([resolution(item(bench, PURE))])


def test_a_slow_download_is_noted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry is a piece of news."""
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_TIMEOUT", "0.1")
    bench.index.faults[f"/files/{PURE.filename}"] = Reply(delay=0.5)
    with pytest.raises(PipError, match=r"^fetching "):
        bench.fetch([resolution(item(bench, PURE))])
    assert any("Retrying" in note for note in bench.log.notes)


def test_a_cache_that_cannot_be_written(bench: Bench) -> None:
    """That is an error of writing."""
    (bench.folder / "cache").write_text("a file")
    with pytest.raises(WriteError):
        bench.fetch([resolution(item(bench, PURE))])


def test_others_are_waited_for(bench: Bench) -> None:
    """A wheel that another process has fetched meanwhile is taken from it."""
    bench.cache.create(bench.cache.locks)
    bench.cache.create(wheels.folder(bench.cache))
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(bench.fetch([resolution(item(bench, PURE))])))
    with exclusive(bench.cache.locks / PURE.sha256):
        thread.start()
        while not bench.log.notes:
            thread.join(0.01)
        wheels.path_of(bench.cache, PURE.sha256).write_bytes(PURE.data)
    thread.join()
    assert bench.log.notes == [f"waiting for another process that is fetching {PURE.filename}"]
    assert len(done) == 1
    assert bench.index.paths == []


def test_an_interrupt_ends_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets through, and leaves nothing."""

    def run(self: Pip, *arguments: object, **more: object) -> object:
        del self, arguments, more
        raise KeyboardInterrupt

    monkeypatch.setattr(Pip, "run", run)
    with pytest.raises(KeyboardInterrupt):
        bench.fetch([resolution(item(bench, PURE))])
    assert bench.left() == []


def test_names_as_long_as_they_may_be(bench: Bench) -> None:
    """The cache does not add to them."""
    name = "a" * 200
    long = dist(name)
    bench.index.add(long)
    (stored,) = bench.fetch(bench.resolve(name))[0]
    assert hashlib.sha256(stored.path.read_bytes()).hexdigest() == long.sha256
