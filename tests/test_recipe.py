"""Recipes are equal exactly where the bytes of bundles are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from packing import job, origin, platforms
from pyembed_gen import payload
from pyembed_gen.manifest import Origin
from pyembed_gen.matrix import Rule
from pyembed_gen.plan import Codec, Job
from pyembed_gen.recipe import recipe

JOB = job(Path("o"))


def test_recipe_is_stable() -> None:
    """Equal inputs give the same 64 hex digits."""
    assert recipe(JOB, origin(), "c") == recipe(job(Path("o")), origin(), "c")
    assert len(recipe(JOB, origin(), "c")) == 64


@pytest.mark.parametrize(
    "other",
    [
        replace(JOB, out=Path("elsewhere")),
        replace(JOB, package="other"),
        replace(JOB, base="https://mirror.invalid"),
    ],
)
def test_where_it_goes_does_not_count(other: Job) -> None:
    """Output folder, Go package and mirror change no byte of a bundle, and so not its recipe."""
    assert recipe(other, origin(), "c") == recipe(JOB, origin(), "c")


@pytest.mark.parametrize(
    "other",
    [
        replace(JOB, platform=platforms()["linux/arm64"]),
        replace(JOB, platform=platforms()["linux/amd64/freethreaded"]),
        replace(JOB, platform=replace(JOB.platform, layout=replace(JOB.platform.layout, libraries=()))),
        replace(JOB, version="3.13.17"),
        replace(JOB, drop=()),
        replace(JOB, drop=(Rule("renamed", ("test_*.py",)),)),
        replace(JOB, drop=(Rule("tests", ("test_*.py", "x")),)),
        replace(JOB, keep=()),
        replace(JOB, roots=("x",)),
        replace(JOB, strip=False),
        replace(JOB, codec=Codec("gzip", 7)),
        replace(JOB, codec=Codec("zstd", 6)),
        replace(JOB, codec=Codec("none", 0)),
    ],
)
def test_what_decides_the_bytes_counts(other: Job) -> None:
    """Platform, layout, line, prune rules, strip, codec and level each give another recipe."""
    assert recipe(other, origin(), "c") != recipe(JOB, origin(), "c")


@pytest.mark.parametrize("field", Origin.__slots__)
def test_every_fact_of_the_origin_counts(field: str) -> None:
    """files.json holds the origin, so another one means other bytes."""
    value = False if field == "portable" else "other"
    assert recipe(JOB, replace(origin(), **{field: value}), "c") != recipe(JOB, origin(), "c")


def test_content_counts() -> None:
    """Another archive is another recipe."""
    assert recipe(JOB, origin(), "c") != recipe(JOB, origin(), "d")


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(payload, "library", lambda codec: f"{codec.name} 99"),
        lambda patch: patch.setattr(payload, "CHUNK", 1 << 20),
    ],
)
def test_library_and_chunk_size_count(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of the compressor, or another size of members, gives other payloads."""
    before = recipe(JOB, origin(), "c")
    change(monkeypatch)
    assert recipe(JOB, origin(), "c") != before
