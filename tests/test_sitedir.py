"""Wheels become one site directory, the same in whatever order, from which Python imports."""

import csv
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import unicodedata
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import native
from pyembed_gen import matrix, unpack
from pyembed_gen.blobs import Blobs
from pyembed_gen.errors import ArchiveError, UsageError
from pyembed_gen.matrix import Rule
from pyembed_gen.sitedir import DROP, Foreign, foreign_native, site_directory
from pyembed_gen.tree import Dropped, Tree
from wheels import PROGRAM, Build, Member, descriptor

MATRIX = matrix.load(None)
LINUX = MATRIX.platform("linux/amd64")
WINDOWS = MATRIX.platform("windows/amd64")
MACOS = MATRIX.platform("darwin/arm64")
ELF = native.Elf().build()
ARM = native.Elf(machine=183).build()
PKGUTIL = b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
PKG_RESOURCES = b"__import__('pkg_resources').declare_namespace(__name__)\n"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    (tmp_path / "blobs").mkdir()
    return Blobs(tmp_path / "blobs")


def site(tmp_path: Path, *builds: Build, **options: Any) -> Tree:
    """Unpack wheels into a store below ``tmp_path``, for Linux unless the options say otherwise."""
    (tmp_path / "blobs").mkdir(exist_ok=True)
    wheels = [build.write(tmp_path) for build in builds]
    return site_directory(wheels, Blobs(tmp_path / "blobs"), **{"platform": LINUX, **options})


def names(tree: Tree) -> list[str]:
    """Return the files that are no metadata."""
    return [file.name for file in tree.files if ".dist-info/" not in file.name]


def content(tmp_path: Path, tree: Tree, name: str) -> bytes:
    """Return what a file holds."""
    (file,) = [file for file in tree.files if file.name == name]
    return (tmp_path / "blobs" / file.sha256).read_bytes()


def written(tmp_path: Path, tree: Tree) -> Path:
    """Write a tree out as the runtime does."""
    root = tmp_path / "site"
    for file in tree.files:
        path = root / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((tmp_path / "blobs" / file.sha256).read_bytes())
        path.chmod(0o755 if file.executable else 0o644)
    return root


def python(root: Path, code: str) -> Any:
    """Run code in a Python that has the site directory and nothing else; return what it prints as JSON."""
    start = f"import json, site, sys; site.addsitedir({str(root)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", start + code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_record(tmp_path: Path, tree: Tree, dist_info: str) -> list[str]:
    """Check that RECORD is sorted and says the truth; return the names in it."""
    rows = list(csv.reader(content(tmp_path, tree, f"{dist_info}/RECORD").decode().splitlines()))
    files = {file.name: file for file in tree.files}
    assert rows == sorted(rows)
    for name, value, size in rows:
        if name == f"{dist_info}/RECORD":
            assert (value, size) == ("", "")
        else:
            raw = content(tmp_path, tree, name)
            digest = urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
            assert (value, int(size)) == (f"sha256={digest}", len(raw))
            assert files[name].size == len(raw)
    return [name for name, _, _ in rows]


