"""Refusals: what is told of a requirement without a wheel, and that what is proposed does help."""

import re
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from choosing import ROWS, requirements, target
from pyembed_gen.errors import PipError
from pyembed_gen.matrix import line_of
from pyembed_gen.refusal import IndexFile, Refusal, explain
from pyembed_gen.target import Target, choose

VERSIONS = ("3.15.1", "3.14.9", "3.13.17", "3.12.15", "3.11.17")
LINUX = target()
MUSL = choose(replace(ROWS["linux/amd64"], wheels="musllinux x86_64", floor="1.1", oldest="1.1"), "3.14.9")
LEAVE = "leave linux/amd64 out with --only-platforms"
X86, ARM = "x86_64", "aarch64"


def listing(*names: str | IndexFile) -> dict[str, list[IndexFile]]:
    """Return an index that has files of ``a``, by their names without ``a-``."""
    files = [name if isinstance(name, IndexFile) else IndexFile(f"a-{name}") for name in names]
    return {"a": files}


def refused(
    requirement: str,
    *names: str | IndexFile,
    on: Target = LINUX,
    constraints: Sequence[str] = (),
) -> tuple[str, tuple[str, ...]]:
    """Return reason and remedies."""
    found = explain(
        Requirement(requirement), on, listing(*names).get, versions=VERSIONS, constraints=requirements(*constraints)
    )
    return found.reason, found.remedies


def wheel(version: str = "1", tags: str = f"cp314-cp314-manylinux_2_17_{X86}", **facts: str | bool) -> IndexFile:
    """Return a wheel of a."""
    return IndexFile(f"a-{version}-{tags}.whl", **facts)  # type: ignore[arg-type]


def test_newer_glibc() -> None:
    """Acceptance case "glibc floor message": numpy of 2.27 and 2.28 on 2.17: the least floor that does."""
    files = (f"1-cp314-cp314-manylinux_2_28_{X86}.whl", f"1-cp314-cp314-manylinux_2_27_{X86}.manylinux_2_28_{X86}.whl")
    assert refused("a", *files) == ("its wheels need glibc 2.27", ("give --glibc 2.27", LEAVE))
    assert refused("a", *files, on=target(glibc="2.27"))[0] == "1 has a wheel that fits, and something else excludes it"
    assert refused("a", *files, on=target("linux/arm64"))[0] == "its wheels are for Linux x86_64"


def test_newer_macos_and_musl() -> None:
    """Their floors are options of their own."""
    intel = target("darwin/amd64")
    leave = "leave darwin/amd64 out with --only-platforms"
    files = ("1-cp314-cp314-macosx_13_0_universal2.whl", "1-cp314-cp314-macosx_12_0_x86_64.whl")
    assert refused("a", *files, on=intel) == ("its wheels need macOS 12.0", ("give --macos 12.0", leave))
    assert refused("a", files[0], on=intel)[1] == ("give --macos 13.0", leave)
    assert refused("a", "1-py3-none-macosx_12_3_x86_64.whl", on=intel) == ("its wheels are for macOS x86_64", (leave,))
    musl = refused("a", f"1-cp314-cp314-musllinux_1_2_{X86}.whl", on=MUSL)
    assert musl == ("its wheels need musl 1.2", ("give --musl 1.2", LEAVE))


def test_floors_that_cannot_be() -> None:
    """A tag of glibc 3 or of macOS 9 proposes nothing."""
    for on, tag in ((LINUX, f"manylinux_3_1_{X86}"), (target("darwin/amd64"), "macosx_100_1_x86_64")):
        assert not any("give" in remedy for remedy in refused("a", f"1-py3-none-{tag}.whl", on=on)[1])


def test_old_names_of_floors_count() -> None:
    """manylinux2014 is glibc 2.17, for a row whose interpreter runs on less."""
    old = choose(replace(ROWS["linux/amd64"], floor="2.12", oldest="2.5"), "3.14.9")
    assert refused("a", f"1-py3-none-manylinux2014_{X86}.whl", on=old)[1][0] == "give --glibc 2.17"
    assert refused("a", f"1-py3-none-manylinux2010_{X86}.whl", on=old)[0].startswith("1 has a wheel that fits")


def test_only_other_pythons() -> None:
    """Acceptance case "other Python": PyYAML has none of 3.11 for Windows on ARM, but of the later lines."""
    files = [f"6.0.3-cp{line}-cp{line}-win_arm64.whl" for line in (312, 313)]
    reason, remedies = refused("a", *files, "6.0.3.tar.gz", on=target("windows/arm64", "3.11.17"))
    assert reason == "it has wheels for this platform, but for Python 3.13, 3.12"
    assert remedies == (
        "give --python 3.13 (3.12 would do too)",
        "leave windows/arm64 out with --only-platforms",
    )
    pure = (wheel(tags="py3-none-any", requires_python="<3.14"), wheel("0.9", "py3-none-any", requires_python="<3.12"))
    assert refused("a==1", *pure)[1][0] == "give --python 3.13 (3.12, 3.11 would do too)"


