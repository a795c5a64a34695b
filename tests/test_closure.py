"""Closures: what counts as asked for, what fits, and what is told of a resolution that is not what it should be."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from choosing import INDEX, item, requirements, resolution, target
from pyembed_gen import closure
from pyembed_gen.errors import PipError
from pyembed_gen.resolution import Item, Resolution
from pyembed_gen.target import Target

LINUX = target()
WINDOWS = target("windows/amd64")
MARKUPSAFE = item("MarkupSafe", "3.0.3", tags="cp314-cp314-manylinux_2_17_x86_64.manylinux2014_x86_64")
JINJA = item("Jinja2", "3.1.4", ["MarkupSafe>=2.0", "Babel>=2.7; extra == 'i18n'"])
BABEL = item("babel", "2.17.0", ['pytz>=2015.7; python_version < "3.9"'], requires_python=">=3.8")
CLICK = item("click", "8.1.8", ['colorama; platform_system == "Windows"'])
COLORAMA = item("colorama", "0.4.6")


def problems(asked: list[str], *items: Item, on: Target = LINUX, constraints: tuple[str, ...] = ()) -> list[str]:
    """Return what is wrong with these wheels for these requirements."""
    chosen = resolution(*items, on=on)
    return list(closure.problems(requirements(*asked), chosen, requirements(*constraints)))


def test_markers_of_the_target_decide() -> None:
    """Acceptance case "markers": click wants colorama on Windows, whatever machine resolves."""
    assert problems(["click==8.1.8"], CLICK) == []
    assert problems(["click==8.1.8"], CLICK, COLORAMA, on=WINDOWS) == []
    assert problems(["click==8.1.8"], CLICK, on=WINDOWS) == [
        'click 8.1.8 asks for colorama; platform_system == "Windows", and nothing was chosen'
    ]
    assert problems(["click==8.1.8"], CLICK, COLORAMA) == ["colorama 0.4.6 was chosen, and nothing asks for it"]


def test_markers_of_requirements_decide_too() -> None:
    """tzdata for Windows alone is nothing elsewhere, and then the set may be empty."""
    asked = ['tzdata; sys_platform == "win32"']
    assert problems(asked) == []
    assert problems(asked, item("tzdata", "2025.2"), on=WINDOWS) == []
    assert problems(asked, on=WINDOWS) == [
        'the requirements ask for tzdata; sys_platform == "win32", and nothing was chosen'
    ]
    assert problems(asked, item("tzdata", "2025.2")) == ["tzdata 2025.2 was chosen, and nothing asks for it"]


def test_exact_version_of_python_counts() -> None:
    """python_full_version is that of the bundled interpreter."""
    asked = ["backport; python_full_version < '3.14.9'"]
    assert problems(asked) == []
    assert problems(asked, item("backport", "1"), on=target(version="3.14.8")) == []


def test_extras_ask_for_more() -> None:
    """An extra adds its requirements, spelled in any way, and only if somebody asks for it."""
    assert problems(["jinja2"], JINJA, MARKUPSAFE) == []
    assert problems(["Jinja2[I18N]"], JINJA, MARKUPSAFE, BABEL) == []
    assert problems(["jinja2[i18n]"], JINJA, MARKUPSAFE) == [
        'jinja2 3.1.4 asks for Babel>=2.7; extra == "i18n", and nothing was chosen'
    ]
    assert problems(["jinja2"], JINJA, MARKUPSAFE, BABEL) == ["babel 2.17.0 was chosen, and nothing asks for it"]


def test_extras_of_dependencies_and_of_oneself() -> None:
    """Extras are followed through dependencies, and through an extra that names others of the same distribution."""
    every = item("web", "1", ["web[tls,cache]; extra == 'all'", "cryptic; extra == 'tls'", "dict; extra == 'cache'"])
    app = item("app", "1", ["web[all]"])
    rest = (item("cryptic", "1"), item("dict", "1"))
    assert problems(["app"], app, every, *rest) == []
    assert problems(["app"], app, every, rest[0]) == ['web 1 asks for dict; extra == "cache", and nothing was chosen']
    assert problems(["app", "web[all]", "web"], app, every, *rest) == []


def test_extra_that_excludes() -> None:
    """A requirement for all but an extra counts nevertheless, as the distribution itself is asked for too (as pip)."""
    odd = item("odd", "1", ["slow; extra != 'fast'", "quick; extra == 'fast'"])
    assert problems(["odd[fast]"], odd, item("slow", "1"), item("quick", "1")) == []


def test_extra_that_does_not_exist_asks_for_nothing() -> None:
    """pip warns of it and goes on."""
    assert problems(["click[nonsense]"], CLICK) == []


def test_circles_end() -> None:
    """Distributions may require each other, and themselves."""
    assert problems(["a"], item("a", "1", ["b", "a"]), item("b", "1", ["a[x]"])) == []


def test_specifiers_of_all_count() -> None:
    """Each that asks is named, and what was chosen."""
    old = item("markupsafe", "1.1")
    assert problems(["jinja2>=4", "markupsafe==2.*"], JINJA, old) == [
        "the requirements ask for jinja2>=4, and 3.1.4 was chosen",
        "the requirements ask for markupsafe==2.*, and 1.1 was chosen",
        "jinja2 3.1.4 asks for MarkupSafe>=2.0, and 1.1 was chosen",
    ]


def test_constraints_limit_and_ask_for_nothing() -> None:
    """A constraint counts where its marker holds and its package is there."""
    constraints = ("MarkupSafe<3", "numpy==1", 'click<8; sys_platform == "win32"')
    assert problems(["jinja2", "click"], JINJA, MARKUPSAFE, CLICK, constraints=constraints) == [
        "the constraints ask for MarkupSafe<3, and 3.0.3 was chosen"
    ]


def test_requires_python_is_checked() -> None:
    """With the exact version of the bundled interpreter."""
    new = item("new", "1", requires_python=">=3.14.10")
    assert problems(["new"], new) == ["new 1 asks for Python >=3.14.10, which 3.14.9 is not"]
    assert problems(["new"], new, on=target(version="3.14.10")) == []


@pytest.mark.parametrize(
    ("specifier", "version", "takes"),
    [
        ("", "3.14.9", True),
        (">=3.9", "3.15.0rc1", True),
        (">=3.15", "3.15.0rc1", True),
        (">3.15", "3.15.0rc1", False),
        ("<3.15", "3.15.0rc1", False),
        (">=3.5.*", "3.14.9", True),  # an error of its author, which pip passes over
        ("!=3.14.*", "3.14.9", False),
    ],
)
def test_requires_python_is_read_as_pip_does(specifier: str, version: str, takes: bool) -> None:
    """Releases are compared, and a specifier that cannot be read takes all."""
    assert closure.takes_python(specifier, version) is takes


@pytest.mark.parametrize(
    ("tags", "on"),
    [
        ("cp314-cp314-manylinux_2_28_x86_64", LINUX),
        ("cp314-cp314-manylinux_2_17_aarch64", LINUX),
        ("cp314-cp314-musllinux_1_2_x86_64", LINUX),
        ("cp313-cp313-manylinux_2_17_x86_64", LINUX),
        ("cp314-cp314t-manylinux_2_17_x86_64", LINUX),
        ("cp314-cp314-linux_x86_64", WINDOWS),
        ("cp314-cp314-win_arm64", WINDOWS),
        ("cp314-cp314-macosx_12_0_arm64", target("darwin/arm64")),
        ("cp39-abi3-manylinux_2_17_x86_64", target("linux/amd64/freethreaded")),
        ("py2-none-any", LINUX),
    ],
)
def test_wheel_that_does_not_fit(tags: str, on: Target) -> None:
    """Acceptance case "tag list": another C library, floor, machine, ABI or system does not fit (an .so on Windows)."""
    assert problems(["a"], item("a", "1", tags=tags), on=on) == [f"a-1-{tags}.whl was chosen, which does not fit"]


def test_wheels_that_fit() -> None:
    """One tag that fits is enough; abi3t is what the free-threaded build takes."""
    for tags, on in (
        ("cp314-cp314-manylinux_2_28_x86_64", target(glibc="2.28")),
        ("cp39-abi3-manylinux2014_x86_64.musllinux_1_2_x86_64", LINUX),
        ("cp315-abi3.abi3t-win_arm64", target("windows/arm64/freethreaded", "3.15.1")),
        ("py2.py3-none-any", LINUX),
    ):
        assert problems(["a"], item("a", "1", tags=tags), on=on) == []


@pytest.mark.parametrize("filename", ["a-1.tar.gz", "a", "a-1.whl", "a-1-py3-none-any.whl.metadata", ""])
def test_what_is_no_wheel(filename: str) -> None:
    """Acceptance case "sdist": pip takes a local folder and --no-binary past --only-binary."""
    chosen = replace(item("a", "1"), filename=filename)
    assert problems(["a"], chosen) == [f"a 1 was chosen as {filename!r}, which is no wheel"]


@pytest.mark.parametrize(
    "change", [{"filename": "b-1-py3-none-any.whl"}, {"filename": "a-2-py3-none-any.whl"}, {"version": "nonsense"}]
)
def test_wheel_of_another_name_or_version(change: dict[str, str]) -> None:
    """The file's name must say what the item says."""
    chosen = replace(item("a", "1"), **change)  # type: ignore[arg-type]
    (problem,) = problems(["a"], chosen) if "filename" in change else problems(["a"], chosen)[1:]
    assert problem == f"{chosen.filename} was chosen as a {chosen.version}, which it is not"


