"""Targets: tags, markers and pip's options, against packaging, against pip and against the machine of the tests."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging import _manylinux, _musllinux
from packaging.markers import Marker, default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms, parse_tag, sys_tags

from packing import platforms
from pyembed_gen.errors import UsageError
from pyembed_gen.matrix import Platform, line_of
from pyembed_gen.target import Target, choose

ROWS = platforms()
VERSIONS = ("3.11.17", "3.12.15", "3.13.17", "3.14.9", "3.15.1")
MUSL = replace(ROWS["linux/amd64"], key="linux/amd64/musl", wheels="musllinux x86_64", floor="1.2", oldest="1.2")
I686 = replace(ROWS["linux/amd64"], key="linux/386", platform_machine="i686", wheels="manylinux i686")

# Every row for every version that it has, two more rows, and floors above the defaults.
TARGETS = [
    *(choose(row, version) for row in ROWS.values() for version in VERSIONS if row.has_line(line_of(version))),
    *(choose(row, "3.14.9") for row in (MUSL, I686)),
    *(choose(ROWS[f"linux/{arch}"], "3.15.0rc1", {"glibc": "2.41"}) for arch in ("amd64", "arm64")),
    *(choose(ROWS["darwin/amd64"], "3.14.9", {"macos": floor}) for floor in ("10.15", "10.16", "14.2", "26.0")),
    choose(ROWS["darwin/arm64"], "3.14.9", {"macos": "26.1"}),
]

# Run by pip's interpreter, with pip's own parser: the tags that pip takes for each list of options.
INSIDE_PIP = """
import json, sys
from pip._internal.cli.cmdoptions import make_target_python
from pip._internal.commands import create_command

