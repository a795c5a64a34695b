"""Verifying reads every byte of a bundle, and nothing outside it."""

import hashlib
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import packing
import pbs
from packing import Program, put
from pyembed_gen import payload
from pyembed_gen.errors import ArchiveError, UsageError
from pyembed_gen.manifest import Entry, Manifest, content_hash
from pyembed_gen.verify import Difference, bundles, verify

TEXT = b"".join(b"line %d\n" % number for number in range(700_000))  # two members
AUX = f"_/{hashlib.sha256(b'lib/aux.py').hexdigest()}"
FILES: packing.Files = {
    "bin/python3": "python3.14",
    "bin/python3.14": Program(TEXT),
    "lib/aux.py": b"aux",
    "lib/os.py": b"text " * 50,
}
PYTHON, OS = "bin/python3.14.gz", "lib/os.py.gz"


@pytest.fixture
def bundle() -> Path:
    """Return a bundle with a chunked file, an escaped one, a stored one and a link."""
    put(Path("out"), {"linux/amd64": packing.pack(Path("cache"), FILES)})
    return Path("out/linux-amd64")


def rewrite(bundle: Path, name: str, /, **values: Any) -> None:
    """Change an entry of the manifest as somebody would who knows the format; the content hash fits again."""
    path = bundle / "files.json"
    document = json.loads(path.read_bytes())
    for entry in document["files"]:
        if entry["name"] == name:
            entry.update(values)
    document["contentHash"] = claimed(document["files"])
    path.write_text(json.dumps(document))


def claimed(entries: list[dict[str, Any]]) -> str:
    kinds = {1 << 31: "dir", 1 << 27: "link", 0: "file"}
    return content_hash(
        Entry(
            entry["name"],
            kinds[entry["perm"] & (1 << 31 | 1 << 27)],  # type: ignore[arg-type]
            executable=bool(entry["perm"] & 0o100),
            sha256=entry.get("sha256", ""),
            target=entry.get("symlink", ""),
        )
        for entry in entries
    )


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "none"])
def test_whole_bundle(codec: str) -> None:
    """A bundle as it was written has no differences, whatever the codec."""
    put(Path("out"), {"linux/amd64": packing.pack(Path("cache"), FILES, codec)})
    manifest, differences = verify(Path("out/linux-amd64"))
    assert differences == ()
    assert manifest == Manifest.from_json(Path("out/linux-amd64/files.json").read_bytes())


@pytest.mark.parametrize(
    ("damage", "path", "problem"),
    [
        (lambda bundle: (bundle / OS).unlink(), OS, "is missing"),
        (lambda bundle: (bundle / AUX).unlink(), AUX, "is missing"),
        (lambda bundle: (bundle / ".gitignore").unlink(), ".gitignore", "is missing"),
        (lambda bundle: (bundle / OS).write_bytes(b"x"), OS, "has 1 bytes, not "),
        (lambda bundle: os.truncate(bundle / PYTHON, 1000), PYTHON, "has 1000 bytes, not "),
        (lambda bundle: flip(bundle / AUX, 0), AUX, "has another content"),
        (lambda bundle: flip(bundle / OS, 25), OS, ""),
        (lambda bundle: flip(bundle / PYTHON, 1_000_000), PYTHON, ""),
        (lambda bundle: flip(bundle / PYTHON, -1), PYTHON, "damaged gzip data: "),
        (lambda bundle: flip(bundle / ".gitattributes", 0), ".gitattributes", "has another content"),
        (lambda bundle: (bundle / "lib/extra").touch(), "lib/extra", "is not in the manifest, but would be embedded"),
        (lambda bundle: (bundle / "a.json").touch(), "a.json", "is not in the manifest, but would be embedded"),
    ],
)
def test_one_difference(damage: Callable[[Path], object], path: str, problem: str, bundle: Path) -> None:
    """Each kind of damage is found, once, and at the right path."""
    damage(bundle)
    (difference,) = verify(bundle)[1]
    assert difference.path == path
    assert difference.problem.startswith(problem)
    assert difference.problem


