"""files.json is written to the letter, and read with distrust."""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import packing
from packing import Program
from pyembed_gen.errors import ArchiveError
from pyembed_gen.manifest import Entry, Manifest, Origin, content_hash
from setting import ROOT

VECTORS = json.loads((ROOT / "tests/vectors/content_hash.json").read_bytes())
ORIGIN = Origin("3.14.9", "20261021", "x86_64-unknown-linux-gnu", "pgo+lto-full", "a.tar.zst", "ab" * 32, portable=True)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file(name: str, **values: Any) -> Entry:
    return Entry(name, "file", **{"size": 3, "sha256": sha256(b"abc"), "stored": 3, **values})


MANIFEST = Manifest(
    entries=(
        Entry("bin", "dir"),
        Entry("bin/python3", "link", target="python3.14"),
        file(
            "bin/python3.14",
            size=(4 << 20) + 7,
            executable=True,
            compressed=True,
            stored=1000,
            chunks=((4 << 20, 980), (7, 20)),
        ),
        Entry("lib", "dir"),
        file("lib/aux.py", path=f"_/{sha256(b'lib/aux.py')}"),
        file("lib/é.py", size=900, compressed=True, stored=90),
    ),
    codec="gzip",
    recipe="cd" * 32,
    origin=ORIGIN,
    dropped=(("tests", 3, 999),),
)


# --- writing ------------------------------------------------------------------------------------------


def test_every_byte_of_the_format() -> None:
    """contentHash comes first, perm is a Go fs.FileMode, link sizes are the target's, one entry a line."""
    abc = sha256(b"abc")
    text = (
        f'{{"contentHash": "{MANIFEST.content_hash}", "version": 2, "codec": "gzip", "recipe": "{"cd" * 32}", '
        f'"origin": {{"python": "3.14.9", "pbs": "20261021", "triple": "x86_64-unknown-linux-gnu", '
        f'"flavour": "pgo+lto-full", "archive": "a.tar.zst", "sha256": "{"ab" * 32}", "portable": true}}, '
        f'"dropped": {{"tests": [3, 999]}}, "files": [\n'
        f'{{"name": "bin", "size": 0, "perm": 2147484141}},\n'
        f'{{"name": "bin/python3", "size": 10, "perm": 134217728, "symlink": "python3.14"}},\n'
        f'{{"name": "bin/python3.14", "size": 4194311, "perm": 493, "compressed": true, "sha256": "{abc}", '
        f'"stored": 1000, "chunks": [[4194304, 980], [7, 20]]}},\n'
        f'{{"name": "lib", "size": 0, "perm": 2147484141}},\n'
        f'{{"name": "lib/aux.py", "size": 3, "perm": 420, "sha256": "{abc}", "stored": 3, '
        f'"path": "_/{sha256(b"lib/aux.py")}"}},\n'
        f'{{"name": "lib/é.py", "size": 900, "perm": 420, "compressed": true, "sha256": "{abc}", "stored": 90}}\n'
        "]}\n"
    )
    assert MANIFEST.to_json() == text.encode()


def test_content_hash_by_hand() -> None:
    """The hash is the sha256 of lines that anybody can write down."""
    abc = sha256(b"abc")
    lines = (
        "pyembed-manifest-2\n"
        "dir 755 - bin\n"
        f"link 777 {sha256(b'python3.14')} bin/python3\n"
        f"file 755 {abc} bin/python3.14\n"
        "dir 755 - lib\n"
        f"file 644 {abc} lib/aux.py\n"
        f"file 644 {abc} lib/é.py\n"
    )
    assert MANIFEST.content_hash == sha256(lines.encode())


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_vectors(case: Mapping[str, Any]) -> None:
    """Content hashes are those of the vectors that Python and Go share."""
    keys = {"name", "kind", "executable", "sha256", "target"}
    entries = [Entry(**{key: value for key, value in entry.items() if key in keys}) for entry in case["files"]]
    assert content_hash(entries) == case["contentHash"]


