"""Files are compressed once, in the same way whoever asks, and the cache is believed only where it is whole."""

import gzip
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import packing
import pbs
from packing import NOISE, Count, Files, Program
from pyembed_gen import pack, payload
from pyembed_gen.errors import ArchiveError, WriteError
from pyembed_gen.manifest import Entry
from pyembed_gen.pack import Packed, Packer
from pyembed_gen.plan import Codec

MIB = 1 << 20
TEXT = b"".join(b"line %d\n" % number for number in range(900_000))  # 10 MB
FILES: Files = {
    "bin/python3": "python3.14",
    "bin/python3.14": Program(TEXT),
    "lib/copy-of-python": TEXT,
    "lib/empty.py": b"",
    "lib/noise": NOISE[:5000],
    "lib/os.py": b"def getcwd(): pass\n" * 99,
    "lib/tiny": b"x",
}


@pytest.fixture
def compressed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of all that is compressed from now on."""
    sizes: list[int] = []
    real = payload.compress

    def compress(content: bytes, codec: Codec) -> bytes:
        sizes.append(len(content))
        return real(content, codec)

    monkeypatch.setattr(payload, "compress", compress)
    return sizes


def entry(packed: Packed, name: str) -> Entry:
    return next(entry for entry in packed.manifest.entries if entry.name == name)


def stored(packed: Packed, name: str) -> bytes:
    """Return the payload of a file."""
    return b"".join(pack.parts(packed.payloads[entry(packed, name).payload(packed.manifest.codec)]))


def test_large_file_is_one_gzip_of_several_members(tmp_path: Path) -> None:
    """A file over 4 MiB is a valid .gz, and each member begins where the chunks say and holds 4 MiB of it."""
    packed = packing.pack(tmp_path, FILES)
    found = entry(packed, "bin/python3.14")
    content = stored(packed, "bin/python3.14")
    assert gzip.decompress(content) == TEXT
    assert [raw for raw, _ in found.chunks] == [4 * MIB, 4 * MIB, len(TEXT) - 8 * MIB]
    at = 0
    for number, (raw, size) in enumerate(found.chunks):
        assert gzip.decompress(content[at : at + size]) == TEXT[number * 4 * MIB :][:raw]
        at += size
    assert at == len(content) == found.stored


@pytest.mark.parametrize(("size", "members"), [(4 * MIB, 0), (4 * MIB + 1, 2), (8 * MIB, 2), (8 * MIB + 1, 3)])
def test_where_chunks_begin(size: int, members: int, tmp_path: Path) -> None:
    """4 MiB are one member without a chunk table; from one byte more on there are as few members as possible."""
    packed = packing.pack(tmp_path, {"a": TEXT[:size]})
    assert len(entry(packed, "a").chunks) == members
    assert gzip.decompress(stored(packed, "a")) == TEXT[:size]


def test_zstd_is_one_frame_a_file(tmp_path: Path) -> None:
    """However large a file is, it is one zstd frame without chunks."""
    packed = packing.pack(tmp_path, FILES, "zstd")
    found = entry(packed, "bin/python3.14")
    content = stored(packed, "bin/python3.14")
    assert (found.chunks, found.compressed, found.stored) == ((), True, len(content))
    assert pbs.zstd_decompress(content) == TEXT


@pytest.mark.parametrize("codec", ["gzip", "zstd", "none"])
def test_what_does_not_shrink_is_stored(codec: str, tmp_path: Path) -> None:
    """Empty, tiny and incompressible files, and with codec none all files, are their own payloads."""
    packed = packing.pack(tmp_path, {**FILES, "large": NOISE}, codec)
    for name in ("lib/empty.py", "lib/noise", "lib/tiny", "large", *(["lib/os.py"] if codec == "none" else [])):
        found = entry(packed, name)
        data = FILES.get(name, NOISE)
        assert (found.compressed, found.chunks, found.stored) == (False, (), found.size)
        assert stored(packed, name) == data
    assert entry(packed, "lib/os.py").compressed == (codec != "none")


def test_manifest_of_a_tree(tmp_path: Path) -> None:
    """Folders are listed, links keep their target, and modes and sums are those of the files."""
    entries = packing.pack(tmp_path, FILES).manifest.entries
    assert [(entry.name, entry.kind, entry.executable) for entry in entries] == [
        ("bin", "dir", False),
        ("bin/python3", "link", False),
        ("bin/python3.14", "file", True),
        ("lib", "dir", False),
        *((name, "file", False) for name in sorted(FILES) if name.startswith("lib/")),
    ]
    assert entries[1].target == "python3.14"
    assert {entry.sha256 for entry in entries if entry.size == len(TEXT)} == {hashlib.sha256(TEXT).hexdigest()}


@pytest.mark.parametrize("codec", ["gzip", "zstd", "none"])
def test_same_bytes_every_time(codec: str, tmp_path: Path) -> None:
    """Two runs with caches of their own give equal manifests and payloads."""
    first, second = (packing.pack(tmp_path / name, FILES, codec) for name in "ab")
    assert first.manifest.to_json() == second.manifest.to_json()
    assert {name: b"".join(pack.parts(part)) for name, part in first.payloads.items()} == {
        name: b"".join(pack.parts(part)) for name, part in second.payloads.items()
    }


def test_names_that_go_cannot_embed_have_a_path(tmp_path: Path) -> None:
    """The payload of such a file is found under its path, and under nothing else."""
    packed = packing.pack(tmp_path, {"lib/aux.py": b"x" * 99, "ok.py": b"y" * 99})
    path = f"_/{hashlib.sha256(b'lib/aux.py').hexdigest()}"
    assert entry(packed, "lib/aux.py").path == path
    assert set(packed.payloads) == {path, "ok.py.gz"}


def test_what_was_dropped_is_remembered(tmp_path: Path) -> None:
    """The manifest has files and bytes by rule."""
    with packing.packer(tmp_path) as packer:
        tree = packing.tree({"a": b"1", "b": b"22", "c": b"333"}, packer.blobs).without({"a": "r", "c": "r"})
        packed = packer.finish(tree, packer.start(tree, Count()), recipe="", origin=packing.origin())
    assert packed.manifest.dropped == (("r", 2, 4),)


@pytest.mark.parametrize(
    "files",
    [{".pyembed-stamp": b"x"}, {"a/../b": b"x"}, {"l": "/etc/passwd"}, {"a/l": "../../x"}, {"L": "x", "l/y": b""}],
)
def test_tree_that_the_runtime_would_refuse(files: Files, tmp_path: Path) -> None:
    """A name or link that no runtime extracts is an error here and not on the user's machine."""
    with pytest.raises(ArchiveError, match=r"packing a\.tar\.zst: "):
        packing.pack(tmp_path, files)