def test_version_may_be_spelled_in_another_way() -> None:
    """1.0 and 1.0.0 are one version, and a file's name has its local part with underscores."""
    assert problems(["a==1"], replace(item("a", "1.0"), version="1.0.0")) == []
    assert problems(["a"], replace(item("a", "1.0+cpu"), filename="a-1.0+cpu-py3-none-any.whl")) == []


def test_version_that_is_none_satisfies_nothing() -> None:
    """It is told once as such, for the requirement."""
    chosen = replace(item("a", "1"), version="nonsense")
    assert problems(["a"], chosen)[0] == "the requirements ask for a, and nonsense was chosen"


def test_direct_requirements_go_by_their_url() -> None:
    """A URL is the same without credentials and hash, and however it is escaped; a version of another URL is wrong."""
    chosen = item("a", "1", url="https://host.invalid/x%2By/a-1-py3-none-any.whl")
    asked = "a @ https://user:secret@HOST.invalid/x+y/a-1-py3-none-any.whl#sha256=00"
    assert problems([asked], chosen) == []
    (problem,) = problems([asked.replace("/x+y", "/z")], chosen)
    assert "secret" not in problem
    assert problem.startswith("the requirements ask for a @ https://***@HOST.invalid/z/a-1-py3")
    assert problem.endswith("and https://host.invalid/x+y/a-1-py3-none-any.whl was chosen")