def test_codec_does_not_change_the_content_hash(tmp_path: Path) -> None:
    """The same tree has one content hash, whatever carries it."""
    files = {"bin/python": Program(b"x" * 500), "a.py": b"y" * 500, "empty": b"", "link": "a.py"}
    packed = [packing.pack(tmp_path / codec, files, codec).manifest for codec in ("gzip", "zstd", "none")]
    assert len({manifest.content_hash for manifest in packed}) == 1
    assert len({manifest.stored for manifest in packed}) == 3


def test_figures() -> None:
    """Files alone are counted: raw is their extracted size, stored that of their payloads."""
    assert [entry.name for entry in MANIFEST.files] == ["bin/python3.14", "lib/aux.py", "lib/é.py"]
    assert (MANIFEST.raw, MANIFEST.stored) == ((4 << 20) + 7 + 3 + 900, 1000 + 3 + 90)


def test_payload_paths() -> None:
    """A payload lies at its path if it has one, else at its name with the codec's suffix if it is compressed."""
    entry = file("a", compressed=True)
    assert [entry.payload(codec) for codec in ("gzip", "zstd", "none")] == ["a.gz", "a.zst", "a"]
    assert file("a").payload("gzip") == "a"
    assert replace(entry, path="_/x").payload("gzip") == "_/x"


# --- reading ------------------------------------------------------------------------------------------


def test_what_was_written_is_read() -> None:
    """Reading gives back an equal manifest."""
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    files=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=9)
        .filter(lambda name: not name.startswith("."))
        .map(lambda name: f"d/{name}"),
        st.one_of(st.binary(max_size=200), st.just("x"), st.binary(max_size=9).map(Program)),
        max_size=8,
    ),
    codec=st.sampled_from(["gzip", "zstd", "none"]),
)
def test_whatever_is_packed_can_be_read(files: packing.Files, codec: str, tmp_path: Path) -> None:
    """Any tree that can be packed has a manifest that is read back as it was."""
    manifest = packing.pack(tmp_path / "cache", files, codec).manifest
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_bundles_of_the_go_runtime_are_read() -> None:
    """CopyForEmbed writes neither recipe nor origin, and its own spacing; it is the same format."""
    entries = (Entry("d", "dir"), file("d/a", compressed=True, size=90), Entry("l", "link", target="d/a"))
    abc = sha256(b"abc")
    text = (
        f'{{"contentHash":"{content_hash(entries)}","version":2,"codec":"gzip","files":[\n'
        f'{{"name":"d","size":0,"perm":2147484141}},\n'
        f'{{"name":"d/a","size":90,"perm":420,"compressed":true,"sha256":"{abc}","stored":3}},\n'
        f'{{"name":"l","size":3,"perm":134218239,"symlink":"d/a"}}\n]}}\n'
    )
    manifest = Manifest.from_json(text.encode())
    assert manifest.entries == entries
    assert manifest.origin == Origin("", "", "", "", "", "", portable=True)


def edited(**values: Any) -> bytes:
    """Return the manifest with other values at its top; the content hash is made to fit the entries."""
    return json.dumps({**json.loads(MANIFEST.to_json()), **values}).encode()


def holding(*entries: Mapping[str, Any], codec: str = "gzip") -> bytes:
    """Return a manifest with these raw entries, whose content hash is right as far as it can be."""
    parsed = []
    for entry in entries:
        kind = "dir" if entry["perm"] >> 31 else "link" if "symlink" in entry else "file"
        text = str(entry.get("symlink", "")), str(entry.get("sha256", ""))
        parsed.append(Entry(str(entry["name"]), kind, target=text[0], sha256=text[1]))  # type: ignore[arg-type]
    try:
        claimed = content_hash(parsed)
    except UnicodeEncodeError:
        claimed = ""
    return edited(files=entries, contentHash=claimed, codec=codec)