parse = create_command("download").parse_args
targets = [make_target_python(parse([*options, "x"])[0]) for options in json.load(sys.stdin)]
json.dump([[[str(tag) for tag in t.get_sorted_tags()], t.py_version_info] for t in targets], sys.stdout)
"""


def row_of(key: str, version: str = "3.14.9", **floors: str) -> Target:
    """Return the target of a row."""
    return choose(ROWS[key], version, floors)


def names(target: Target) -> list[str]:
    """Return the platform tags of a target, in their order, without those of pure Python."""
    return [name for name in dict.fromkeys(tag.platform for tag in target.tags) if name != "any"]


def abis(target: Target) -> list[str]:
    """Return interpreter and ABI of the tags that are for CPython, in their order."""
    pairs = (f"{tag.interpreter}-{tag.abi}" for tag in target.tags if tag.interpreter.startswith("cp"))
    return list(dict.fromkeys(pairs))


def test_tags_of_glibc_are_spelled_out() -> None:
    """From the floor down to the oldest that the standards name, with aliases, then the tag of no library."""
    assert names(row_of("linux/amd64")) == [
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
        *(f"manylinux_2_{minor}_x86_64" for minor in (16, 15, 14, 13, 12)),
        "manylinux2010_x86_64",
        *(f"manylinux_2_{minor}_x86_64" for minor in (11, 10, 9, 8, 7, 6, 5)),
        "manylinux1_x86_64",
        "linux_x86_64",
    ]
    assert names(row_of("linux/arm64", glibc="2.19")) == [
        *(f"manylinux_2_{minor}_aarch64" for minor in (19, 18, 17)),
        "manylinux2014_aarch64",
        "linux_aarch64",
    ]
    assert names(choose(I686, "3.14.9"))[-2:] == ["manylinux1_i686", "linux_i686"]


def test_tags_of_musl_are_spelled_out() -> None:
    """From the floor down to 1.0; a glibc floor means nothing here."""
    expected = ["musllinux_1_2_x86_64", "musllinux_1_1_x86_64", "musllinux_1_0_x86_64", "linux_x86_64"]
    assert names(choose(MUSL, "3.14.9", {"glibc": "2.28"})) == expected
    assert names(choose(MUSL, "3.14.9", {"musl": "1.3"})) == ["musllinux_1_3_x86_64", *expected]


def test_tags_of_macos_are_those_of_packaging() -> None:
    """Intel takes what was built for it alone, with others and for both; Apple silicon never what is for Intel only."""
    intel = names(row_of("darwin/amd64"))
    assert intel == list(mac_platforms((11, 0), "x86_64"))
    assert intel[:6] == [
        f"macosx_11_0_{kind}" for kind in ("x86_64", "intel", "fat64", "fat3", "universal2", "universal")
    ]
    assert intel[-1] == "macosx_10_4_universal"
    assert "macosx_11_0_x86_64" not in names(row_of("darwin/amd64", macos="10.15"))
    apple = names(row_of("darwin/arm64"))
    assert apple == list(mac_platforms((11, 0), "arm64"))
    assert apple[:3] == ["macosx_11_0_arm64", "macosx_11_0_universal2", "macosx_10_16_universal2"]
    assert {name.rpartition("_")[2] for name in apple} == {"arm64", "universal2"}
    assert names(row_of("darwin/arm64", macos="14.5"))[:2] == ["macosx_14_0_arm64", "macosx_14_0_universal2"]


def test_windows_has_one_platform_tag_each() -> None:
    """Windows counts no versions, and a floor of another system means nothing there."""
    assert names(row_of("windows/386")) == ["win32"]
    assert names(row_of("windows/amd64", glibc="2.28", macos="abc")) == ["win_amd64"]
    assert names(row_of("windows/arm64")) == ["win_arm64"]


def test_abis_follow_from_the_build() -> None:
    """The usual build takes abi3 of its line and every older one, down to 3.2; the free-threaded one abi3t alone."""
    assert abis(row_of("linux/amd64")) == [
        "cp314-cp314",
        "cp314-abi3",
        "cp314-none",
        *(f"cp3{minor}-abi3" for minor in range(13, 1, -1)),
    ]
    assert abis(row_of("windows/arm64/freethreaded", "3.15.1")) == [
        "cp315-cp315t",
        "cp315-abi3t",
        "cp315-none",
        *(f"cp3{minor}-abi3t" for minor in range(14, 1, -1)),
    ]
    assert all(tag.abi != "abi3" for tag in row_of("linux/arm64/freethreaded").tags)


def test_pure_python_comes_last() -> None:
    """The last tags are those of no platform: cp314 first, then py314, py3 and older ones."""
    pure = [str(tag) for tag in row_of("linux/amd64").tags if tag.platform == "any"]
    assert pure[:4] == ["cp314-none-any", "py314-none-any", "py3-none-any", "py313-none-any"]
    assert pure[-1] == "py30-none-any"
    assert [str(tag) for tag in row_of("linux/amd64").tags[-len(pure) :]] == pure


@pytest.mark.parametrize(
    ("key", "lowest"),
    [
        ("linux/amd64", "py30-none-linux_x86_64"),
        ("darwin/amd64", "py30-none-macosx_10_4_universal"),
        ("darwin/arm64", "py30-none-macosx_10_4_universal2"),
        ("windows/386", "py30-none-win32"),
    ],
)
def test_lowest_tag_is_the_last_one_of_the_platform(key: str, lowest: str) -> None:
    """After it come tags of pure Python only."""
    target = row_of(key)
    assert str(target.lowest_tag) == lowest
    after = target.tags[target.tags.index(target.lowest_tag) + 1 :]
    assert after
    assert {tag.platform for tag in after} == {"any"}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.label}, {target.floor}")
def test_tags_are_a_list_without_repeats(target: Target) -> None:
    """Each tag stands once and is what it is written as, and the best one is the build's own on the floor."""
    assert len(set(target.tags)) == len(target.tags)
    assert all(parse_tag(str(tag)) == {tag} for tag in target.tags)
    interpreter = f"cp{line_of(target.version).replace('.', '')}"
    best = Tag(interpreter, f"{interpreter}{target.platform.abi}", names(target)[0])
    assert target.tags[0] == best