def test_direct_requirements_meet_specifiers_of_others() -> None:
    """What a URL gives has a version like any other, and an extra of it asks for more."""
    chosen = item("a", "1", ["b; extra == 'x'"], url="file:///wheels/a-1-py3-none-any.whl")
    asked = ["a[x] @ file://localhost/wheels/a-1-py3-none-any.whl", "c"]
    rest = (item("b", "1"), item("c", "1", ["a>=2"]))
    assert problems(asked, chosen, *rest) == ["c 1 asks for a>=2, and 1 was chosen"]


def test_url_that_nobody_asks_for() -> None:
    """A wheel from a URL needs a requirement or a constraint with it."""
    chosen = item("a", "1", url="https://host.invalid/a-1-py3-none-any.whl")
    assert problems(["a"], chosen) == [
        "a 1 was chosen from https://host.invalid/a-1-py3-none-any.whl, and nothing asks for that URL"
    ]
    assert problems(["a"], chosen, constraints=(f"a @ {chosen.url}",)) == []
    other = "https://host.invalid/b/a-1-py3-none-any.whl"
    assert problems(["a"], item("a", "1"), constraints=(f"a @ {other}",)) == [
        f"the constraints ask for a @ {other}, and {INDEX}/a-1-py3-none-any.whl was chosen"
    ]


def test_metadata_that_cannot_be_read() -> None:
    """A requirement that is none, and a marker that means nothing, are told."""
    broken = item("a", "1", ["b (>=1", "d; platform_release ~= 'x'", "e; 'x' in extras"])
    found = problems(["a"], broken)
    assert found[0] == "a 1 asks for 'b (>=1', which is no requirement"
    assert found[1].startswith('a 1 asks for d; platform_release ~= "x", whose marker means nothing: ')
    assert found[2] == "a 1 asks for e; \"x\" in extras, whose marker means nothing: 'extras'"
    assert len(found) == 3


def test_names_are_normalised_and_there_once() -> None:
    """Else two spellings could stand for two packages."""
    twice = Resolution(LINUX, (item("a-b", "1"), replace(item("a_b", "1"), name="A_b")))
    assert problems(["a.b"], *twice.items) == ["a name was chosen twice", "the name 'A_b' is not normalised"]


