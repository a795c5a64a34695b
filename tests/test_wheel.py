"""A wheel is what its file name, its metadata and its RECORD say together, or it is refused."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pyembed_gen import wheel as wheel_
from pyembed_gen.errors import ArchiveError
from wheels import PROGRAM, Build, Member, record, row

INFO = "sample-1.0.dist-info"
CODE = b"print('hello')\n"
GOOD = Build(files={"sample/__init__.py": CODE, "sample/tool": Member(b"#!/bin/sh\n", PROGRAM)})


def read(build: Build, folder: Path, **shape: Any) -> tuple[Mapping[str, tuple[bytes, bool]], Mapping[str, str]]:
    """Return contents and executable bits by name, and the rules of what is set aside."""
    with wheel_.opened(build.write(folder, **shape)) as contents:
        aside = {entry.name: rule for entry, rule in contents.set_aside()}
        return {
            path: (stream.read(1 << 20) + stream.read(1), bit) for (path, _, _), stream, bit in contents.get_contents()
        }, aside


def test_honest_wheels_are_read(tmp_path: Path) -> None:
    """Contents, the executable bit as the wheel has it, and the texts of .dist-info."""
    found, aside = read(GOOD, tmp_path)
    assert list(found) == [
        "sample/__init__.py",
        "sample/tool",
        *(f"{INFO}/{n}" for n in ("METADATA", "WHEEL", "RECORD")),
    ]
    assert found["sample/__init__.py"] == (CODE, False)
    assert found["sample/tool"] == (b"#!/bin/sh\n", True)
    assert aside == {}


def test_entry_points_make_no_launchers(tmp_path: Path) -> None:
    """They are contents of the wheel, but ``installer``, which would write launchers, is not told."""
    points = b"[console_scripts]\nx = sample\n"  # which is none: installer fails on it with an AssertionError
    build = replace(GOOD, files={f"{INFO}/entry_points.txt": points})
    assert read(build, tmp_path)[0][f"{INFO}/entry_points.txt"] == (points, False)
    with wheel_.opened(build.write(tmp_path)) as contents:
        assert contents.dist_info_filenames == ["METADATA", "WHEEL", "RECORD"]


def test_what_installers_write_is_set_aside(tmp_path: Path) -> None:
    """So is bytecode, and signatures of a RECORD that will be another one; RECORD need not list those."""
    names = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD.jws", "licenses/INSTALLER")
    files = {f"{INFO}/{name}": b"x" for name in names}
    files["sample/__pycache__/__init__.cpython-314.pyc"] = b"x"
    build = replace(GOOD, files={**files, "sample/RECORD.p7s": b""}, parts=[(f"{INFO}/RECORD.p7s", Member(b"x"))])
    found, aside = read(build, tmp_path)
    assert aside == {
        f"{INFO}/INSTALLER": "installer-metadata",
        f"{INFO}/REQUESTED": "installer-metadata",
        f"{INFO}/direct_url.json": "installer-metadata",
        f"{INFO}/RECORD.jws": "record-signature",
        f"{INFO}/RECORD.p7s": "record-signature",
        "sample/__pycache__/__init__.cpython-314.pyc": "bytecode",
    }
    assert not aside.keys() & found.keys()
    assert found[f"{INFO}/licenses/INSTALLER"] == (b"x", False)


def test_spelling_does_not_matter(tmp_path: Path) -> None:
    """Names and versions are compared as the standards say, and folders are taken as they are spelled."""
    metadata = "Metadata-Version: 2.1\nName: Sam.Ple\nVersion: 1.0.0\n"
    build = Build(
        "sam_ple", "1.0", dist_info="Sam_Ple-1.dist-info", metadata=metadata, files={"Sam_Ple-1.data/data/x": b""}
    )
    with wheel_.opened(replace(build.write(tmp_path), name="sam-ple", version="1.0.0")) as contents:
        assert (contents.dist_info_dir, contents.data_dir) == ("Sam_Ple-1.dist-info", "Sam_Ple-1.data")


def test_the_data_folder_need_not_exist(tmp_path: Path) -> None:
    """It then has the name that it would have."""
    with wheel_.opened(GOOD.write(tmp_path)) as contents:
        assert contents.data_dir == "sample-1.0.data"


@pytest.mark.parametrize(
    ("tag", "claimed"),
    [
        ("py3-none-any", "py2.py3-none-any"),
        ("py3-none-manylinux1_x86_64", "py3-none-any"),
        ("py2.py3-none-any", "py3-none-any\nTag: py2-none-any"),
    ],
)
def test_wheels_may_be_offered_for_less_than_they_claim(tag: str, claimed: str, tmp_path: Path) -> None:
    """As playwright's are: one content for each system, and WHEEL says any."""
    assert read(replace(GOOD, tag=tag, wheel=whl(tag=claimed)), tmp_path)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_hashes_are_those_of_the_standard(algorithm: str, tmp_path: Path) -> None:
    """And sizes may be missing."""
    name = "sample/__init__.py"
    build = replace(GOOD, rows={name: (*row(name, CODE, algorithm)[:2], "")})
    assert read(build, tmp_path)[0][name][0] == CODE
    with pytest.raises(ArchiveError, match="is not what RECORD says"):
        read(replace(build, rows={name: (*row(name, CODE + b"x", algorithm)[:2], "")}), tmp_path)


