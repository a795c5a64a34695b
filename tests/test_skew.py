"""Skew: one version of a package for all platforms, or a table and the line that removes it."""

from dataclasses import replace

import pytest

from choosing import item, resolution, target
from pyembed_gen.resolution import Resolution
from pyembed_gen.skew import Row, Skew, SkewError, check, compare


def chosen(key: str, *names: str, version: str = "3.14.9") -> Resolution:
    """Return a resolution of wheels written as name==version."""
    return resolution(*(item(*name.split("==")) for name in names), on=target(key, version))


CRYPTOGRAPHY = (
    chosen("linux/amd64", "cryptography==50.0.2", "click==8.1.8"),
    chosen("darwin/amd64", "cryptography==48.0.1", "click==8.1.8"),
    chosen("windows/arm64", "cryptography==46.0.3", "click==8.1.8", "colorama==0.4.6"),
)


def test_skew_is_an_error_with_table_and_constraint() -> None:
    """Acceptance case "skew": cryptography has three versions, and the lowest is offered as a decision."""
    with pytest.raises(SkewError) as caught:
        check(CRYPTOGRAPHY)
    assert caught.value.exit_code == 6
    assert str(caught.value) == (
        "comparing the platforms: they would get different versions of cryptography; "
        "put cryptography==46.0.3 into a constraints file (-c FILE; it is a decision, since an older version may lack "
        "security fixes), or accept it with --allow-skew"
    )
    (skew,) = caught.value.skews
    assert skew.platforms == ("linux/amd64", "darwin/amd64", "windows/arm64")
    assert skew.constraints == ("cryptography==46.0.3",)
    assert skew.text() == (
        "Python 3.14   linux/amd64  darwin/amd64  windows/arm64\n"
        "cryptography  50.0.2       48.0.1        46.0.3\n"
        "\n"
        "These constraints remove it (-c FILE); it is a decision, since an older version may lack security fixes:\n"
        "cryptography==46.0.3\n"
    )


def test_skew_can_be_accepted() -> None:
    """It is returned then, to be noted."""
    (skew,) = check(CRYPTOGRAPHY, allow=True)
    versions = {"linux/amd64": "50.0.2", "darwin/amd64": "48.0.1", "windows/arm64": "46.0.3"}
    assert skew.rows == (Row("cryptography", versions, "cryptography==46.0.3"),)


def test_no_skew() -> None:
    """Nothing is returned for equal versions, however written, nor for no platform or one."""
    assert check([]) == ()
    assert check(CRYPTOGRAPHY[:1]) == ()
    assert check([chosen("linux/amd64", "a==1.0"), chosen("linux/arm64", "a==1.0.0")]) == ()


def test_package_of_some_platforms_is_no_skew() -> None:
    """colorama is on Windows alone, because of its marker; it has a dash elsewhere if two Windows differ."""
    windows = [chosen("windows/amd64", "colorama==0.4.6"), chosen("windows/arm64", "colorama==0.4.6")]
    assert check([chosen("linux/amd64"), *windows]) == ()
    (skew,) = compare([chosen("linux/amd64"), windows[0], chosen("windows/arm64", "colorama==0.4.5")])
    assert skew.text().splitlines()[:2] == [
        "Python 3.14  linux/amd64  windows/amd64  windows/arm64",
        "colorama     -            0.4.6          0.4.5",
    ]


def test_lines_are_compared_apart() -> None:
    """Each Python line may have its own versions; 3.9 comes before 3.14."""
    apart = [
        *(chosen(f"linux/{arch}", "numpy==2.0", version="3.9.25") for arch in ("amd64", "arm64")),
        *(chosen(f"linux/{arch}", "numpy==2.4") for arch in ("amd64", "arm64")),
    ]
    assert check(apart) == ()
    both = [*apart, chosen("darwin/arm64", "numpy==2.3"), chosen("darwin/arm64", "numpy==1.9", version="3.9.25")]
    assert [(skew.line, skew.constraints) for skew in compare(both)] == [
        ("3.9", ("numpy==1.9",)),
        ("3.14", ("numpy==2.3",)),
    ]
    with pytest.raises(SkewError, match=r"of numpy; put numpy==1\.9, numpy==2\.3 into"):
        check(both)


def test_free_threaded_build_is_a_platform() -> None:
    """It must agree with the usual build of its line."""
    (skew,) = compare([chosen("linux/amd64", "a==2"), chosen("linux/amd64/freethreaded", "a==1")])
    assert skew.platforms == ("linux/amd64", "linux/amd64/freethreaded")


def test_lowest_version_is_that_of_pep_440() -> None:
    """1.10 is above 1.9, and a pre-release below its final."""
    for versions, lowest in ((("1.10", "1.9"), "1.9"), (("2.0", "2.0rc1"), "2.0rc1"), (("1!1.0", "9.0"), "9.0")):
        pair = [chosen(f"linux/{arch}", f"a=={one}") for arch, one in zip(("amd64", "arm64"), versions, strict=True)]
        assert compare(pair)[0].constraints == (f"a=={lowest}",)


def test_builds_of_one_version_are_no_skew() -> None:
    """An index of PyTorch has 2.9.1+cpu for Linux and 2.9.1 for macOS; no constraint could make them one."""
    same = [chosen("linux/amd64", "torch==2.9.1+cpu"), chosen("darwin/arm64", "torch==2.9.1")]
    assert compare(same) == ()
    (skew,) = compare([same[0], chosen("darwin/arm64", "torch==2.9.0")])
    assert skew.constraints == ("torch==2.9.0",)
    assert skew.rows[0].versions == {"linux/amd64": "2.9.1+cpu", "darwin/arm64": "2.9.0"}


def test_no_constraint_against_urls() -> None:
    """A URL was named for a platform; that is left to whoever named it."""
    direct = chosen("linux/amd64", "a==1")
    direct = replace(direct, items=(replace(direct.items[0], direct=True),))
    with pytest.raises(SkewError) as caught:
        check([direct, chosen("linux/arm64", "a==2")])
    assert caught.value.hint == "accept it with --allow-skew"
    assert caught.value.skews[0].text() == "Python 3.14  linux/amd64  linux/arm64\na            1            2\n"


def test_message_stays_a_line() -> None:
    """Three packages are named, the table has all."""
    names = ("d", "b", "a", "c", "e")
    pair = [
        chosen(f"linux/{arch}", *(f"{name}=={one}" for name in names)) for arch, one in (("amd64", 1), ("arm64", 2))
    ]
    with pytest.raises(
        SkewError, match=r"different versions of a, b, c and 2 more; put a==1, b==1, c==1 and 2 more into"
    ):
        check(pair)
    assert [row.name for row in compare(pair)[0].rows] == ["a", "b", "c", "d", "e"]


def test_empty_table_has_a_header() -> None:
    """Skew is a plain value; one without rows is its first line."""
    assert Skew("3.14", ("linux/amd64",), ()).text() == "Python 3.14  linux/amd64\n"