# --- the cache ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["gzip", "zstd", "none"])
def test_second_run_compresses_nothing(codec: str, compressed: list[int], tmp_path: Path) -> None:
    """What one run compressed, or found not worth it, the next one takes from the cache."""
    first = packing.pack(tmp_path, FILES, codec).manifest
    assert bool(compressed) == (codec != "none")
    compressed.clear()
    assert packing.pack(tmp_path, FILES, codec).manifest == first
    assert compressed == []


def test_equal_contents_are_compressed_once(compressed: list[int], tmp_path: Path) -> None:
    """Files of one content, in one tree or in two, are compressed once in a run, whatever the cache holds."""
    with packing.packer(tmp_path) as packer:
        tree = packing.tree(FILES, packer.blobs)
        tasks = [Count(), Count()]
        begun = [packer.start(tree, task) for task in tasks]
        made = [packer.finish(tree, each, recipe="", origin=packing.origin()) for each in begun]
    assert made[0] == made[1]
    assert sum(compressed) == sum({file.sha256: file.size for file in tree.files}.values())


@pytest.mark.parametrize("codec", ["gzip", "zstd", "none"])
def test_progress_adds_up(codec: str, tmp_path: Path) -> None:
    """A task advances by the size of each distinct content, with an empty cache and with a full one."""
    for _ in range(2):
        with packing.packer(tmp_path, codec) as packer:
            tree, task = packing.tree(FILES, packer.blobs), Count()
            packer.finish(tree, packer.start(tree, task), recipe="", origin=packing.origin())
            assert task.amount == sum({file.sha256: file.size for file in tree.files}.values())


