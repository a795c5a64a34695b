"""Rules drop, keep-globs keep, and every file that goes has one rule that says so."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyembed_gen.errors import UsageError
from pyembed_gen.matrix import Rule
from pyembed_gen.prune import Pruner, anchored_globs

STDLIB = "lib/python3.14"
UNIX = ("bin/**", "lib/*.so*", "lib/*.dylib", "lib/python3.*/**")
WINDOWS = ("Lib/**", "DLLs/**", "*.dll", "*.exe")


def pruner(*rules: Rule, keep: tuple[str, ...] = ("**",)) -> Pruner:
    return Pruner.compile(rules, keep, stdlib=STDLIB)


@pytest.mark.parametrize(
    ("name", "globs", "kept"),
    [
        ("bin/python3", UNIX, True),
        ("bin/a/b", UNIX, True),
        ("bin", UNIX, False),
        ("x/bin/python3", UNIX, False),
        ("lib/libpython3.14.so.1.0", UNIX, True),
        ("lib/tcl8/x.so", UNIX, False),
        ("lib/x.so/inner", UNIX, False),
        ("lib/libz.dylib", UNIX, True),
        ("lib/python3.14t/os.py", UNIX, True),
        ("lib/python3.14/a/b/.hidden", UNIX, True),
        ("lib/python3/os.py", UNIX, False),
        ("lib/python3.14", UNIX, False),
        ("include/python3.14/Python.h", UNIX, False),
        ("python314.dll", WINDOWS, True),
        ("DLLs/_ssl.pyd", WINDOWS, True),
        ("tcl/x.dll", WINDOWS, False),
        ("x.dll/y", WINDOWS, False),
        ("lib/os.py", WINDOWS, False),
        ("python.exe", WINDOWS, True),
        ("a/b/c/x.py", ("**/x.py",), True),
        ("x.py", ("**/x.py",), True),
        ("a/x/y/b", ("a/**/b",), True),
        ("a/b", ("a/**/b",), True),
        ("ab", ("a/**/b",), False),
        ("a/xb", ("a/**/b",), False),
        ("tcl8.6/x/y", ("tcl8.6/",), True),
        ("anything/at/all", ("**",), True),
        ("x.py", ("/x.py",), True),
        ("xypy", ("x.py",), False),
        ("new\nline", ("new*",), True),
        ("python3.14", ("python3.1[0-4]",), True),
        ("python3.15", ("python3.1[0-4]",), False),
        ("python3.15", ("python3.1[!0-4]",), True),
        ("a/b", ("a[!x]b",), False),
        ("a+b", ("a[+]b",), True),
        ("a]b", ("a]b",), True),
        ("a/b", ("a?b",), False),
        ("axb", ("a?b",), True),
        ("anything", (), False),
        ("", (), False),
    ],
)
def test_keep_globs(name: str, globs: tuple[str, ...], kept: bool) -> None:
    """``*`` does not cross ``/``; a folder is kept with ``**`` or a slash at its end; names begin at the root."""
    assert anchored_globs(globs).match_file(name) is kept


@given(st.text("abx[]!-*?.", max_size=6), st.text("abx[]!-.", max_size=4))
def test_globs_agree_with_fnmatch_within_a_folder(glob: str, name: str) -> None:
    """Where no ``/`` is concerned, a glob means what it means to fnmatch, or is refused."""
    expected = fnmatch.fnmatchcase(name, glob)
    try:
        found = anchored_globs([glob]).match_file(name)
    except UsageError:
        return
    # ``**`` alone and the empty glob are whole elements; "]" first in a set, and an empty range, are fnmatch's own.
    if glob not in ("", "**") and not re.search(r"\[!?\]|\[[^]]*-", glob):
        assert found is expected


@pytest.mark.parametrize("glob", ["[z-a]", "x[!]"])
def test_globs_that_are_none(glob: str) -> None:
    """A glob of a user's matrix.toml that means nothing is a usage error that shows it."""
    with pytest.raises(UsageError, match=r"compiling the globs .*\[.*see glob\(7\)"):
        anchored_globs(["fine", glob])


@pytest.mark.parametrize("pattern", ["!", "[z-a]"])
def test_patterns_that_are_none(pattern: str) -> None:
    """So is a gitignore pattern."""
    with pytest.raises(UsageError, match=rf"compiling the patterns \['{re.escape(pattern)}'\].*see gitignore\(5\)"):
        pruner(Rule("mine", (pattern,)))


def test_drop_rules_are_gitignore_patterns() -> None:
    """Unanchored patterns match in every folder, folders with all that is in them, and exceptions are possible."""
    found = pruner(Rule("mine", ("*.pyc", "__pycache__/", "/top", "!keep.pyc")))
    assert {name: found.rule(name) for name in ("a/b.pyc", "a/__pycache__/x/y", "top/x", "a/top", "a/keep.pyc")} == {
        "a/b.pyc": "mine",
        "a/__pycache__/x/y": "mine",
        "top/x": "mine",
        "a/top": None,
        "a/keep.pyc": None,
    }


def test_the_first_rule_that_matches_is_named() -> None:
    """Drop rules come before test packages, and those before keep-globs."""
    found = pruner(Rule("one", ("x",)), Rule("tests", ("x", "y")), keep=("z",)).with_test_packages(["p"])
    names = ("x", "y", f"{STDLIB}/p/q.py", "a", "z")
    assert [found.rule(name) for name in names] == ["one", "tests", "tests", "not-kept", None]


def test_the_standard_library_is_named_by_the_layout() -> None:
    """``{stdlib}`` stands for its path, whose dots are dots."""
    found = pruner(Rule("idle", ("/{stdlib}/idlelib/",)))
    assert found.rule("lib/python3.14/idlelib/x.py") == "idle"
    assert found.rule("lib/python3x14/idlelib/x.py") is None
    assert found.rule("site/lib/python3.14/idlelib/x.py") is None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (f"{STDLIB}/unittest/test/x.py", "tests"),
        (f"{STDLIB}/unittest/test/a/b/x.txt", "tests"),
        (f"{STDLIB}/unittest/test.py", "tests"),
        (f"{STDLIB}/unittest/tests/x.py", None),
        (f"{STDLIB}/unittest/test.pyi", None),
        (f"{STDLIB}/x/unittest/test/x.py", None),
        ("unittest/test/x.py", None),
        (f"{STDLIB}/unittest/x.py", None),
    ],
)
def test_test_packages(name: str, rule: str | None) -> None:
    """python_stdlib_test_packages are packages or modules of the standard library, by their whole dotted names."""
    assert pruner(Rule("tests", ("nothing",))).with_test_packages(["unittest.test"]).rule(name) == rule


def test_without_the_tests_rule_test_packages_stay() -> None:
    """Who switches the rule off gets the tests."""
    found = pruner(Rule("other", ("nothing",))).with_test_packages(["unittest.test"])
    assert found.rule(f"{STDLIB}/unittest/test/x.py") is None
