"""A report says what a bundle is, what takes the space and what was left out."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import packing
from packing import NOISE, Program, put
from pyembed_gen.errors import ArchiveError
from pyembed_gen.inspect import inspect
from pyembed_gen.manifest import Manifest
from pyembed_gen.pack import Packed

FILES: packing.Files = {
    "bin/python3": "python3.14",
    "bin/python3.14": Program(NOISE[:50_000]),
    "lib/python3.14/encodings/ascii.py": b"# ascii\n" * 99,
    "lib/python3.14/encodings/idna/x/y.py": b"# idna\n" * 99,
    "lib/python3.14/os.py": NOISE[:2000],
    "python.dll": NOISE[:900],
}


def written(packed: Packed) -> Path:
    put(Path("out"), {"linux/amd64": packed})
    return Path("out/linux-amd64")


@pytest.fixture
def packed() -> Packed:
    """Return a packed tree of which a rule dropped something."""
    packed = packing.pack(Path("cache"), FILES)
    return replace(packed, manifest=replace(packed.manifest, dropped=(("tests", 2, 12_345),)))


def test_groups_and_largest(packed: Packed) -> None:
    """Files are grouped by folder, three elements deep at most, and both lists begin with what takes most."""
    report = inspect(written(packed))
    assert [(group.name, group.files, group.raw) for group in report.groups] == [
        ("bin", 1, 50_000),
        ("lib/python3.14", 1, 2000),
        (".", 1, 900),
        ("lib/python3.14/encodings", 2, 8 * 99 + 7 * 99),
    ]
    assert sum(group.stored for group in report.groups) == packed.manifest.stored
    assert [entry.name for entry in report.largest[:3]] == ["bin/python3.14", "lib/python3.14/os.py", "python.dll"]


def test_only_the_largest_files_are_listed() -> None:
    """Of many files fifteen are named."""
    report = inspect(written(packing.pack(Path("cache"), {f"{number:02}": b"x" for number in range(40)})))
    assert [entry.name for entry in report.largest] == [f"{number:02}" for number in range(15)]


def test_values_for_json(packed: Packed) -> None:
    """The values can be printed as JSON; embedded is what the folder has on disk."""
    bundle = written(packed)
    values = json.loads(json.dumps(inspect(bundle).to_json()))
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    assert values["embedded"] == size
    assert (values["files"], values["raw"]) == (5, packed.manifest.raw)
    assert values["contentHash"] == packed.manifest.content_hash
    assert values["origin"]["python"] == "3.14.9"
    assert values["dropped"] == [{"rule": "tests", "files": 2, "raw": 12_345}]
    assert values["groups"][0] == {"name": "bin", "files": 1, "raw": 50_000, "stored": 50_000}
    assert values["largest"][0] == {"name": "bin/python3.14", "raw": 50_000, "stored": 50_000}
    assert values["directory"] == "out/linux-amd64"
    assert (values["codec"], values["recipe"]) == ("gzip", packed.manifest.recipe)


def test_text_for_people(packed: Packed) -> None:
    """The text has origin, figures and three tables in decimal units."""
    text = inspect(written(packed)).to_text()
    lines = text.splitlines()
    assert lines[0] == "out/linux-amd64: Python 3.14.9 for x86_64-unknown-linux-gnu (PBS 20261021, pgo+lto-full)"
    assert lines[1] == f"  contentHash {packed.manifest.content_hash}"
    assert lines[2].startswith("  5 files, 54.4 kB extracted, ")
    assert lines[2].endswith(" embedded (gzip)")
    assert lines[5].split() == ["bin", "1", "50.0", "kB", "50.0", "kB"]
    assert lines[-1].split() == ["tests", "2", "12.3", "kB"]


def with_origin(packed: Packed, **values: object) -> Path:
    manifest: Manifest = packed.manifest
    return written(replace(packed, manifest=replace(manifest, origin=replace(manifest.origin, **values))))  # type: ignore[arg-type]


def test_text_of_a_bundle_for_one_machine(packed: Packed) -> None:
    """A bundle made from an installation has no PBS release, and may be bound to its machine."""
    first = inspect(with_origin(packed, pbs="", flavour="host", portable=False)).to_text().splitlines()[0]
    assert first.endswith("Python 3.14.9 for x86_64-unknown-linux-gnu (host), for this machine only")


def test_text_without_origin_and_drops() -> None:
    """A bundle of the Go runtime does not say where it comes from; what is empty is left out."""
    packed = packing.pack(Path("cache"), {"a": b"x"})
    text = inspect(with_origin(packed, python="", pbs="", triple="", flavour="")).to_text()
    assert text.startswith("out/linux-amd64: of unknown origin\n")
    assert "dropped" not in text


def test_unreadable_bundle() -> None:
    """A folder that holds no bundle is an ArchiveError."""
    with pytest.raises(ArchiveError):
        inspect(Path("nowhere"))