FULL = Build(
    files={
        "sample/__init__.py": b"from sample import sub\n",
        "sample/sub.py": b"",
        "sample/data.txt": b"data",
        "sample/helper": Member(b"#!/bin/sh\n", PROGRAM),
        "sample/notes.txt": Member(b"no program", PROGRAM),
        "sample/_fast.so": Member(ELF),
        "sample/sub.pyc": b"bytecode",
        "sample/__pycache__/sub.cpython-314.pyc": b"bytecode",
        "sample.pth": b"import sys; sys.sample_was_here = True\n",
        "sample.start": b"sample:main\n",
        "sample-1.0.data/purelib/pure.py": b"",
        "sample-1.0.data/platlib/plat/x.py": b"",
        "sample-1.0.data/data/share/man/man1/sample.1": b"man",
        "sample-1.0.data/headers/sample.h": b"int x;",
        "sample-1.0.data/scripts/run": Member(ELF),
        "sample-1.0.data/scripts/run.sh": Member(b"#!/bin/sh\n"),
        "sample-1.0.data/scripts/run.cfg": Member(b"[x]", PROGRAM),
        "sample-1.0.data/scripts/py": Member(b"#!python\nprint()\n", PROGRAM),
        "sample-1.0.data/scripts/pyw": Member(b"#!pythonw\r\n"),
        "sample-1.0.data/scripts/env": Member(b"#!/usr/bin/env python3\n"),
        "sample-1.0.data/scripts/long": Member(b"#!/" + b"very/long/" * 20 + b"bin/Python3.14\n"),
        "sample-1.0.data/scripts/trampoline": Member(b"#!/bin/sh\n'''exec' /home/x/venv/bin/py \"$0\"\n"),
        "sample-1.0.dist-info/entry_points.txt": b"[console_scripts]\nsample = sample:main\n",
        "sample-1.0.dist-info/licenses/LICENSE": b"MIT",
        "sample-1.0.dist-info/sboms/x.cdx.json": b"{}",
        "sample-1.0.dist-info/INSTALLER": b"pip\n",
    }
)


def test_every_file_has_its_place(tmp_path: Path) -> None:
    """Schemes, programs, metadata; what cannot work is dropped by a rule with a name."""
    tree = site(tmp_path, FULL)
    assert {file.name: (file.executable, file.native) for file in tree.files} == {
        "bin/run": (True, True),
        "bin/run.cfg": (False, False),
        "bin/run.sh": (True, False),
        "plat/x.py": (False, False),
        "pure.py": (False, False),
        "sample-1.0.dist-info/INSTALLER": (False, False),
        "sample-1.0.dist-info/METADATA": (False, False),
        "sample-1.0.dist-info/RECORD": (False, False),
        "sample-1.0.dist-info/WHEEL": (False, False),
        "sample-1.0.dist-info/entry_points.txt": (False, False),
        "sample-1.0.dist-info/licenses/LICENSE": (False, False),
        "sample-1.0.dist-info/sboms/x.cdx.json": (False, False),
        "sample.pth": (False, False),
        "sample.start": (False, False),
        "sample/__init__.py": (False, False),
        "sample/_fast.so": (False, True),
        "sample/data.txt": (False, False),
        "sample/helper": (True, False),
        "sample/notes.txt": (False, False),
        "sample/sub.py": (False, False),
        "share/man/man1/sample.1": (False, False),
    }
    assert [file.name for file in tree.files] == sorted(file.name for file in tree.files)
    assert [(item.name, item.rule) for item in tree.dropped] == [
        ("bin/env", "python-script"),
        ("bin/long", "python-script"),
        ("bin/py", "python-script"),
        ("bin/pyw", "python-script"),
        ("bin/trampoline", "python-script"),
        ("sample-1.0.dist-info/INSTALLER", "installer-metadata"),
        ("sample.h", "headers"),
        ("sample/__pycache__/sub.cpython-314.pyc", "bytecode"),
        ("sample/sub.pyc", "bytecode"),
    ]
    assert Dropped("sample.h", 6, "headers") in tree.dropped
    kept = check_record(tmp_path, tree, "sample-1.0.dist-info")
    assert kept == [file.name for file in tree.files]


def test_installers_leave_their_marks(tmp_path: Path) -> None:
    """INSTALLER always, REQUESTED and direct_url.json as pip and uv do; all are in RECORD."""
    (tmp_path / "blobs").mkdir()
    url = b'{"url": "https://example.org/sample.whl", "archive_info": {}}'
    one = Build().write(tmp_path, requested=True, direct_url=url)
    tree = site_directory([one, Build("other").write(tmp_path)], Blobs(tmp_path / "blobs"))
    assert content(tmp_path, tree, "sample-1.0.dist-info/INSTALLER") == b"pyembed-gen\n"
    assert content(tmp_path, tree, "sample-1.0.dist-info/REQUESTED") == b""
    assert content(tmp_path, tree, "sample-1.0.dist-info/direct_url.json") == url
    assert len(check_record(tmp_path, tree, "sample-1.0.dist-info")) == 6
    assert check_record(tmp_path, tree, "other-1.0.dist-info") == [
        f"other-1.0.dist-info/{name}" for name in ("INSTALLER", "METADATA", "RECORD", "WHEEL")
    ]