def test_python_of_which_the_platform_has_none() -> None:
    """There is no free-threaded 3.12 to propose."""
    free = target("linux/amd64/freethreaded", "3.13.17")
    assert refused("a", wheel(tags="py3-none-any", requires_python="<3.13"), on=free) == (
        "its wheels are for other Pythons",
        ("leave linux/amd64/freethreaded out with --only-platforms",),
    )


def test_other_python_on_a_newer_floor() -> None:
    """Where neither alone does, both are named."""
    assert refused("a", f"1-cp313-cp313-manylinux_2_28_{X86}.whl", f"1-cp312-cp312-manylinux_2_34_{X86}.whl") == (
        "its wheels need glibc 2.28 and Python 3.13",
        ("give --glibc 2.28 --python 3.13", LEAVE),
    )


def test_only_source() -> None:
    """Acceptance case "sdist-only opt-in pure": docopt has no wheel; what compiles is not proposed."""
    assert refused("a", "0.6.2.tar.gz") == (
        "there is no wheel of it, only source",
        ("give --allow-sdist a, which builds it if it is pure Python", LEAVE),
    )
    assert refused("a", "1.zip", "1-py2-none-any.whl") == (
        "its wheels are for other Pythons",
        ("give --allow-sdist a, which builds it if it is pure Python", LEAVE),
    )
    assert refused("a", "1.tar.gz", "1-py3-none-win32.whl") == ("its wheels are for win32", (LEAVE,))
    assert refused("a", IndexFile("a-1.tar.gz", ">=3.15")) == ("there is no wheel of it, only source", (LEAVE,))


def test_only_prereleases() -> None:
    """A final version without a wheel that fits does not hide one of a pre-release that has one."""
    assert refused("a", wheel("2.0b1"), wheel("2.0rc1"), "1.tar.gz") == (
        "only pre-releases have a wheel that fits",
        ("pin it (a==2.0rc1) or give --pre", LEAVE),
    )
    assert refused("a>=2.0b1", wheel("2.0b1"))[0] == "2.0b1 has a wheel that fits, and something else excludes it"
    assert refused("a", wheel("2.0b1"))[0] == "2.0b1 has a wheel that fits, and something else excludes it"


def test_only_yanked() -> None:
    """pip takes a version that was withdrawn only if it is pinned."""
    files = (wheel("2", yanked=True), wheel("1", yanked=True))
    assert refused("a", *files) == (
        "only versions that were withdrawn (yanked) have a wheel that fits",
        ("pin it (a==2) if you know why it was", LEAVE),
    )
    assert refused("a==2", *files)[0] == "2 has a wheel that fits, and something else excludes it"
    assert refused("a==2.*", *files)[1][0] == "pin it (a==2) if you know why it was"
    assert refused("a", wheel("2", "py3-none-win32", yanked=True)) == (
        "all such versions were withdrawn (yanked)",
        (LEAVE,),
    )


def test_only_other_platforms() -> None:
    """Acceptance case "no wheel for the platform": grpcio has none for Windows on ARM."""
    names = ("manylinux2014_x86_64", "musllinux_1_2_x86_64", "macosx_11_0_universal2", "win_amd64", "win32")
    files = [f"1-cp314-cp314-{name}.whl" for name in names]
    assert refused("a", *files, "1.tar.gz", on=target("windows/arm64")) == (
        "its wheels are for Linux x86_64, Windows amd64, macOS universal2, win32",
        ("leave windows/arm64 out with --only-platforms",),
    )
    many = [f"1-cp314-cp314-linux_{name}.whl" for name in "abcdefgh"]
    assert refused("a", *many)[0] == "its wheels are for Linux a, Linux b, Linux c, Linux d, Linux e, Linux f, ..."


def test_other_c_library() -> None:
    """Wheels for musl do not run on glibc, nor the other way round, however new."""
    only = (f"1-cp314-cp314-musllinux_1_2_{X86}.whl", "1-cp314-cp314-win_amd64.whl")
    assert refused("a", *only) == ("its wheels for Linux need musl", (LEAVE,))
    assert refused("a", f"1-cp314-cp314-manylinux_2_28_{X86}.whl", on=MUSL) == (
        "its wheels for Linux need glibc",
        (LEAVE,),
    )
    assert refused("a", f"1-cp314-cp314-musllinux_1_2_{ARM}.whl")[0] == "its wheels are for Linux aarch64"