def test_pip_takes_the_same_tags() -> None:
    """pip makes the same set of each target's options, and the same order but for two aliases on Intel's Linux.

    Behind manylinux2014 pip puts manylinux2010 and manylinux1 at once, where manylinux_2_16 should come: it adds them
    itself, whether or not they were asked for at their own places. It decides at most which of two wheels of one
    version is taken, both of which fit.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", INSIDE_PIP],
        input=json.dumps([target.options for target in TARGETS]),
        env={name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        | {"PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout)
    assert len(answers) == len(TARGETS) > 60
    reordered = set()
    for target, (tags, release) in zip(TARGETS, answers, strict=True):
        own = [str(tag) for tag in target.tags]
        assert set(tags) == set(own), target.label
        assert len(tags) == len(own), target.label
        assert target.version.startswith(".".join(map(str, release)))
        if tags != own:
            reordered.add(target.platform.wheels)
            assert [tag for tag in tags if "manylinux2010_" not in tag and "manylinux1_" not in tag] == [
                tag for tag in own if "manylinux2010_" not in tag and "manylinux1_" not in tag
            ]
    assert reordered == {"manylinux x86_64", "manylinux i686"}


def test_options_name_the_release_of_a_candidate() -> None:
    """pip takes numbers only; within 3.15.0rc1 it would compare Requires-Python with 3.15.0 too."""
    assert row_of("windows/amd64/freethreaded", "3.15.0rc1").options == (
        "--python-version=3.15.0",
        "--implementation=cp",
        "--abi=cp315t",
        "--platform=win_amd64",
    )


@given(minor=st.integers(17, 60), arch=st.sampled_from(["amd64", "arm64"]), free=st.booleans())
def test_manylinux_tags_are_those_of_a_machine_with_that_glibc(minor: int, arch: str, free: bool) -> None:
    """packaging yields the same in the same order where it measures that glibc."""
    row = ROWS[f"linux/{arch}{'/freethreaded' if free else ''}"]
    target = choose(row, "3.14.9", {"glibc": f"2.{minor}"})
    machine = row.wheels.split()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_manylinux, "_get_glibc_version", lambda: (2, minor))
        patch.setattr(_manylinux, "_have_compatible_abi", lambda _executable, _archs: True)
        patch.setattr(_manylinux, "_get_manylinux_module", lambda: None)
        measured = [*_manylinux.platform_tags([machine]), f"linux_{machine}"]
    assert names(target) == measured
    abi = f"cp314{row.abi}"
    assert target.tags == (
        *cpython_tags((3, 14), [abi], measured),
        *compatible_tags((3, 14), "cp314", measured),
    )


@given(st.integers(2, 99))
def test_musllinux_tags_are_those_of_a_machine_with_that_musl(minor: int) -> None:
    """packaging yields the same in the same order where it measures that musl."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_musllinux, "_get_musl_version", lambda _executable: _musllinux._MuslVersion(1, minor))
        measured = list(_musllinux.platform_tags(["x86_64"]))
    assert names(choose(MUSL, "3.14.9", {"musl": f"1.{minor}"})) == [*measured, "linux_x86_64"]


@given(
    st.sampled_from([("linux/amd64", "glibc", 2), ("linux/arm64", "glibc", 2), ("darwin/arm64", "macos", 0)]),
    st.lists(st.integers(17, 99), min_size=2, max_size=4, unique=True),
)
def test_newer_floor_takes_all_that_an_older_one_does(which: tuple[str, str, int], numbers: list[int]) -> None:
    """Raising the floor only puts tags before those that were there, for each interpreter and ABI."""
    key, library, major = which
    floors = [f"{major}.{number}" if major else f"{number}.0" for number in sorted(numbers)]
    for older, newer in pairwise(names(row_of(key, **{library: floor})) for floor in floors):
        assert newer[-len(older) :] == older
        assert len(newer) > len(older)


def host() -> Target:
    """Return the target that the tests themselves run on, with the floor of its row."""
    goos = {"win32": "windows"}.get(sys.platform, sys.platform)
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine().lower())
    return row_of(f"{goos}/{arch}", platform.python_version())


def test_environment_is_that_of_the_machine_where_it_runs() -> None:
    """A target like this machine sees what markers see here, but for the kernel."""
    here = dict(default_environment())
    assert host().environment == here | {"platform_release": "", "platform_version": ""}


