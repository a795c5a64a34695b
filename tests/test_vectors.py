"""What tests/vectors says of manifests, chunked payloads and stamps holds here, as it does in the Go runtime."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pyembed_gen import payload
from pyembed_gen.errors import ArchiveError
from pyembed_gen.manifest import Entry, Manifest, content_hash
from setting import ROOT

# What the error says of a manifest that is refused for one reason; the Go runtime has words of its own.
REASONS = {
    "json": "Expecting|Extra data|delimiter|is of type",
    "version": r"its version is [13], not 2",
    "codec": "its codec 'xz' is unknown",
    "contentHash": "its contentHash is not that of its entries",
    "name": "is not a name|name has a control character|'' is out of order",
    "twice": "is out of order",
    "below": "lies below .* which is not a folder",
    "link": "links to|symlink has a control character",
    "kind": "is neither a folder, a file nor a link",
    "size": "size is no size",
    "stored": "is not stored as it says|stored is no size",
    "sha256": "has no sha256",
    "path": "is not a path in the bundle",
    "chunks": "has chunks that do not add up|a chunk is no size",
}


def _read(name: str) -> Any:
    return json.loads((ROOT / "tests/vectors" / name).read_bytes())


MANIFESTS = _read("manifests.json")
CHUNKS = _read("payload_chunks.json")
STAMPS = _read("stamps.json")


# --- manifests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in MANIFESTS if "refused" not in case], ids=lambda case: case["name"])
def test_manifests_mean_the_same(case: Mapping[str, Any]) -> None:
    """A manifest that is accepted has the entries, payloads and hash that the vectors say."""
    manifest = Manifest.from_json(case["text"].encode())
    assert [_meaning(entry, manifest.codec) for entry in manifest.entries] == case["entries"]
    assert manifest.content_hash == case["contentHash"]
    assert manifest.recipe == case["recipe"]
    origin = manifest.origin
    texts = [origin.python, origin.pbs, origin.triple, origin.flavour, origin.archive, origin.sha256]
    assert texts == case["origin"]
    assert Manifest.from_json(manifest.to_json()) == manifest


def _meaning(entry: Entry, codec: str) -> dict[str, object]:
    if entry.kind == "dir":
        return {"name": entry.name, "kind": "dir"}
    if entry.kind == "link":
        return {"name": entry.name, "kind": "link", "target": entry.target}
    return {
        "name": entry.name,
        "kind": "file",
        "executable": entry.executable,
        "size": entry.size,
        "sha256": entry.sha256,
        "stored": entry.stored,
        "payload": entry.payload(codec),
        "codec": codec if entry.compressed else "none",
        "chunks": [list(chunk) for chunk in entry.chunks],
    }


@pytest.mark.parametrize("case", [case for case in MANIFESTS if "refused" in case], ids=lambda case: case["name"])
def test_manifests_are_refused_alike(case: Mapping[str, Any]) -> None:
    """A manifest that is refused is refused for the reason that the vectors say."""
    with pytest.raises(ArchiveError) as caught:
        Manifest.from_json(case["text"].encode())
    assert re.search(REASONS[case["refused"]], str(caught.value))


def test_every_reason_has_a_vector() -> None:
    """No reason is left without a manifest that is refused for it."""
    assert {case["refused"] for case in MANIFESTS if "refused" in case} == set(REASONS)


def test_hash_covers_the_meaning() -> None:
    """An accepted manifest with an entry less, or with another name, has another hash."""
    for case in MANIFESTS:
        if case.get("entries"):
            entries = Manifest.from_json(case["text"].encode()).entries
            other = (*entries[:-1], replace(entries[-1], name=entries[-1].name + "x"))
            assert case["contentHash"] not in {content_hash(entries[:-1]), content_hash(other)}


# --- chunked payloads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CHUNKS, ids=lambda case: case["name"])
def test_chunked_payloads(case: Mapping[str, Any]) -> None:
    """A payload is right as a whole, and by chunks, if the vectors say so."""
    stored = base64.b64decode(case["payload"], validate=True)
    assert sum(packed for _, packed in case["chunks"]) == len(stored)
    assert sum(raw for raw, _ in case["chunks"]) == case["size"]
    content = _inflate(stored)
    right = (case["size"], case["sha256"])
    whole = content is not None and (len(content), hashlib.sha256(content).hexdigest()) == right
    assert whole == case["whole"]
    start, members = 0, []
    for raw, packed in case["chunks"]:
        member = _inflate(stored[start : start + packed])
        members.append(member if member is not None and len(member) == raw else None)
        start += packed
    assert (None not in members) == case["members"]
    if case["whole"] and case["members"]:
        assert b"".join(member for member in members if member is not None) == content


def _inflate(stored: bytes) -> bytes | None:
    """Return what a payload holds, None if it is damaged."""
    try:
        return b"".join(payload.inflate(io.BytesIO(stored), "gzip"))
    except ArchiveError:
        return None


# --- stamps -------------------------------------------------------------------------------------------

# As the vectors test of runtime/internal/tree describes it: five fields a line, the name is all the rest.
_STAMP = re.compile(r"pyembed-stamp 1\n(?P<identity>[^\n]{64})\n(?P<lines>(?:[^\n]*\n)*)end (?P<count>0|[1-9]\d*)\n")
_LINE = re.compile(r"([dfl]) ([0-9a-f]{1,8}) (-?\d+) (-?\d+) (.+)")
_SIGNED = range(-(1 << 63), 1 << 63)


@pytest.mark.parametrize("case", STAMPS, ids=lambda case: case["name"])
def test_stamps(case: Mapping[str, Any]) -> None:
    """A stamp is what the vectors say, for a reader that was written from its description."""
    assert _parse_stamp(case["text"]) == ((case["identity"], case["entries"]) if "identity" in case else None)


def _parse_stamp(text: str) -> tuple[str, list[dict[str, object]]] | None:
    """Return the identity and the entries of a stamp, None if it is none."""
    stamp = _STAMP.fullmatch(text)
    if stamp is None:
        return None
    lines = [_LINE.fullmatch(line) for line in stamp["lines"].split("\n")[:-1]]
    entries: list[dict[str, object]] = []
    for line in lines:
        if line is None or int(line[3]) not in _SIGNED or int(line[4]) not in _SIGNED:
            return None
        size, mtime = int(line[3]), int(line[4])
        entries.append({"name": line[5], "kind": line[1], "mode": int(line[2], 16), "size": size, "mtime": mtime})
    return (stamp["identity"], entries) if len(entries) == int(stamp["count"]) else None