def test_free_threaded_missing() -> None:
    """Acceptance case "free-threaded": abi3 does not count there, and says so."""
    free = target("linux/amd64/freethreaded")
    leave = "leave linux/amd64/freethreaded out with --only-platforms"
    for tags in (f"cp39-abi3-manylinux2014_{X86}", f"cp314-cp314-manylinux2014_{X86}"):
        assert refused("a", f"1-{tags}.whl", on=free) == (
            "its wheels are for the build with the GIL, and abi3 does not count here",
            (leave,),
        )
    assert refused("a", f"1-cp313-cp313t-manylinux2014_{X86}.whl", on=free)[1][0] == "give --python 3.13"


def test_version_that_does_not_exist() -> None:
    """The nearest ones are named, those with a wheel that fits before others."""
    files = [wheel(version) for version in ("3.1.4", "3.1.6", "3.2")]
    assert refused("a==3.1.5", *files) == (
        "there is no such version; the nearest with a wheel that fits are 3.1.4 and 3.1.6",
        ("ask for a 3.1.4 or 3.1.6",),
    )
    assert refused("a>=4", *files, "3.3.tar.gz")[0].endswith("the nearest with a wheel that fits is 3.2")
    assert refused("a>=4", "3.3.tar.gz", "1.0.tar.gz")[0] == "there is no such version; the nearest is 3.3"
    assert refused("a<3", *files)[1] == ("ask for a 3.1.4",)
    assert refused("a==3.0.*", *files)[1] == ("ask for a 3.1.4",)
    assert refused("a===weird", *files)[1] == ("ask for a 3.2",)
    assert refused("a>3.1.4,<3.1.6", *files)[1] == ("ask for a 3.1.4 or 3.1.6",)
    assert refused("a>3.0,<3.1", *files)[1] == ("ask for a 3.1.4",)
    assert refused("a>=9,<9", wheel("1rc1"))[1] == ("ask for a 1rc1",)


def test_constraints_count() -> None:
    """A version that only a constraint excludes is told with it."""
    files = [wheel("1"), wheel("2"), "2.1-py3-none-win32.whl"]
    assert refused("A>=2", *files, constraints=("a<2", "b==1")) == (
        "there is no such version that the constraint a<2 allows; the nearest with a wheel that fits is 2",
        ("ask for a 2",),
    )
    assert refused("a", *files, constraints=("a>2",)) == ("its wheels are for win32", ("ask for a 2", LEAVE))


def test_version_that_has_no_wheel_while_others_have() -> None:
    """A pin that no wheel meets is told of the next newer version with one, or else of the newest."""
    files = [wheel("1"), wheel("3"), wheel("4"), "2-cp314-cp314-win_arm64.whl", wheel("5b1"), wheel("2.1", yanked=True)]
    assert refused("a==2", *files) == ("its wheels are for Windows arm64", ("ask for a 3", LEAVE))
    older = [wheel("0.0.1"), wheel("1"), "2-cp314-cp314-win_arm64.whl"]
    assert refused("a==2", *older) == ("its wheels are for Windows arm64", ("ask for a 1", LEAVE))


def test_cheapest_remedies_come_first_and_are_few() -> None:
    """An option that costs old systems, then another version, then another Python; two, and to leave it out."""
    files = [
        f"2-cp314-cp314-manylinux_2_28_{X86}.whl",
        f"2-cp313-cp313-manylinux_2_17_{X86}.whl",
        wheel("1"),
    ]
    assert refused("a==2", *files) == ("its wheels need glibc 2.28", ("give --glibc 2.28", "ask for a 1", LEAVE))
    assert refused("a==2", *files[:2])[1] == ("give --glibc 2.28", "give --python 3.13", LEAVE)


def test_name_that_no_index_knows() -> None:
    """Nearest names are not known: no index is asked for all of its names."""
    found = explain(Requirement("Jinja_3>=1; os_name == 'posix'"), LINUX, {}.get, asker="b 1.0")
    assert found == Refusal(
        "Jinja_3>=1",
        "b 1.0",
        LINUX,
        "no index in use has a package of this name",
        ("check its spelling", "name the index that has it with --extra-index-url"),
    )
    error = found.error()
    assert isinstance(error, PipError)
    assert str(error) == (
        "choosing wheels for linux/amd64, Python 3.14: Jinja_3>=1 (which b 1.0 asks for): no index in use has a "
        "package of this name; check its spelling, or name the index that has it with --extra-index-url"
    )