def test_patterns_drop_and_leave_record(tmp_path: Path) -> None:
    """Rules of a user, by gitignore patterns on paths in the site directory."""
    drop = [*DROP, Rule("tests", ("tests/", "!keep.py")), Rule("stubs", ("*.pyi",)), Rule("man", ("/share/",))]
    files = dict.fromkeys(("a/tests/x.py", "a/x.pyi", "a/share/x", "a/x.py", "sample-1.0.data/data/share/x"), b"")
    tree = site(tmp_path, Build(files=files), drop=drop)
    assert names(tree) == ["a/share/x", "a/x.py"]
    assert tree.dropped_by_rule() == {"man": (1, 0), "stubs": (1, 0), "tests": (1, 0)}
    assert [name for name in check_record(tmp_path, tree, "sample-1.0.dist-info") if "." not in name.split("/")[0]] == [
        "a/share/x",
        "a/x.py",
    ]
    with pytest.raises(UsageError, match="compiling the patterns"):
        site(tmp_path, Build(), drop=[Rule("bad", ("!",))])


def test_rules_can_be_switched_off_but_for_caches(tmp_path: Path) -> None:
    """Modules without source are kept when asked for; ``__pycache__`` never is."""
    build = Build(files={"a.pyc": b"1", "__pycache__/b.pyc": b"2"})
    tree = site(tmp_path, build, drop=[])
    assert names(tree) == ["a.pyc"]
    assert tree.dropped == (Dropped("__pycache__/b.pyc", 1, "bytecode"),)


def test_metadata_can_be_dropped_whole(tmp_path: Path) -> None:
    """Then there is no RECORD either."""
    tree = site(tmp_path, Build(files={"a.py": b""}), drop=[Rule("metadata", ("*.dist-info/",))])
    assert [file.name for file in tree.files] == ["a.py"]
    assert tree.dropped_by_rule()["metadata"][0] == 4


def test_dropped_files_are_checked_too(tmp_path: Path) -> None:
    """A wheel is what its RECORD says, or it is not."""
    name = "tests/x.py"
    build = Build(files={name: b"1"}, rows={name: (name, "sha256=x", "1")})
    with pytest.raises(ArchiveError, match="not what RECORD says"):
        site(tmp_path, build, drop=[Rule("tests", ("tests/",))])


@pytest.mark.parametrize("init", [PKGUTIL, PKG_RESOURCES, b""])
def test_namespace_packages_merge(init: bytes, tmp_path: Path) -> None:
    """PEP 420, or an ``__init__.py`` that is the same in each wheel; either RECORD lists it."""
    inits = {"ns/__init__.py": init} if init else {}
    one = Build("ns-one".replace("-", "_"), files={**inits, "ns/one.py": b""})
    two = Build("ns_two", files={**inits, "ns/two.py": b""})
    tree = site(tmp_path, one, two)
    assert names(tree) == sorted([*inits, "ns/one.py", "ns/two.py"])
    for name in ("one", "two"):
        assert inits.keys() < set(check_record(tmp_path, tree, f"ns_{name}-1.0.dist-info"))


def test_equal_files_may_be_a_program_for_one(tmp_path: Path) -> None:
    """Then it is one, whichever wheel comes first."""
    program = b"#!/bin/sh\n"
    for bits in itertools.permutations((0o100644, PROGRAM)):
        builds = [Build(f"x{n}", files={"tool": Member(program, bit)}) for n, bit in enumerate(bits)]
        assert [file.executable for file in site(tmp_path, *builds).files if file.name == "tool"] == [True]