RAW = {"name": "a", "size": 3, "perm": 420, "sha256": "ab" * 32, "stored": 3}
DIR = {"name": "d", "size": 0, "perm": 1 << 31 | 0o755}
LINK = {"name": "l", "size": 1, "perm": 1 << 27, "symlink": "a"}
BIG = {**RAW, "size": 9 << 20, "stored": 30, "compressed": True}
CHUNKS = [[4 << 20, 10], [4 << 20, 10], [1 << 20, 10]]


@pytest.mark.parametrize(
    "text",
    [
        holding(),
        holding(RAW, DIR, {**RAW, "name": "d/a"}, LINK),
        holding({**BIG, "chunks": CHUNKS}),
        holding({**BIG, "size": 10**15}, codec="zstd"),
        holding({**DIR, "name": "D"}, {**RAW, "name": "d/x/y"}),
        holding({**LINK, "name": "d/e/l", "symlink": "../.././x//y"}),
        holding({**RAW, "name": "..."}, {**RAW, "name": "C:\\x"}, {**RAW, "name": "\u2028"}),
    ],
)
def test_unusual_manifests(text: bytes) -> None:
    """What the format allows is read, however unusual."""
    Manifest.from_json(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "codec can't decode"),
        (b"[]", "it is of type list, not dict"),
        (b"[" * 100_000, "recursion"),
        (b"{}", "its version is None, not 2"),
        (edited(version=3), "its version is 3, not 2"),
        (edited(version="x" * 999), "its version is 'xxxxxxxxxxxxxxxxxxx, not 2"),
        (edited(codec="lzma"), "its codec 'lzma' is unknown"),
        (edited(codec=["gzip"]), "codec is of type list"),
        (edited(contentHash="0" * 64), "contentHash is not that of its entries"),
        (edited(contentHash=None), "contentHash is of type NoneType"),
        (edited(recipe=7), "recipe is of type int"),
        (edited(files={}), "files is of type dict"),
        (edited(files=[7]), "an entry is of type int"),
        (edited(origin=[]), "origin is of type list"),
        (edited(origin={"python": {}}), "python is of type dict"),
        (edited(origin={"python": "\x1b[2J"}), "python has a control character"),
        (edited(origin={"portable": 1}), "portable is of type int"),
        (edited(dropped={"a": [1]}), "not enough values"),
        (edited(dropped={"a": [1, -1]}), "dropped is no size"),
        (edited(dropped={"\n": [1, 1]}), "dropped has a control character"),
        (json.dumps({"version": 2, "files": []}).encode(), "'codec' is missing"),
        (holding({**RAW, "size": 1e999}), "size is of type float"),
        (holding({**RAW, "size": True}), "size is of type bool"),
        (holding({**RAW, "size": "3"}), "size is of type str"),
        (holding({**RAW, "size": -1}), "size is no size"),
        (holding({**RAW, "size": 1 << 63}), "size is no size"),
        (holding({**RAW, "perm": 1 << 26}), "'a' is neither a folder, a file nor a link"),
        (holding({**RAW, "compressed": 1}), "compressed is of type int"),
        (holding({**RAW, "stored": 4}), "'a' is not stored as it says"),
        (holding({**RAW, "compressed": True}, codec="none"), "'a' is not stored as it says"),
        (holding({**RAW, "sha256": "AB" * 32}), "'a' has no sha256"),
        (holding({**RAW, "sha256": ""}), "'a' has no sha256"),
        (holding({**RAW, "name": ""}), "'' is out of order"),
        (holding({**RAW, "name": "/a"}), "'/a' is not a name"),
        (holding({**RAW, "name": "a/"}), "'a/' is not a name"),
        (holding({**RAW, "name": "a//b"}), "'a//b' is not a name"),
        (holding({**RAW, "name": "."}), "'.' is not a name"),
        (holding({**RAW, "name": "a/../../b"}), "is not a name"),
        (holding({**RAW, "name": "a\nfile 644"}), "name has a control character"),
        (holding({**RAW, "name": "\ud800"}), "name is not UTF-8"),
        (holding({**RAW, "name": ".pyembed-stamp"}), "is not a name"),
        (holding({**RAW, "path": "/etc/passwd"}), "'/etc/passwd' is not a path in the bundle"),
        (holding({**RAW, "path": "../../x"}), "'../../x' is not a path in the bundle"),
        (holding({**RAW, "path": "_/\0"}), "path has a control character"),
        (holding(RAW, RAW), "'a' is out of order"),
        (holding({**RAW, "name": "b"}, RAW), "'a' is out of order"),
        (holding(RAW, {**RAW, "name": "a/b"}), "'a/b' lies below 'a', which is not a folder"),
        (holding({**LINK, "name": "a"}, {**RAW, "name": "a/b/c"}), "'a/b/c' lies below 'a'"),
        (holding({**RAW, "name": "L/x"}, LINK), "'L/x' lies below 'L', which is not a folder"),
        (holding({**LINK, "symlink": ""}), "links to ''"),
        (holding({**LINK, "symlink": "/etc"}), "links to '/etc', which is not in the tree"),
        (holding({**LINK, "symlink": "../x"}), "links to '../x'"),
        (holding({**LINK, "name": "d/l", "symlink": "../../x"}), "links to"),
        (holding({**LINK, "name": "d/e/l", "symlink": "../x/../y"}), "links to"),
        (holding({**BIG, "chunks": CHUNKS[:2]}), "'a' has chunks that do not add up"),
        (holding({**BIG, "chunks": [*CHUNKS[:2], [1 << 20, 11]]}), "do not add up"),
        (holding({**BIG, "chunks": [[9 << 20, 30]]}), "do not add up"),
        (holding({**BIG, "chunks": [*CHUNKS, [0, 0]]}), "do not add up"),
        (holding({**BIG, "chunks": [[1, 2, 3]]}), "too many values"),
        (holding({**BIG, "chunks": [[-1, 2]]}), "a chunk is no size"),
        (holding({**BIG, "chunks": CHUNKS}, codec="zstd"), "do not add up"),
        (holding({**RAW, "chunks": [[3, 3]]}), "do not add up"),
    ],
)
def test_damaged_or_hostile_manifests(text: bytes, problem: str) -> None:
    """Each is refused with one line that says what is wrong."""
    with pytest.raises(ArchiveError) as caught:
        Manifest.from_json(text)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 400
    assert caught.value.hint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([2, "a", "", 420]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.one_of(st.binary(max_size=60), JSON.map(lambda value: json.dumps(value).encode())))