def test_other_level_codec_or_library_is_another_entry(
    compressed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payload that something else made is never taken."""

    def made(codec: str, level: int) -> int:
        compressed.clear()
        with packing.packer(tmp_path, codec, level) as packer:
            tree = packing.tree({"a": b"text " * 99}, packer.blobs)
            packer.finish(tree, packer.start(tree, Count()), recipe="", origin=packing.origin())
        return len(compressed)

    settings = [("gzip", 6), ("gzip", 7), ("zstd", 6), ("zstd", 7)]
    assert [made(*setting) for setting in settings] == [1, 1, 1, 1]
    assert [made(*setting) for setting in settings] == [0, 0, 0, 0]
    monkeypatch.setattr(payload, "library", lambda codec: f"{codec.name} 99")
    assert [made(*setting) for setting in settings] == [1, 1, 1, 1]


def cached(cache: Path) -> list[Path]:
    return [path for path in (cache / "packs").rglob("*") if path.is_file()]


def flipped(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"{}\n"),
        lambda path: path.write_bytes(b"\n" * 500),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(path.read_bytes().replace(b"true", b"null")),
        lambda path: path.write_bytes(path.read_bytes().replace(b"false", b"true")),
        lambda path: flipped(path, 0),
        lambda path: flipped(path, 70),
        lambda path: flipped(path, path.stat().st_size // 2),
        lambda path: flipped(path, -1),
        Path.unlink,
    ],
)
def test_damaged_entry_is_made_anew(damage: Callable[[Path], object], tmp_path: Path) -> None:
    """An entry of which anything changed is not taken, and the next run has a good one again."""
    first = packing.pack(tmp_path, FILES)
    good = {path: path.read_bytes() for path in cached(tmp_path)}
    for path in good:
        damage(path)
    again = packing.pack(tmp_path, FILES)
    assert again.manifest == first.manifest
    assert stored(again, "bin/python3.14") == stored(first, "bin/python3.14")
    assert {path: path.read_bytes() for path in cached(tmp_path)} == good


def test_entry_of_another_content_is_made_anew(tmp_path: Path) -> None:
    """A whole entry that lies under another key is not taken for the payload of that."""
    first = packing.pack(tmp_path, {"a": b"one " * 99, "b": b"two " * 99})
    one, other = (first.payloads[f"{name}.gz"].source for name in "ab")
    one.write_bytes(other.read_bytes())
    again = packing.pack(tmp_path, {"a": b"one " * 99, "b": b"two " * 99})
    assert again.manifest == first.manifest
    assert gzip.decompress(stored(again, "a")) == b"one " * 99


def sealed(path: Path, head: bytes) -> None:
    """Put another head into an entry, with a seal that holds."""
    _, _, body = path.read_bytes().split(b"\n", 2)
    content = head + b"\n" + body
    path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def with_values(**changes: object) -> Callable[[Path], bytes]:
    def head(path: Path) -> bytes:
        return json.dumps(json.loads(path.read_bytes().split(b"\n")[1]) | changes).encode()

    return head


@pytest.mark.parametrize(
    "head",
    [
        *(
            lambda _path, head=head: head
            for head in (b"", b"{}", b"[]", b"1", b"\xff", b"[" * 100_000, b" " * (2 << 20))
        ),
        *(with_values(stored=value) for value in (-5, 0, 1, 99999, 1 << 70, 2.0, "1", None, True)),
        *(with_values(compressed=value) for value in (1, None, "")),
        *(
            with_values(chunks=value)
            for value in (None, {}, [1], [[]], [[1]], [["a", 1]], [[1, 1]], [[4 * MIB, -1]], [[4 * MIB, 1]] * 3)
        ),
        with_values(key="00" * 32),
        with_values(key=None),
    ],
)
def test_sealed_entry_that_makes_no_sense_is_made_anew(head: Callable[[Path], bytes], tmp_path: Path) -> None:
    """Whatever the head of an entry says, and however well it is sealed, the bundle is right."""
    files = {name: FILES[name] for name in ("bin/python3.14", "lib/noise", "lib/os.py")}
    first = packing.pack(tmp_path, files)
    good = {path: path.read_bytes() for path in cached(tmp_path)}
    for path in good:
        sealed(path, head(path))
    again = packing.pack(tmp_path, files)
    assert again.manifest == first.manifest
    packed = {path: content for path, content in good.items() if b'"compressed": true' in content}
    assert {path: path.read_bytes() for path in packed} == packed


def test_entry_without_its_chunks_is_made_anew(tmp_path: Path) -> None:
    """A large file has a table of chunks, and a small one has none."""
    files: Files = {"large": TEXT, "small": b"text " * 99}
    first = packing.pack(tmp_path, files)
    large, small = (first.payloads[f"{name}.gz"] for name in files)
    sealed(large.source, with_values(chunks=[])(large.source))
    sealed(small.source, with_values(chunks=[[495, small.size]])(small.source))
    assert packing.pack(tmp_path, files).manifest == first.manifest


def test_use_is_noted(tmp_path: Path) -> None:
    """A taken entry looks recently used, so that pruning keeps it."""
    packing.pack(tmp_path, FILES)
    for path in cached(tmp_path):
        os.utime(path, (1, 1))
    packing.pack(tmp_path, FILES)
    assert min(path.stat().st_mtime for path in cached(tmp_path)) > 1


def test_cache_holds_nothing_else(tmp_path: Path) -> None:
    """Entries have the names that `cache prune` knows, and a temporary file is never among them."""
    packing.pack(tmp_path, FILES)
    for path in cached(tmp_path):
        assert path.parent.name == path.name[:2]
        assert len(path.name) == 64
        seal, head, _ = path.read_bytes().split(b"\n", 2)
        assert len(seal) == 64
        assert set(json.loads(head)) == {"key", "compressed", "stored", "chunks"}


SHARED: Files = {f"{number}": b"%d " % number * 400 for number in range(60)}


def test_processes_share_a_cache(tmp_path: Path) -> None:
    """Processes that fill, empty and read one cache at once all come to the same."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_fill, args=(tmp_path, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in range(6)]
    for process in processes:
        process.join(60)
    assert set(found) == {packing.pack(tmp_path / "own", SHARED).manifest.to_json()}


def _fill(cache: Path, results: "multiprocessing.Queue[bytes]") -> None:
    for _ in range(3):
        results.put(packing.pack(cache, SHARED).manifest.to_json())


def test_threads_share_a_cache(tmp_path: Path) -> None:
    """Packers of one run that store the same content at the same time do not get into each other's way."""
    with packing.packer(tmp_path) as one, ThreadPoolExecutor(8) as executor:
        tree = packing.tree(SHARED, one.blobs)
        packers = [Packer(one.blobs, one.packs, one.codec, executor) for _ in range(8)]
        begun = [packer.start(tree, Count()) for packer in packers]
        made = [
            packer.finish(tree, each, recipe="", origin=packing.origin())
            for packer, each in zip(packers, begun, strict=True)
        ]
    assert all(each == made[0] for each in made)


def test_unwritable_cache_is_a_write_error(tmp_path: Path) -> None:
    """Where the packs cannot be stored it is said so, with the folder."""
    (tmp_path / "packs").touch()
    with pytest.raises(WriteError, match=f"writing below {tmp_path}/packs"):
        packing.pack(tmp_path, FILES)


@pytest.fixture(autouse=True)
def no_leftovers(tmp_path: Path) -> Iterator[None]:
    """Nothing that a packer was writing is left in a run's folder."""
    yield
    assert not list(tmp_path.rglob("*.part"))