CONFLICTS = {
    "two contents": ({"x.py": b"1"}, {"x.py": b"2"}, "'x.py' has two contents"),
    "file and folder": ({"x": b""}, {"x/y": b""}, "'x' is a file and a folder"),
    "folder and file": ({"x/y": b""}, {"x": b""}, "'x' is a file and a folder"),
    "case": ({"Foo.py": b""}, {"foo.py": b""}, "'Foo.py' and 'foo.py' are one path on macOS or Windows"),
    "case of a folder": ({"Foo/a": b""}, {"foo/b": b""}, "'Foo' and 'foo' are one path"),
    "case and kind": ({"Foo": b""}, {"foo/b": b""}, "'Foo' and 'foo' are one path"),
    "case, not ASCII": ({"Ä": b""}, {"ä": b""}, "are one path"),
    "normal forms": (
        {unicodedata.normalize("NFC", "é.py"): b""},
        {unicodedata.normalize("NFD", "é.py"): b""},
        "are one path",
    ),
    "schemes": ({"x": b"1"}, {"b-1.0.data/data/x": b"2"}, "'x' has two contents"),
    "programs": ({"bin/x": b"1"}, {"b-1.0.data/scripts/x": b"2"}, "'bin/x' has two contents"),
}


@pytest.mark.parametrize(("one", "two", "problem"), CONFLICTS.values(), ids=CONFLICTS)
def test_conflicts_are_refused(
    one: Mapping[str, bytes], two: Mapping[str, bytes], problem: str, tmp_path: Path
) -> None:
    """On all platforms, naming both, in whatever order they come."""
    builds = [Build("a", files=one), Build("b", files=two)]
    for order in (builds, builds[::-1]):
        with pytest.raises(ArchiveError, match=problem) as caught:
            site(tmp_path, *order)
        assert str(caught.value).startswith("putting a 1.0 and b 1.0 into one folder: ")


def test_one_wheel_may_not_contradict_itself(tmp_path: Path) -> None:
    """Names that fold, and two members for one place even if they are equal."""
    with pytest.raises(ArchiveError, match=r"putting sample 1\.0 into one folder: 'X' and 'x' are one path"):
        site(tmp_path, Build(files={"x": b"", "X": b""}))
    with pytest.raises(ArchiveError, match="it has two files for 'x'"):
        site(tmp_path, Build(files={"x": b"", "sample-1.0.data/data/x": b""}))
    with pytest.raises(ArchiveError, match="'a' is a file and a folder"):
        site(tmp_path, Build(files={"a": b"", "a/b": b""}))


def test_a_distribution_comes_once(tmp_path: Path) -> None:
    """However its name is spelled."""
    with pytest.raises(ArchiveError, match="are wheels of one distribution; choose one"):
        site(tmp_path, Build("Sam.ple"), Build("sam_ple", "2.0"))


@pytest.mark.parametrize("place", ["", "sample-1.0.data/data/", "sample-1.0.data/purelib/"])
def test_old_metadata_is_refused(place: str, tmp_path: Path) -> None:
    """importlib.metadata would take it for another distribution."""
    with pytest.raises(ArchiveError, match=r"'other\.Egg-Info/PKG-INFO' is metadata of another distribution"):
        site(tmp_path, Build(files={f"{place}other.Egg-Info/PKG-INFO": b""}))


def test_names_of_the_runtime_are_refused(tmp_path: Path) -> None:
    """The manifest has no place for them."""
    with pytest.raises(ArchiveError, match="is the runtime's own"):
        site(tmp_path, Build(files={".pyembed-complete": b""}))