def test_tags_fit_the_machine_where_they_run() -> None:
    """A target like this machine takes nothing that does not fit here, in the order of this machine.

    But for linux_x86_64 and its like: packaging has it first, as the wheels that were built here.
    """
    wanted = host().tags
    chosen = set(wanted)
    here = [tag for tag in sys_tags() if tag in chosen]
    assert set(here) == chosen
    assert [tag for tag in here if not tag.platform.startswith("linux_")] == [
        tag for tag in wanted if not tag.platform.startswith("linux_")
    ]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("linux/amd64", ("posix", "linux", "x86_64", "Linux")),
        ("linux/arm64/freethreaded", ("posix", "linux", "aarch64", "Linux")),
        ("darwin/amd64", ("posix", "darwin", "x86_64", "Darwin")),
        ("darwin/arm64", ("posix", "darwin", "arm64", "Darwin")),
        ("windows/386", ("nt", "win32", "x86", "Windows")),
        ("windows/amd64", ("nt", "win32", "AMD64", "Windows")),
        ("windows/arm64/freethreaded", ("nt", "win32", "ARM64", "Windows")),
    ],
)
def test_environment_of_each_system(key: str, expected: tuple[str, ...]) -> None:
    """The values are CPython's own on that system; nothing of this machine is left in them."""
    environment = row_of(key).environment
    assert environment.keys() == default_environment().keys()
    seen = tuple(environment[name] for name in ("os_name", "sys_platform", "platform_machine", "platform_system"))
    assert seen == expected
    assert environment["platform_release"] == environment["platform_version"] == ""
    assert environment["implementation_name"] == "cpython"
    assert environment["platform_python_implementation"] == "CPython"


@pytest.mark.parametrize(
    ("version", "line", "implementation"),
    [
        ("3.14.9", "3.14", "3.14.9"),
        ("3.15.0a7", "3.15", "3.15.0a7"),
        ("3.15.0b2", "3.15", "3.15.0b2"),
        ("3.15.0rc1", "3.15", "3.15.0c1"),
    ],
)
def test_versions_are_spelled_as_python_spells_them(version: str, line: str, implementation: str) -> None:
    """platform.python_version() says rc, sys.implementation candidate, of which PEP 508 takes the first letter."""
    environment = row_of("linux/amd64", version).environment
    assert environment["python_full_version"] == version
    assert environment["python_version"] == line
    assert environment["implementation_version"] == implementation


@pytest.mark.parametrize(
    ("marker", "keys"),
    [
        ('sys_platform == "win32"', {"windows/amd64", "windows/arm64"}),
        ('platform_system == "Windows"', {"windows/amd64", "windows/arm64"}),
        ('os_name == "nt" and implementation_name == "cpython"', {"windows/amd64", "windows/arm64"}),
        ('sys_platform == "win32" and platform_machine != "ARM64"', {"windows/amd64"}),
        ('platform_machine == "arm64" and sys_platform == "darwin"', {"darwin/arm64"}),
        ('platform_machine == "arm64" or platform_machine == "aarch64"', {"darwin/arm64", "linux/arm64"}),
        ('sys_platform == "linux" and platform_machine == "x86_64"', {"linux/amd64"}),
        ('"linux" in sys_platform', {"linux/amd64", "linux/arm64"}),
        ('platform_python_implementation == "PyPy"', set()),
        ('platform_release >= "20.0"', set()),
        ('python_version < "3.14"', set()),
        (
            'python_version >= "3.9" and sys_platform != "win32" and sys_platform != "darwin"',
            {"linux/amd64", "linux/arm64"},
        ),
        ('python_full_version >= "3.14.9" and os_name == "nt"', {"windows/amd64", "windows/arm64"}),
        ('python_full_version > "3.14.9"', set()),
        ('implementation_version >= "3.15"', set()),
        ('extra == "socks" and sys_platform == "darwin"', {"darwin/amd64", "darwin/arm64"}),
        ('extra == "other"', set()),
    ],
)
def test_markers_hold_where_they_should(marker: str, keys: set[str]) -> None:
    """Markers of real packages hold on the default platforms that they mean, whatever machine asks."""
    defaults = [f"{goos}/{arch}" for goos in ("linux", "darwin", "windows") for arch in ("amd64", "arm64")]
    parsed = Marker(marker)
    assert {key for key in defaults if parsed.evaluate({**row_of(key).environment, "extra": "socks"})} == keys