def test_every_changed_byte_is_found() -> None:
    """No bit of any file of a bundle can change unnoticed, the manifest aside, which its readers check."""
    files = {"a": b"text " * 9, "b": b"b"}
    put(Path("out"), {"linux/amd64": packing.pack(Path("cache"), files)})
    bundle = Path("out/linux-amd64")
    for path in (bundle / "a.gz", bundle / "b", bundle / ".gitignore"):
        content = path.read_bytes()
        unseen = []
        for at in range(len(content)):
            flip(path, at)
            if not verify(bundle)[1]:
                unseen.append(at)
            path.write_bytes(content)
        # gzip's header (RFC 1952) has a time, flags and a system that nothing depends on.
        assert set(unseen) <= ({*range(3, 10)} if path.suffix == ".gz" else set())


def test_all_differences_are_listed(bundle: Path) -> None:
    """One run finds everything, payloads in the manifest's order."""
    (bundle / OS).unlink()
    (bundle / AUX).unlink()
    (bundle / "z").touch()
    assert [item.path for item in verify(bundle)[1]] == [AUX, OS, "z"]
    assert verify(bundle)[1][0] == Difference(AUX, "is missing")


def test_chunks_that_lie(bundle: Path) -> None:
    """A chunk table that adds up and does not fit the members is found, as readers would fail on it."""
    document = json.loads((bundle / "files.json").read_bytes())
    (first, second) = next(entry["chunks"] for entry in document["files"] if "chunks" in entry)
    for chunks in (
        [[first[0], first[1] - 1], [second[0], second[1] + 1]],
        [[first[0], first[1] + 1], [second[0], second[1] - 1]],
        [[first[0] - 1, first[1]], [second[0] + 1, second[1]]],
        [[second[0], first[1]], [first[0], second[1]]],
    ):
        rewrite(bundle, "bin/python3.14", chunks=chunks)
        expected = Difference(PYTHON, "has chunks that are not where the manifest says")
        assert verify(bundle)[1] == (expected,)


def test_bytes_behind_a_payload(bundle: Path) -> None:
    """What follows the last gzip member is found even where the manifest counts it in."""
    with (bundle / OS).open("ab") as file:
        file.write(bytes(10))
    rewrite(bundle, "lib/os.py", stored=(bundle / OS).stat().st_size)
    (difference,) = verify(bundle)[1]
    assert (difference.path, difference.problem[:17]) == (OS, "damaged gzip data")


def test_two_entries_with_one_payload(bundle: Path) -> None:
    """Each entry is checked, although another one with the same payload is right."""
    rewrite(bundle, "lib/os.py", path=AUX, compressed=False, stored=3, size=3, sha256="00" * 32)
    assert verify(bundle)[1] == (
        Difference(AUX, "has another content"),
        Difference(OS, "is not in the manifest, but would be embedded"),
    )


# --- hostile bundles ----------------------------------------------------------------------------------


_opened: list[str] = []


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        _opened.append(os.path.realpath(os.fsdecode(arguments[0])))


@pytest.fixture(scope="module")
def watch() -> None:
    """Watch what this process opens, from now on and for good: audit hooks cannot be removed."""
    sys.addaudithook(_see)


@pytest.fixture
def opened(watch: None) -> list[str]:
    """Return the paths that are opened from now on, where they really lead."""
    del watch
    _opened.clear()
    return _opened


@pytest.mark.parametrize("path", ["../../secret", "/etc/passwd", "lib/../../../secret", "./x", "a//b"])
@pytest.mark.parametrize("key", ["name", "path"])
def test_names_that_lead_outside(key: str, path: str, bundle: Path, opened: list[str]) -> None:
    """A manifest that names something outside is refused before anything of it is opened."""
    Path("secret").write_text("secret")
    rewrite(bundle, "lib/aux.py", **{key: path})
    opened.clear()
    with pytest.raises(ArchiveError, match=r"linux-amd64: reading files\.json: "):
        verify(bundle)
    assert {Path(name).name for name in opened} == {"files.json"}


@pytest.mark.parametrize("name", [AUX, ".gitignore", OS])
def test_links_are_not_followed(name: str, bundle: Path, opened: list[str]) -> None:
    """A link in the place of a payload is a difference, even to the right content; it is not opened."""
    outside = Path("outside").absolute()
    (bundle / name).rename(outside)
    (bundle / name).symlink_to(outside)
    opened.clear()
    assert verify(bundle)[1] == (Difference(name, "is no regular file, which Go refuses to embed"),)
    assert str(outside) not in opened