NOT_ON_WINDOWS = {
    "con": "device",
    "a/CON.py": "device",
    "aux /x": "device",
    "COM1.tar.gz": "device",
    "lpt³": "device",
    "conin$": "device",
    "a./x": "ends in a dot",
    "a ": "ends in a dot",
    "a/b:c": "has one of",
    "what?": "has one of",
    'a"b': "has one of",
    "a|b": "has one of",
}


@pytest.mark.parametrize(("name", "problem"), NOT_ON_WINDOWS.items())
def test_names_must_be_fit_for_windows(name: str, problem: str, tmp_path: Path) -> None:
    """Where the bundle is one for Windows, or for every platform."""
    build = Build(files={name: b""})
    for platform in (WINDOWS, None):
        with pytest.raises(ArchiveError, match=problem):
            site(tmp_path, build, platform=platform)
    assert names(site(tmp_path, build, platform=MACOS)) == [name]


def test_windows_takes_what_only_looks_alike(tmp_path: Path) -> None:
    """``console.py`` is no device."""
    fine = ["COM", "a/auxiliary.py", "com10", "console.py"]
    assert names(site(tmp_path, Build(files=dict.fromkeys(fine, b"")), platform=WINDOWS)) == fine


def test_all_wheels_together_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As installations have."""
    monkeypatch.setattr(unpack, "MAX_SIZE", 2500)
    builds = [Build("a", files={"a/x": bytes(1000)}), Build("b", files={"b/x": bytes(1001)})]
    assert site(tmp_path, builds[0])
    with pytest.raises(ArchiveError, match="more than 2500 bytes together"):
        site(tmp_path, *builds)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(4)), st.randoms(use_true_random=False))
def test_order_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], randomness: random.Random
) -> None:
    """Of the wheels, and of the members in them."""
    folder = tmp_path_factory.mktemp("order")
    files = {"ns/__init__.py": PKGUTIL, "ns/x.pyc": b"1", "shared": Member(b"#!/bin/sh\n", PROGRAM)}
    builds = [FULL, *(Build(f"n{n}", files={**files, f"ns/n{n}.py": bytes(n)}) for n in range(3))]
    reference = site(folder, *builds)
    shuffled = []
    for at in order:
        members = list(builds[at].files.items())
        randomness.shuffle(members)
        shuffled.append(replace(builds[at], files=dict(members)))
    # The wheel's own RECORD has another order; ours has not.
    assert site(folder, *shuffled) == reference


def test_large_contents_are_streamed(tmp_path: Path) -> None:
    """A wheel of 96 MB takes no more memory than a small one."""
    build = Build(files={"sample/large.bin": Member(b"0123456789abcdef" * (6 << 20))})
    build.write(tmp_path)
    (tmp_path / "blobs").mkdir()
    code = (
        "import resource, sys; from pathlib import Path; from pyembed_gen.blobs import Blobs\n"
        "from pyembed_gen.sitedir import site_directory; from pyembed_gen.wheel import Wheel\n"
        "folder = Path(sys.argv[1])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "wheel = Wheel(folder / sys.argv[2], sys.argv[2], 'sample', '1.0')\n"
        "tree = site_directory([wheel], Blobs(folder / 'blobs'))\n"
        "print(tree.size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, build.filename], capture_output=True, text=True, check=True, timeout=120
    )
    size, grown = map(int, done.stdout.split())
    assert size > 96 << 20
    assert grown < 20 << 10  # KiB


USES = """
import ns.one, ns.two, implicit.two, implicit.three, sample
import importlib.metadata as metadata, importlib.resources as resources
print(json.dumps([
    ns.one.X + ns.two.X,
    sys.sample_was_here,
    metadata.version("ns-two"),
    (resources.files("ns") / "data.txt").read_text("utf-8"),
    [point.value for point in metadata.entry_points(group="console_scripts")],
    all(file.locate().exists() for file in metadata.files("sample")),
    sorted(each.name for each in metadata.distributions()),
    metadata.distribution("sample").read_text("INSTALLER"),
]))
"""


def test_python_works_with_what_is_unpacked(tmp_path: Path) -> None:
    """Imports, metadata, resources, namespaces and .pth files."""
    inits = {"ns/__init__.py": PKGUTIL}
    one = Build("ns_one", files={**inits, "ns/one.py": b"X = 1\n", "ns/data.txt": "für".encode()})
    two = Build("ns_two", "2.5", files={**inits, "ns/two.py": b"X = 2\n", "implicit/two.py": b""})
    three = Build("ns_three", files={"implicit/three.py": b""})
    files = {name: data for name, data in FULL.files.items() if not name.endswith(".so")}
    tree = site(tmp_path, one, two, three, replace(FULL, files=files))
    root = written(tmp_path, tree)
    found = python(root, USES)
    names = ["ns_one", "ns_three", "ns_two", "sample"]
    assert found == [3, True, "2.5", "für", ["sample:main"], True, names, "pyembed-gen\n"]
    assert subprocess.run([root / "bin/run.sh"], check=False).returncode == 0


def test_streamed_wheels_are_unpacked(tmp_path: Path) -> None:
    """Sizes behind the contents, as some writers have them."""
    late = Member(
        b"1", flags=8, local={"crc": 0, "stored": 0, "size": 0}, after=descriptor(b"1", signed=True, wide=False)
    )
    assert names(site(tmp_path, Build(files={"x.py": late}))) == ["x.py"]


def test_nothing_ties_the_tree_to_this_machine(tmp_path: Path) -> None:
    """No path of it is in any content."""
    tree = site(tmp_path, FULL)
    for file in tree.files:
        raw = (tmp_path / "blobs" / file.sha256).read_bytes()
        assert os.fsencode(tmp_path) not in raw
        assert os.fsencode(sys.prefix) not in raw


def foreign(tmp_path: Path, platform: matrix.Platform, files: Mapping[str, bytes]) -> list[Foreign]:
    """Return what is foreign in a wheel of these files."""
    tree = site(tmp_path, Build(files=files, tag="py3-none-linux_x86_64"), platform=platform)
    return foreign_native(tree, Blobs(tmp_path / "blobs"), platform)


EXE = native.pe()
ARM_MACHO = native.macho([])
UNIVERSAL = native.fat([(0x01000007, native.macho([], cpu=0x01000007)), (0x0100000C, ARM_MACHO)])


def test_native_files_fit_their_platform(tmp_path: Path) -> None:
    """Each format, universal ones too; text and data of no format do not count."""
    assert foreign(tmp_path, LINUX, {"a.abi3.so": ELF, "a.py": b"", "MZ.txt": b"MZ is no program"}) == []
    assert foreign(tmp_path, MACOS, {"a.abi3.so": ARM_MACHO, "b.so": UNIVERSAL, "c.dylib": ARM_MACHO}) == []
    assert foreign(tmp_path, WINDOWS, {"a.pyd": EXE, "b.DLL": EXE}) == []


def test_foreign_libraries_are_fatal(tmp_path: Path) -> None:
    """A wheel that claims x86_64 and carries aarch64, or another format."""
    files = {"a/x.cpython-314-x86_64-linux-gnu.so": ARM, "a.libs/b.so.1": ARM, "c.so": EXE, "d.so": ELF[:80]}
    assert [(item.name, item.found[:16], item.fatal) for item in foreign(tmp_path, LINUX, files)] == [
        ("a.libs/b.so.1", "elf for aarch64", True),
        ("a/x.cpython-314-x86_64-linux-gnu.so", "elf for aarch64", True),
        ("c.so", "pe for x86_64", True),
        ("d.so", "damaged: ELF fil", True),
    ]
    assert foreign(tmp_path, MACOS, {"a.so": ELF}) == [Foreign("a.so", "elf for x86_64", fatal=True)]
    assert foreign(tmp_path, MACOS, {"b.dylib": UNIVERSAL[:60]})[0].found.startswith("damaged: ")
    assert all(item.fatal for item in foreign(tmp_path, WINDOWS, {"a.pyd": ELF, "b/c.dll": native.pe(machine=0xAA64)}))


def test_extension_modules_are_fatal_beside_others(tmp_path: Path) -> None:
    """One that fits does not excuse one that does not; programs are run from bin/."""
    files = {"a/x.so": ELF, "a/y.abi3.so": ARM, "sample-1.0.data/scripts/z": ARM, "sample-1.0.data/scripts/fits": ELF}
    assert foreign(tmp_path, LINUX, files) == [
        Foreign("a/y.abi3.so", "elf for aarch64", fatal=True),
        Foreign("bin/z", "elf for aarch64", fatal=True),
    ]


def test_data_for_other_systems_is_told_but_not_fatal(tmp_path: Path) -> None:
    """Launchers for Windows, and helpers for several systems of which one fits."""
    others = {"debug/attach_arm64.so": ARM, "debug/x.cp39-win_amd64.pyd": EXE, "debug/x.dylib": UNIVERSAL}
    files = {"setuptools/cli-32.exe": EXE, "debug/attach_amd64.so": ELF, **others}
    assert [(item.name, item.fatal) for item in foreign(tmp_path, LINUX, files)] == [
        *((name, False) for name in others),
        ("setuptools/cli-32.exe", False),
    ]


def test_libraries_of_another_format_are_fatal_if_none_fits(tmp_path: Path) -> None:
    """An extension module for Linux in a bundle for Windows, and the other way round."""
    files = {"a/x.cpython-314-x86_64-linux-gnu.so": ELF, "b/x.pyd": EXE}
    assert foreign(tmp_path, WINDOWS, files) == [
        Foreign("a/x.cpython-314-x86_64-linux-gnu.so", "elf for x86_64", fatal=True)
    ]
    assert foreign(tmp_path, LINUX, files) == [Foreign("b/x.pyd", "pe for x86_64", fatal=True)]


def test_wheels_for_every_platform_may_hold_anything(tmp_path: Path) -> None:
    """What is in them is data, but programs are run; without metadata a file is of no such wheel."""
    files = {"clr/x.dll": EXE, "clr/y.abi3.so": ARM, "sample-1.0.data/scripts/z": ARM}
    fatal = {"bin/z": True, "clr/x.dll": False, "clr/y.abi3.so": False}
    for drop in ([], [Rule("record", ("RECORD",))], [Rule("metadata", ("*.dist-info/",))]):
        tree = site(tmp_path, Build(files=files), drop=drop)
        found = foreign_native(tree, Blobs(tmp_path / "blobs"), LINUX)
        assert {item.name: item.fatal for item in found} == (dict.fromkeys(fatal, True) if drop else fatal)


def test_what_a_wheel_calls_pure_need_not_be(tmp_path: Path) -> None:
    """One for some platforms alone is not for every one, whatever it says of its root."""
    wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-linux_x86_64\n"
    tree = site(tmp_path, Build(files={"x.so": ARM}, tag="py3-none-linux_x86_64", wheel=wheel))
    assert [item.fatal for item in foreign_native(tree, Blobs(tmp_path / "blobs"), LINUX)] == [True]


def managed(*, plus: bool) -> bytes:
    """Return a PE file with a CLR runtime header."""
    raw = bytearray(native.pe(machine=0x14C, plus=plus))
    at = 0x80 + 24 + (112 if plus else 96) + 8 * 14
    raw[at : at + 8] = b"\x08\x20\0\0\x48\0\0\0"
    return bytes(raw)


def test_assemblies_have_no_machine(tmp_path: Path) -> None:
    """.NET says i386 and means any."""
    assert foreign(tmp_path, WINDOWS, {"a.dll": managed(plus=False), "b.dll": managed(plus=True)}) == []
    assert foreign(tmp_path, WINDOWS, {"a.dll": native.pe(machine=0x14C, plus=False)})[0].fatal