def whl(version: str = "1.0", root: str = "true", tag: str = "py3-none-any") -> str:
    """Return the text of WHEEL."""
    return f"Wheel-Version: {version}\nRoot-Is-Purelib: {root}\nTag: {tag}\n"


A = "sample/__init__.py"
RECORD = (f"{INFO}/RECORD", "", "")
HOSTILE: dict[str, tuple[Build, str]] = {
    "no RECORD": (replace(GOOD, without=frozenset({"RECORD"})), "has no 'sample-1.0.dist-info/RECORD'"),
    "no METADATA": (replace(GOOD, without=frozenset({"METADATA"})), "has no 'sample-1.0.dist-info/METADATA'"),
    "no WHEEL": (replace(GOOD, without=frozenset({"WHEEL"})), "has no 'sample-1.0.dist-info/WHEEL'"),
    "no dist-info": (replace(GOOD, dist_info="sample"), "it has no sample-1.0.dist-info"),
    "dist-info of another": (replace(GOOD, dist_info="other-1.0.dist-info"), "'other-1.0.dist-info' is of another"),
    "dist-info of another version": (replace(GOOD, dist_info="sample-2.dist-info"), "or of another version"),
    "dist-info of no version": (replace(GOOD, dist_info="sample-x.dist-info"), "or of another version"),
    "dist-info in capitals": (replace(GOOD, dist_info="sample-1.0.DIST-INFO"), "or of another version"),
    "two dist-info": (
        replace(GOOD, files={"Sample-1.0.dist-info/METADATA": b""}),
        "it has 'Sample-1.0.dist-info' and 'sample-1.0.dist-info'",
    ),
    "a second dist-info": (replace(GOOD, files={"pip-1.dist-info/METADATA": b""}), "'pip-1.dist-info' is of another"),
    "a file in another dist-info": (replace(GOOD, files={"pip-1.dist-info/x": b""}), "'pip-1.dist-info' is of another"),
    "data of another": (replace(GOOD, files={"other-1.0.data/data/x": b""}), "'other-1.0.data' is of another"),
    "unknown scheme": (replace(GOOD, files={"sample-1.0.data/etc/x": b""}), "'sample-1.0.data/etc/x' is in no scheme"),
    "scheme as a file": (replace(GOOD, files={"sample-1.0.data/purelib": b""}), "is in no scheme"),
    "metadata in a scheme": (
        replace(GOOD, files={f"sample-1.0.data/data/{INFO}/REQUESTED": b""}),
        "is metadata, which has no place in a scheme",
    ),
    "metadata of another in a scheme": (
        replace(GOOD, files={"sample-1.0.data/platlib/Pip-1.Dist-Info/x": b""}),
        "is metadata, which has no place in a scheme",
    ),
    "above a scheme": (replace(GOOD, files={"sample-1.0.data/data/../../x": b""}), "leads out of the archive"),
    "METADATA of another": (replace(GOOD, metadata="Name: other\nVersion: 1.0\n"), "is that of 'other 1.0'"),
    "METADATA of another version": (replace(GOOD, metadata="Name: sample\nVersion: 2\n"), "is that of 'sample 2'"),
    "METADATA without a version": (replace(GOOD, metadata="Name: sample\nVersion: x\n"), "is that of 'sample x'"),
    "METADATA with two names": (replace(GOOD, metadata="Name: sample\nName: x\nVersion: 1.0\n"), "'sample x 1.0'"),
    "empty METADATA": (replace(GOOD, metadata=""), "METADATA is that of ''"),
    "Wheel-Version 2": (replace(GOOD, wheel=whl("2.0")), "is of version 2.0, not 1.x"),
    "no Wheel-Version": (replace(GOOD, wheel="Root-Is-Purelib: true\n"), "is of version nothing"),
    "Root-Is-Purelib": (replace(GOOD, wheel=whl(root="maybe")), "is maybe, not true or false"),
    "no Root-Is-Purelib": (replace(GOOD, wheel="Wheel-Version: 1.0\n"), "Root-Is-Purelib in its WHEEL is missing"),
    "other tag": (replace(GOOD, wheel=whl(tag="py2-none-any")), "has the tag py3-none-any, its WHEEL does not"),
    "other platform": (replace(GOOD, wheel=whl(tag="py3-none-win32")), "has the tag py3-none-any, its WHEEL does not"),
    "fewer tags": (replace(GOOD, tag="py2.py3-none-any", wheel=whl()), "has the tag py2-none-any, its WHEEL does not"),
    "no tag": (
        replace(GOOD, wheel="Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"),
        "file name has the tag py3-none-any",
    ),
    "half a tag": (replace(GOOD, wheel=whl(tag="py3-none")), "has the tag 'py3-none', which is none"),
    "tags without end": (replace(GOOD, wheel=whl(tag="a." * 999 + "a-none-any")), "which is none"),
    "md5": (replace(GOOD, rows={A: row(A, CODE, "md5")}), "that is not sha256, sha384, sha512"),
    "sha1": (replace(GOOD, rows={A: row(A, CODE, "sha1")}), "that is not sha256, sha384, sha512"),
    "no hash": (replace(GOOD, rows={A: (A, "", "")}), "RECORD has no hash of 'sample/__init__.py'"),
    "unknown hash": (replace(GOOD, rows={A: (A, "best=x", "")}), "RECORD cannot be read: invalid hash algorithm"),
    "size that is none": (replace(GOOD, rows={A: (*row(A, CODE)[:2], "x")}), "RECORD cannot be read: `size`"),
    "two fields": (replace(GOOD, rows={A: (A, "sha256=x")}), "RECORD cannot be read"),
    "field without end": (replace(GOOD, record=b'"' + b"x" * 200_000), "RECORD cannot be read: field larger"),
    "another hash": (replace(GOOD, rows={A: row(A, b"other")}), "'sample/__init__.py' is not what RECORD says"),
    "another size": (replace(GOOD, rows={A: (*row(A, CODE)[:2], "3")}), "is not what RECORD says"),
    "listed twice": (
        replace(GOOD, record=record([row(A, CODE), row(A, CODE)])),
        "its RECORD lists 'sample/__init__.py' twice",
    ),
    "not listed": (replace(GOOD, rows={A: None}), "'sample/__init__.py' is not in its RECORD"),
    "RECORD not listed": (replace(GOOD, rows={f"{INFO}/RECORD": None}), "RECORD' is not in its RECORD"),
    "bytecode not listed": (replace(GOOD, parts=[("__pycache__/x.pyc", Member())]), "is not in its RECORD"),
    "bytecode with another hash": (
        replace(GOOD, files={"__pycache__/x.pyc": b"1"}, rows={"__pycache__/x.pyc": row("__pycache__/x.pyc", b"2")}),
        "'__pycache__/x.pyc' is not what RECORD says",
    ),
    "listed, not there": (replace(GOOD, rows={"x": row("x", b"")}), "lists 'x', which it does not have"),
    "not UTF-8": (replace(GOOD, record=b"\xff"), "'sample-1.0.dist-info/RECORD' is not UTF-8"),
    "symlink": (replace(GOOD, parts=[("a", Member(b"b", 0o120777))]), "'a' is a symbolic link"),
}