def test_prereleases_that_nobody_asks_for_are_noted() -> None:
    """Acceptance case "pre-release": cffi 2.0.0b1 where no final has a wheel is right for pip, and worth a line."""
    chosen = resolution(item("cryptography", "46.0.3", ["cffi>=1.12"]), item("cffi", "2.0.0b1"))
    assert closure.problems(requirements("cryptography"), chosen) == ()
    note = "cffi 2.0.0b1 is a pre-release that nothing asks for: no final release has a wheel for "
    assert closure.prereleases(requirements("cryptography"), chosen) == (f"{note}linux/amd64, Python 3.14",)
    for asked, constraints in (
        (["cryptography", "cffi>=2.0.0b1"], []),
        (["cryptography"], ["cffi==2.0.0b1"]),
    ):
        assert closure.prereleases(requirements(*asked), chosen, requirements(*constraints)) == ()
    direct = resolution(item("a", "1.0a1", url="https://host.invalid/a-1.0a1-py3-none-any.whl"))
    assert closure.prereleases(requirements(f"a @ {direct.items[0].url}"), direct) == ()


def test_pip_that_was_not_steered_is_an_error() -> None:
    """One line with the target, the first problem and how many more there are, exit code 6."""
    asked = requirements("click")
    closure.check(asked, resolution(CLICK))
    with pytest.raises(PipError) as caught:
        closure.check(asked, resolution(CLICK, on=WINDOWS))
    assert caught.value.exit_code == 6
    assert str(caught.value).startswith(
        "checking what pip chose for windows/amd64, Python 3.14: click 8.1.8 asks for colorama; platform_system"
    )
    assert "more such" not in str(caught.value)
    assert "reinstall pyembed-gen" in caught.value.hint
    with pytest.raises(PipError, match=r"nothing was chosen \(and 1 more such problems\)"):
        closure.check([*asked, Requirement("x")], resolution(CLICK, COLORAMA))


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://u:p@host.invalid/a.whl?token=1#sha256=2", "https://host.invalid/a.whl"),
        ("https://u:p?q#r@host.invalid/a.whl", "https://host.invalid/a.whl"),
        ("https://host.invalid/a@b.whl", "https://host.invalid/a@b.whl"),
        ("file:///a%20b.whl", "file:///a%20b.whl"),
    ],
)
def test_location_has_no_secrets(url: str, bare: str) -> None:
    """User, password, query and fragment go, even where they are written wrongly."""
    assert closure.location(url) == bare


NAMES = [f"p{number}" for number in range(7)]
EXTRAS = ["", "x", "y"]
MARKERS = {
    "": True,
    "sys_platform == 'linux'": True,
    "sys_platform == 'win32'": False,
    "python_version < '3.9' or platform_machine == 'x86_64'": True,
}
EDGES = st.tuples(
    st.sampled_from(NAMES),
    st.sets(st.sampled_from(EXTRAS[1:])),
    st.sampled_from(list(MARKERS)),
    st.sampled_from(EXTRAS),
)
GRAPHS = st.fixed_dictionaries({name: st.lists(EDGES, max_size=4) for name in NAMES})


def line(edge: tuple[str, set[str], str, str], asked_for: str = "") -> str:
    """Return a requirement as metadata has it."""
    name, extras, marker, _ = edge
    markers = " and ".join(f"({part})" for part in (marker, asked_for and f"extra == '{asked_for}'") if part)
    return f"{name}[{','.join(sorted(extras))}]" + (f"; {markers}" if markers else "")


def naive(graph: Mapping[str, list[tuple[str, set[str], str, str]]], roots: list[str]) -> set[str]:
    """Return the names that are reached, by going over everything until nothing is new."""
    active = {(name, "") for name in roots}
    while True:
        new = {
            (name, extra)
            for owner, edges in graph.items()
            for name, extras, marker, condition in edges
            if MARKERS[marker] and (owner, condition) in active
            for extra in ("", *extras)
        }
        if new <= active:
            return {name for name, _ in active}
        active |= new


@settings(deadline=None)
@given(graph=GRAPHS, roots=st.lists(st.sampled_from(NAMES), max_size=3, unique=True), data=st.data())
def test_closure_of_any_graph(
    graph: dict[str, list[tuple[str, set[str], str, str]]], roots: list[str], data: st.DataObject
) -> None:
    """Exactly the set that a naive reference finds has no problem; one wheel fewer or one more is told by name."""
    every = {name: item(name, "1", [line(edge, edge[3]) for edge in graph[name]]) for name in NAMES}
    wanted = naive(graph, roots)
    chosen = [every[name] for name in sorted(wanted)]
    assert problems(roots, *chosen) == []
    if wanted:
        lost = data.draw(st.sampled_from(sorted(wanted)))
        found = problems(roots, *(one for one in chosen if one.name != lost))
        assert any(f"for {lost}" in text and text.endswith("nothing was chosen") for text in found)
    if extra := sorted(set(NAMES) - wanted):
        found = problems(roots, *chosen, every[extra[0]])
        assert found == [f"{extra[0]} 1 was chosen, and nothing asks for it"]