def test_candidate_comes_before_its_release_in_markers() -> None:
    """3.15.0rc1 is of the line 3.15, and not yet 3.15.0."""
    environment = dict(row_of("linux/amd64", "3.15.0rc1").environment)
    assert Marker('python_version >= "3.15"').evaluate(environment)
    assert Marker('python_full_version < "3.15.0"').evaluate(environment) is False  # PEP 440: < excludes pre-releases
    assert Marker('python_full_version >= "3.15.0"').evaluate(environment) is False
    assert Marker('python_full_version <= "3.15.0" and implementation_version >= "3.15.0rc1"').evaluate(environment)


def test_label_is_for_people() -> None:
    """It names the row and the line."""
    assert row_of("linux/amd64").label == "linux/amd64, Python 3.14"
    assert row_of("darwin/arm64/freethreaded", "3.15.0rc1").label == "darwin/arm64/freethreaded, Python 3.15"


def test_floor_is_the_row_s_unless_asked_for() -> None:
    """The default of each row is in the matrix; what was asked for another library changes nothing."""
    assert row_of("linux/amd64").floor == "2.17"
    assert row_of("linux/amd64", macos="12.0").floor == "2.17"
    assert row_of("linux/amd64", glibc="2.28", macos="12.0").floor == "2.28"
    assert row_of("darwin/amd64").floor == "11.0"
    assert row_of("darwin/amd64", macos="10.15").floor == "10.15"
    assert row_of("windows/arm64", glibc="2.28").floor == ""


@pytest.mark.parametrize(
    ("row", "library", "floor", "words"),
    [
        (ROWS["linux/amd64"], "glibc", "2.4", "glibc 2.4 is older than 2.17, which the interpreter itself needs"),
        (ROWS["linux/arm64"], "glibc", "2.16", "glibc 2.16 is older than 2.17"),
        (ROWS["linux/amd64"], "glibc", "abc", "'abc' is not a version of glibc such as 2.17"),
        (ROWS["linux/amd64"], "glibc", "", "'' is not a version of glibc"),
        (ROWS["linux/amd64"], "glibc", "3.0", "'3.0' is not a version of glibc"),
        (ROWS["linux/amd64"], "glibc", "2", "'2' is not a version of glibc"),
        (ROWS["linux/amd64"], "glibc", "2.17.1", "'2.17.1' is not a version of glibc"),
        (ROWS["linux/amd64"], "glibc", "2.028", "'2.028' is not a version of glibc"),
        (ROWS["linux/amd64"], "glibc", "2.99999", "'2.99999' is not a version of glibc"),
        (ROWS["linux/amd64"], "glibc", "2.२८", "is not a version of glibc"),
        (ROWS["linux/amd64"], "glibc", "2.17\n", "is not a version of glibc"),
        (ROWS["darwin/arm64"], "macos", "9.2", "'9.2' is not a version of macos such as 11.0"),
        (ROWS["darwin/arm64"], "macos", "10.15", "macos 10.15 is older than 11.0, which the interpreter itself needs"),
        (ROWS["darwin/amd64"], "macos", "10.14", "macos 10.14 is older than 10.15"),
        (ROWS["darwin/amd64"], "macos", "12", "'12' is not a version of macos"),
        (MUSL, "musl", "1.1", "musl 1.1 is older than 1.2"),
        (MUSL, "musl", "2.17", "'2.17' is not a version of musl such as 1.2"),
        (replace(MUSL, floor="1.0"), "glibc", "2.28", "musl 1.0 is older than 1.2"),
    ],
)
def test_nonsense_floors_are_refused(row: Platform, library: str, floor: str, words: str) -> None:
    """A floor that is no version, or below what the interpreter needs, is a UsageError that says what to give."""
    with pytest.raises(UsageError) as caught:
        choose(row, "3.14.9", {library: floor})
    message = str(caught.value)
    assert message.startswith(f"choosing wheels for {row.key}: ")
    assert words in message
    assert message.endswith(f"{row.oldest} or newer")


def test_row_without_wheels_is_refused() -> None:
    """A user's row that says nothing of wheels has no pip packages, and is told which columns it lacks."""
    row = replace(ROWS["linux/amd64"], key="linux/riscv64", system=None, platform_machine="", wheels="")
    with pytest.raises(UsageError, match="linux/riscv64: the matrix names none for it; add the columns system"):
        choose(row, "3.14.9")
