"""From what is asked for to jobs."""

from pathlib import Path

import pytest

from pyembed_gen import matrix, plan, sums
from pyembed_gen.errors import UsageError
from pyembed_gen.plan import Codec, Request

DATA = Path(__file__).parent / "data"
SEED = DATA / "seed" / "matrix.toml"


def test_seed_matrix_plans_as_goempy_did() -> None:
    """The five platforms and five versions of goempy's first release give the names it downloaded."""
    loaded = matrix.load(SEED)
    jobs = plan.plan(loaded, Request(pythons=("3.14", "3.13", "3.12", "3.11", "3.10")))
    assert {job.asset for job in jobs} == {
        f"cpython-{version}+20260414-{triple}"
        for version in ("3.14.4", "3.13.13", "3.12.13", "3.11.15", "3.10.20")
        for triple in (
            "x86_64-unknown-linux-gnu-pgo+lto-full.tar.zst",
            "aarch64-unknown-linux-gnu-pgo+lto-full.tar.zst",
            "x86_64-apple-darwin-pgo+lto-full.tar.zst",
            "aarch64-apple-darwin-pgo+lto-full.tar.zst",
            "x86_64-pc-windows-msvc-pgo-full.tar.zst",
        )
    }
    real = sums.parse((DATA / "SHA256SUMS-20260414").read_text("ascii"), where="list")
    assert {job.asset for job in jobs if job.version == "3.14.4"} <= real.keys()


def test_bare_request_is_the_primary_line_on_all_platforms() -> None:
    """Without options: PRIMARY_PYTHON, every default platform, gzip 10, [output] of the matrix."""
    loaded = matrix.load(None)
    jobs = plan.plan(loaded, Request())
    assert [job.platform.key for job in jobs] == sorted(loaded.default_platforms)
    assert {job.version for job in jobs} == {"3.14.9"}
    assert {job.codec for job in jobs} == {Codec("gzip", 10)}
    assert {job.out for job in jobs} == {loaded.output.directory}
    assert jobs[0].directory == loaded.output.directory / "darwin-amd64"
    assert jobs[0].line == "3.14"


def test_several_lines_get_folders_of_their_own() -> None:
    """Two lines in one run go to py3.13 and py3.14 below the output directory."""
    jobs = plan.plan(matrix.load(None), Request(platforms=("linux/amd64",), pythons=("3.14", "3.13.17"), out=Path("o")))
    assert [(job.out, job.version) for job in jobs] == [
        (Path("o/py3.13"), "3.13.17"),
        (Path("o/py3.14"), "3.14.9"),
    ]


def test_options_override_the_matrix() -> None:
    """Release, mirror, package, codec and level come from the request if it has them."""
    (job,) = plan.plan(
        matrix.load(None),
        Request(
            platforms=("linux/amd64",),
            pythons=("3.14.1",),
            pbs="20260610",
            mirror="file:///m/",
            package="py",
            codec="zstd",
            level=19,
        ),
    )
    assert job.asset == "cpython-3.14.1+20260610-x86_64-unknown-linux-gnu-pgo+lto-full.tar.zst"
    assert (job.base, job.package, job.codec) == ("file:///m", "py", Codec("zstd", 19))


def test_variants_have_their_own_archives_and_lines() -> None:
    """Free-threaded rows have other flavours, another standard library, and begin with 3.13."""
    loaded = matrix.load(None)
    (job,) = plan.plan(loaded, Request(platforms=("linux/amd64/freethreaded",)))
    assert job.asset.endswith("x86_64-unknown-linux-gnu-freethreaded+pgo+lto-full.tar.zst")
    assert job.platform.stdlib(job.line) == "lib/python3.14t"
    with pytest.raises(UsageError, match=r"has no Python 3\.12\.15; its builds begin with 3\.13"):
        plan.plan(loaded, Request(platforms=("linux/amd64/freethreaded",), pythons=("3.12",)))


def test_platform_without_a_line_is_left_out_when_not_asked_for(tmp_path: Path) -> None:
    """A default platform whose builds begin later is passed over for an older line."""
    path = tmp_path / "matrix.toml"
    path.write_text('platforms = ["linux/amd64", "linux/amd64/freethreaded"]\n', encoding="utf-8")
    jobs = plan.plan(matrix.load(path), Request(pythons=("3.12",)))
    assert [job.platform.key for job in jobs] == ["linux/amd64"]


def test_features_change_rules_keeps_and_roots(tmp_path: Path) -> None:
    """tkinter switches its drop rule off and keeps its script library; libpython becomes a root."""
    path = tmp_path / "matrix.toml"
    path.write_text('features = ["tkinter", "libpython"]\n', encoding="utf-8")
    (job,) = plan.plan(matrix.load(path), Request(platforms=("linux/amd64",)))
    assert "tkinter" not in {rule.name for rule in job.drop}
    assert "lib/tcl*/**" in job.keep
    assert "lib/libpython*" in job.roots


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(pythons=("2.7",)), "'2.7' is not a version"),
        (Request(pythons=("3.9",)), "Python 3.9 is not in the matrix; it has 3.11, 3.12, 3.13, 3.14, 3.15"),
        (Request(pythons=("3.14", "3.14.1")), "two versions of 3.14: 3.14.9 and 3.14.1"),
        (Request(pbs="latest"), "--pbs 'latest' is not a release tag"),
        (Request(package="my-data"), "--package 'my-data' is not a Go package name"),
        (Request(level=13), "--level 13 is not a level of gzip; it has 1 to 12"),
        (Request(codec="zstd", level=0), "--level 0 is not a level of zstd"),
        (Request(platforms=("beos/amd64",)), "'beos/amd64' is not in the matrix"),
    ],
)
def test_what_the_matrix_does_not_have_is_a_usage_error(request_: Request, words: str) -> None:
    """Each wrong request is refused with what there is instead."""
    with pytest.raises(UsageError) as caught:
        plan.plan(matrix.load(None), request_)
    assert words in str(caught.value)


def test_newest_version_of_a_line_is_chosen() -> None:
    """Numbers are compared as numbers, and a pre-release comes before its release."""
    available = ("3.14.9", "3.14.10", "3.15.0a7", "3.15.0rc2", "3.15.0b1")
    assert plan.choose_versions(matrix.load(None), ("3.14", "3.15"), available) == ("3.14.10", "3.15.0rc2")
    assert plan.version_key("3.15.0") > plan.version_key("3.15.0rc2")
    with pytest.raises(ValueError, match=r"3\.x"):
        plan.version_key("3.x")