def test_linked_folders_are_not_followed(bundle: Path) -> None:
    """A folder that is a link hides its payloads, and is listed itself."""
    (bundle / "lib").rename("lib")
    (bundle / "lib").symlink_to(Path("lib").absolute())
    assert verify(bundle)[1] == (
        Difference(OS, "is missing"),
        Difference("lib", "is not in the manifest, but would be embedded"),
    )


def test_linked_manifest_is_refused(bundle: Path) -> None:
    """A files.json that is a link is an ArchiveError."""
    (bundle / "files.json").rename("files.json")
    (bundle / "files.json").symlink_to(Path("files.json").absolute())
    with pytest.raises(ArchiveError, match="is no regular file"):
        verify(bundle)


def test_pipe_is_not_waited_for(bundle: Path) -> None:
    """A named pipe in the place of a payload is a difference, not a run that never ends."""
    (bundle / AUX).unlink()
    os.mkfifo(bundle / AUX)
    rewrite(bundle, "lib/aux.py", size=0, stored=0, sha256=hashlib.sha256(b"").hexdigest())
    assert verify(bundle)[1] == (Difference(AUX, "is no regular file, which Go refuses to embed"),)


def test_folder_in_the_place_of_a_payload(bundle: Path) -> None:
    """A folder that has a payload's name means that the payload is missing."""
    (bundle / OS).unlink()
    (bundle / OS).mkdir()
    assert verify(bundle)[1] == (Difference(OS, "is missing"),)


def test_payload_that_cannot_be_read(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that fails is a difference with the system's words."""
    real = Path.open

    def broken(path: Path, *arguments: Any, **keywords: Any) -> Any:
        if path.name == "os.py.gz":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", broken)
    assert verify(bundle)[1] == (Difference(OS, "cannot be read: Permission denied"),)


def bomb(codec: str) -> bytes:
    """Return a small payload that holds a quarter of a gigabyte of zeros, or a whole one."""
    if codec == "zstd":
        return pbs.zstd_compress(bytes(1 << 28), 1) * 4
    part = zlib.compressobj(9, wbits=31)
    return b"".join([*(part.compress(bytes(1 << 20)) for _ in range(1 << 8)), part.flush()])


VERIFY = """
import resource, sys
from pathlib import Path
from pyembed_gen.verify import verify
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print([item.problem for item in verify(Path(sys.argv[1]))[1]])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


# The window of a zstd frame may be 128 MiB, and as much is inflated at once.
@pytest.mark.parametrize(("codec", "most"), [("gzip", 32 << 10), ("zstd", 300 << 10)])
@pytest.mark.parametrize("claim", [10, 1 << 62], ids=["small", "huge"])
def test_bomb_takes_little_memory(codec: str, most: int, claim: int) -> None:
    """A payload that holds so much is verified in less (KiB), whatever size the manifest claims."""
    put(Path("out"), {"linux/amd64": packing.pack(Path("cache"), {"a": b"text " * 40}, codec)})
    bundle = Path("out/linux-amd64")
    content = bomb(codec)
    assert len(content) < 2 << 20
    (bundle / f"a{payload.SUFFIXES[codec]}").write_bytes(content)
    rewrite(bundle, "a", size=claim, stored=len(content))
    command = [sys.executable, "-c", VERIFY, str(bundle)]
    problems, peak = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout.splitlines()
    assert problems == "['has another content']"
    assert int(peak) < most


# --- where bundles are --------------------------------------------------------------------------------


def test_bundles_of_a_folder(bundle: Path) -> None:
    """A bundle is itself, a folder of bundles all of them, a folder of lines those of each line."""
    put(Path("lines/py3.13"), {"linux/amd64": packing.pack(Path("cache"), FILES)})
    put(Path("lines/py3.14"), {"linux/amd64": packing.pack(Path("cache"), FILES)})
    assert bundles(bundle) == (bundle,)
    assert bundles(Path("out")) == (bundle,)
    assert bundles(Path("lines")) == (Path("lines/py3.13/linux-amd64"), Path("lines/py3.14/linux-amd64"))


@pytest.mark.parametrize("path", ["nowhere", "empty", "file"])
def test_no_bundle(path: str) -> None:
    """A folder without bundles, or none at all, is a UsageError."""
    Path("empty").mkdir()
    Path("file").touch()
    with pytest.raises(UsageError, match=f"{path} holds no bundle; name the folder"):
        bundles(Path(path))