@pytest.mark.parametrize(("build", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_wheels_are_refused(build: Build, problem: str, tmp_path: Path) -> None:
    """In one line that names the wheel, what is wrong, and what to try."""
    with pytest.raises(ArchiveError, match=problem) as caught:
        read(build, tmp_path)
    assert str(caught.value).startswith(f"unpacking {build.filename}: ")
    assert str(caught.value).endswith("; take another version of it, or a wheel that you built yourself")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"filename": "sample-1.0.zip"}, "its name is not that of a wheel"),
        ({"filename": "sample-1.0-py3-none.whl"}, "its name is not that of a wheel"),
        ({"filename": "sample-x-py3-none-any.whl"}, "its name is not that of a wheel"),
        ({"filename": f"sample-1.0-py3-none-{'any.' * 99}x.whl"}, "its name has more than 255"),
        ({"version": "x"}, "its name is not that of a wheel"),
        ({"name": "other"}, "it is not other 1.0"),
        ({"version": "2.0"}, "it is not sample 2.0"),
        ({"filename": "sample-1.0-py2-none-any.whl"}, "has the tag py2-none-any, its WHEEL does not"),
    ],
)
def test_wheels_are_what_they_were_chosen_as(change: dict[str, str], problem: str, tmp_path: Path) -> None:
    """The name in the index and what the resolver took it for."""
    with pytest.raises(ArchiveError, match=problem), wheel_.opened(replace(GOOD.write(tmp_path), **change)):
        pass


def test_texts_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read into memory."""
    monkeypatch.setattr(wheel_, "_MAX_TEXT", 100)
    with pytest.raises(ArchiveError, match=r"'sample-1.0.dist-info/WHEEL' has more than 100 bytes"):
        read(replace(GOOD, wheel=whl() + "X" * 100), tmp_path)


def test_hints_of_the_archive_are_kept(tmp_path: Path) -> None:
    """A wheel that is not there asks for no other version."""
    wheel = replace(GOOD.write(tmp_path), path=tmp_path / "gone")
    with (
        pytest.raises(ArchiveError, match=r"it cannot be read: No such file or directory; check the file"),
        wheel_.opened(wheel),
    ):
        pass