def test_noise_is_an_archive_error(text: bytes) -> None:
    """Bytes and JSON that are no manifest raise ArchiveError, never anything else."""
    with pytest.raises(ArchiveError):
        Manifest.from_json(text)


@settings(max_examples=300)
@given(JSON, st.randoms(use_true_random=False), st.booleans())
def test_one_changed_value_is_an_archive_error_or_harmless(value: Any, dice: random.Random, drop: bool) -> None:
    """A manifest in which any one value was replaced or removed is read or refused, but never breaks anything."""
    values = json.loads(MANIFEST.to_json())
    node: Any = values
    while True:
        key = dice.choice(list(node) if isinstance(node, dict) else range(len(node)))
        inner = node[key]
        if not isinstance(inner, dict | list) or not inner or dice.random() < 0.2:
            break
        node = inner
    if drop:
        del node[key]
    else:
        node[key] = value
    try:
        manifest = Manifest.from_json(json.dumps(values).encode())
    except ArchiveError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("bad", ["a\nb", "a\x1b[2J", "\udcff"])
@pytest.mark.parametrize("name", ["python", "pbs", "triple", "flavour", "archive", "sha256", "dropped"])
def test_check_refuses_what_could_not_be_read(name: str, bad: str) -> None:
    """A text that from_json would refuse is refused before it is written."""
    if name == "dropped":
        manifest = replace(MANIFEST, dropped=((bad, 1, 1),))
    else:
        manifest = replace(MANIFEST, origin=replace(ORIGIN, **{name: bad}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{name}.* (has a control character|is not UTF-8)"):
        manifest.check()