def test_index_without_files() -> None:
    """What is no file of that package does not count."""
    nothing = ("there are neither wheels nor source of it", ("check its spelling, and the index",))
    assert refused("a") == nothing
    strange = (IndexFile("b-1-py3-none-any.whl"), "1.exe", "1-py3.whl", "nonsense.tar.gz", IndexFile("a.tar.gz"))
    assert refused("a", *strange) == nothing


def test_error_is_one_line_without_credentials() -> None:
    """A requirement by URL may hold some."""
    found = explain(Requirement("a @ https://u:secret@host.invalid/a-1-py3-none-any.whl"), LINUX, {}.get)
    assert found.requirement == "a @ https://***@host.invalid/a-1-py3-none-any.whl"
    assert "asks for" not in str(found.error())


TAGS = st.tuples(
    st.sampled_from(["cp311-cp311", "cp313-cp313", "cp314-cp314", "cp314-cp314t", "cp39-abi3", "py3-none"]),
    st.sampled_from(
        [
            *(f"manylinux_2_{minor}_{arch}" for minor in (17, 24, 28, 39) for arch in (X86, ARM)),
            *(f"macosx_{version}_{arch}" for version in ("11_0", "12_0", "14_0", "14_3") for arch in (X86, "arm64")),
            *(
                "manylinux2014_x86_64",
                "musllinux_1_2_x86_64",
                "macosx_15_0_universal2",
                "win_amd64",
                "win_arm64",
                "any",
            ),
        ]
    ),
)
FILES = st.builds(
    lambda version, tags, python, yanked: wheel(version, "-".join(tags), requires_python=python, yanked=yanked),
    st.sampled_from(["1", "2", "2.1", "3b1"]),
    TAGS,
    st.sampled_from(["", ">=3.11", "<3.14", ">=3.15", ">=3.13"]),
    st.sampled_from([False, False, True]),
)


def fits(file: IndexFile, on: Target, requirement: Requirement) -> bool:
    """Whether packaging takes a wheel for a target and a requirement."""
    _, version, _, tags = parse_wheel_filename(file.filename)
    python = Requirement(f"python{file.requires_python}").specifier
    return (
        not tags.isdisjoint(on.tags)
        and python.contains(on.version, prereleases=True)
        and requirement.specifier.contains(version, prereleases=True)
    )


@settings(deadline=None, max_examples=150)
@given(
    files=st.lists(FILES | st.just(IndexFile("a-2.tar.gz")), min_size=1, max_size=6),
    key=st.sampled_from(sorted(ROWS)),
    version=st.sampled_from(VERSIONS),
    requirement=st.sampled_from(["a", "a==2", "a>=2", "a<2.1", "a==9"]).map(Requirement),
)
def test_what_is_proposed_helps(files: list[IndexFile], key: str, version: str, requirement: Requirement) -> None:
    """With the floor, the Python, the pin or the version that is named a wheel fits, and with no lower floor."""
    row = ROWS[key]
    assume(row.has_line(line_of(version)))
    on = choose(row, version)
    refusal = explain(requirement, on, {"a": files}.get, versions=VERSIONS)
    assert refusal.reason
    assert 1 <= len(refusal.remedies) <= 3
    wheels = [file for file in files if file.filename.endswith(".whl")]
    for remedy in refusal.remedies:
        floors = dict(re.findall(r"--(glibc|musl|macos) (\S+)", remedy))
        lines = re.findall(r"\b3\.1\d\b", remedy) if "--python" in remedy else [line_of(version)]
        for line in lines if floors or "--python" in remedy else ():
            other = next(one for one in VERSIONS if line_of(one) == line)
            assert any(fits(file, choose(row, other, floors), requirement) for file in wheels), remedy
        for floor in floors.values():
            lower = {f"2.{minor}" for minor in range(17, 39)} | {f"{major}.0" for major in range(11, 15)}
            for one in (one for one in lower if Version(on.floor) <= Version(one) < Version(floor)):
                low = choose(row, next(one for one in VERSIONS if line_of(one) == lines[0]), dict.fromkeys(floors, one))
                good = [file for file in wheels if not file.yanked or "==" in str(requirement)]
                finals = [file for file in good if "3b1" not in file.filename] or good
                assert not any(fits(file, low, requirement) for file in finals), remedy
        for pin in re.findall(r"a==(\S+)\)", remedy):
            assert any(fits(file, on, Requirement(f"a=={pin}")) for file in wheels), remedy
        if named := re.search(r"ask for a (\S+)(?: or (\S+))?", remedy):
            known = {str(parse_wheel_filename(file.filename)[1]) for file in wheels} | {"2"}
            assert {one for one in named.groups() if one} <= known
            if refusal.reason.startswith("there is no such version; the nearest with a wheel that fits"):
                for one in filter(None, named.groups()):
                    assert any(fits(file, on, Requirement(f"a=={one}")) for file in wheels)
