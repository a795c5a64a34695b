"""The shape of PBS archives is known, and what PYTHON.json says is believed only as far as it makes sense."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pbs as archives
from pyembed_gen import pbs
from pyembed_gen.errors import ArchiveError
from pyembed_gen.tree import Facts

DOCUMENT = archives.python_json("3.14.9", "x86_64-unknown-linux-gnu")


def encoded(**changes: object) -> bytes:
    """Return PYTHON.json with some keys changed, or left out (None)."""
    values = DOCUMENT | changes
    return json.dumps({key: value for key, value in values.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("python/PYTHON.json", ("facts", "")),
        ("python/install/bin/python3", ("install", "bin/python3")),
        ("python/licenses/LICENSE.txt", ("licenses", "LICENSE.txt")),
        ("python/build/Objects/x.o", ("build", "Objects/x.o")),
        ("python/bin/python3", ("install", "bin/python3")),
        ("python/python.exe", ("install", "python.exe")),
        ("python/install", ("install", "install")),
        ("python", ("other", "python")),
        ("pythons/install/x", ("other", "pythons/install/x")),
        ("README", ("other", "README")),
        ("", ("other", "")),
    ],
)
def test_areas(name: str, area: tuple[str, str]) -> None:
    """Each name belongs to one part: that of a full archive, or the installation of an install_only one."""
    assert pbs.area(name) == area


def test_facts() -> None:
    """Version, triple and test packages are read; test packages are sorted."""
    found, _ = pbs.facts(encoded(python_stdlib_test_packages=["test", "a.b"]))
    assert found == Facts("3.14.9", "x86_64-unknown-linux-gnu", ("a.b", "test"))


def test_facts_without_test_packages() -> None:
    """Old archives do not list them."""
    assert pbs.facts(encoded(python_stdlib_test_packages=None))[0].test_packages == ()


def test_what_is_kept_of_licences() -> None:
    """The names and texts of CPython's licence and of every library's, in one order, and nothing else."""
    digest = json.loads(pbs.facts(encoded())[1])
    assert digest == {
        "python": {
            "licenses": ["Python-2.0", "CNRI-Python"],
            "license_path": "licenses/LICENSE.cpython.txt",
            "version": "3.14.9",
        },
        "extensions": {
            "_ssl": {"licenses": ["Apache-2.0"], "license_paths": ["licenses/LICENSE.openssl-3.txt"]},
            "_tkinter": {"licenses": ["TCL"], "license_paths": ["licenses/LICENSE.tcl.txt"]},
        },
    }


@pytest.mark.parametrize("build", [{}, {"extensions": {}}, {"extensions": {"a": [], "b": [{}], "c": {}, "d": 1}}])
def test_extensions_without_licences(build: dict[str, Any]) -> None:
    """What says nothing of licences is not listed."""
    assert json.loads(pbs.facts(encoded(build_info=build))[1])["extensions"] == {}


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    """The same facts give the same bytes, with text as it is."""
    turned = json.dumps(dict(reversed(DOCUMENT.items()))).encode()
    assert pbs.facts(turned) == pbs.facts(encoded())
    assert "für".encode() in pbs.facts(encoded(licenses=["für"]))[1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"\xff", "codec can't decode"),
        (b"{", "Expecting property name"),
        (b"[]", "it is not an object"),
        (b"{}", "it has no 'python_version'"),
        (encoded(target_triple=None), "it has no 'target_triple'"),
        (encoded(python_version=3), "3 is not a text"),
        (encoded(target_triple=["x"]), r"\['x'\] is not a text"),
        (encoded(python_stdlib_test_packages="test"), "'test' is not a list"),
        (encoded(python_stdlib_test_packages=[1]), "1 is not a text"),
        (encoded(build_info=[]), "build_info is not an object"),
        (encoded(build_info={"extensions": 1}), "build_info.extensions is not an object"),
        (b'{"python_version": ' + b"9" * 5000 + b"}", "digits"),
        (b"[" * 100_000, "(recursion|Stack overflow)"),
        (encoded(licenses=["\ud800"]), "surrogates not allowed"),
    ],
)
def test_what_is_no_python_json(content: bytes, reason: str) -> None:
    """Each error says what is wrong with it, in one line."""
    with pytest.raises(ArchiveError, match=f"reading PYTHON.json: .*{reason}.*; is it an archive of PBS"):
        pbs.facts(content)


@pytest.mark.parametrize("version", ["", "3.14", "4.0.0", "3.14.9\n", "3.14.9\x1b[2J", "../../x", "x" * 99])
def test_what_is_no_version(version: str) -> None:
    """A version goes into names and into files.json, so it has to be one."""
    with pytest.raises(ArchiveError, match=r"PYTHON\.json names no CPython version: '.*; is it an archive of PBS"):
        pbs.facts(encoded(python_version=version))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(DOCUMENT)), JSON)
def test_any_value_in_any_place(key: str, value: Any) -> None:
    """A document with anything in the place of one value is read or is an ArchiveError."""
    with suppress(ArchiveError):
        pbs.facts(json.dumps(DOCUMENT | {key: value}).encode())


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("python/install/include/python3.14/patchlevel.h", True),
        ("python/install/include/python3.14t/patchlevel.h", True),
        ("python/include/python3.14/patchlevel.h", True),
        ("python/include/patchlevel.h", True),
        ("python/include/tk/patchlevel.h", False),
        ("python/include/python3.14/cpython/patchlevel.h", False),
        ("python/lib/include/patchlevel.h", False),
        ("include/python3.14/patchlevel.h", False),
    ],
)
def test_patchlevel_h(name: str, is_one: bool) -> None:
    """CPython's patchlevel.h of Unix and Windows is known by its path, in full and install_only archives."""
    assert pbs.is_patchlevel(name) is is_one


@pytest.mark.parametrize(
    ("line", "version"),
    [
        (b'#define PY_VERSION      "3.14.9"', "3.14.9"),
        (b'#define PY_VERSION "3.15.0rc1+"', "3.15.0rc1"),
        (b' # define\tPY_VERSION\t"3.11.0a7"\r', "3.11.0a7"),
        (b'#define MY_PY_VERSION "3.14.9"', ""),
        (b'#define PY_VERSION_HEX "3.14.9"', ""),
        (b'// #define PY_VERSION "3.14.9"', ""),
        (b"#define PY_VERSION", ""),
        (b"", ""),
    ],
)
def test_the_version_in_patchlevel_h(line: bytes, version: str) -> None:
    """PY_VERSION is found wherever it stands, without the plus sign of a development build."""
    assert pbs.version_in_patchlevel(b"/* x */\n" + line + b"\n#define X 1\n") == version


def test_patchlevel_h_is_read_in_linear_time() -> None:
    """64 KB of blank lines are no version, and that is clear at once."""
    assert pbs.version_in_patchlevel(b"\n" * (1 << 16) + b" " * (1 << 16)) == ""
