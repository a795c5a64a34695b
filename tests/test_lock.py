"""Locks: what is written is read back, stays the same, holds no secret, and is refused where it does not fit."""

import errno
import os
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.pylock import PackageWheel, Pylock, is_valid_pylock_path
from packaging.requirements import Requirement

from choosing import INDEX, ROWS, item, requirements, resolution, target
from pyembed_gen import lock
from pyembed_gen.errors import PipError, WriteError
from pyembed_gen.resolution import Item, Resolution
from pyembed_gen.target import Target

LINUX = target()
MARKUPSAFE = item("MarkupSafe", "3.0.3", tags="cp314-cp314-manylinux_2_17_x86_64.manylinux2014_x86_64")
JINJA = item("Jinja2", "3.1.4", ["MarkupSafe>=2.0", "Babel; extra == 'i18n'"], requires_python=">=3.7", requested=True)
ASKED = requirements("jinja2==3.1.4")
INPUTS = "ab" * 32
SYSTEM = r"sys_platform == \"linux\" and platform_machine == \"x86_64\""
TEXT = f"""\
# What pyembed-gen chose for linux/amd64, Python 3.14; `pyembed-gen pip --lock` writes it anew.

lock-version = "1.0"
environments = ["{SYSTEM} and implementation_name == \\"cpython\\""]
requires-python = "==3.14.*"
created-by = "pyembed-gen"

[[packages]]
name = "jinja2"
version = "3.1.4"
requires-python = ">=3.7"
wheels = [{{ name = "{JINJA.filename}", url = "{JINJA.url}", hashes = {{ sha256 = "{JINJA.sha256}" }} }}]

[packages.tool.pyembed-gen]
requested = true
requires = [
  "MarkupSafe>=2.0",
  "Babel; extra == 'i18n'",
]

[[packages]]
name = "markupsafe"
version = "3.0.3"
wheels = [{{ name = "{MARKUPSAFE.filename}", url = "{MARKUPSAFE.url}", hashes = {{ sha256 = "{MARKUPSAFE.sha256}" }} }}]

[tool.pyembed-gen]
platform = "linux/amd64"
inputs = "{INPUTS}"
"""


def locked(folder: Path, *items: Item, on: Target = LINUX) -> Path:
    """Write a lock of wheels, Jinja's if there are none."""
    path = lock.destination(folder, on, several=False)
    lock.write(path, resolution(*(items or (JINJA, MARKUPSAFE)), on=on), INPUTS)
    return path


def read(path: Path, *lines: str, on: Target = LINUX) -> Resolution:
    """Read a lock for requirements, Jinja's if there are none."""
    return lock.read(path, on, requirements(*lines) or ASKED, inputs=INPUTS)


def test_lock_is_text_for_people(tmp_path: Path) -> None:
    """One package after another by name, what it requires one a line: a change is a small diff."""
    path = locked(tmp_path, MARKUPSAFE, JINJA)
    assert path.read_bytes().decode() == TEXT
    assert {one.name for one in tmp_path.glob("*pylock*")} == {"pylock.linux-amd64.toml"}


def test_lock_is_read_back(tmp_path: Path) -> None:
    """Acceptance case "hashes": the resolution is the same, sums and all, without pip."""
    assert read(locked(tmp_path)) == resolution(JINJA, MARKUPSAFE)
    nothing = lock.destination(tmp_path, LINUX, several=True)
    lock.write(nothing, resolution(), INPUTS)
    assert lock.read(nothing, LINUX, requirements("tzdata; sys_platform == 'win32'"), inputs=INPUTS).items == ()


def test_lock_is_pep_751(tmp_path: Path) -> None:
    """Others can read it: packaging selects the wheels for the target, and for no other system or line."""
    pylock = Pylock.from_dict(tomllib.loads(locked(tmp_path).read_text()))
    chosen = [wheel for _, wheel in pylock.select(environment=LINUX.environment, tags=LINUX.tags)]  # type: ignore[arg-type]
    assert [wheel.filename for wheel in chosen if isinstance(wheel, PackageWheel)] == [
        JINJA.filename,
        MARKUPSAFE.filename,
    ]
    (marker,) = pylock.environments or []
    holds = {key for key in ROWS if marker.evaluate(dict(target(key).environment))}
    assert holds == {"linux/amd64", "linux/amd64/freethreaded"}


@pytest.mark.parametrize(
    ("key", "version", "short", "full"),
    [
        ("linux/amd64", "3.14.9", "pylock.linux-amd64.toml", "pylock.linux-amd64-py314.toml"),
        (
            *("linux/arm64/freethreaded", "3.15.0rc1"),
            *("pylock.linux-arm64-freethreaded.toml", "pylock.linux-arm64-freethreaded-py315.toml"),
        ),
    ],
)
def test_names_of_locks(tmp_path: Path, key: str, version: str, short: str, full: str) -> None:
    """A run for one line names none; a lock that names the line is preferred from then on. PEP 751 takes all names."""
    on = target(key, version)
    assert lock.find(tmp_path, on) is None
    assert lock.destination(tmp_path, on, several=False).name == short
    assert lock.destination(tmp_path, on, several=True).name == full
    (tmp_path / short).touch()
    assert lock.find(tmp_path, on) == tmp_path / short
    (tmp_path / full).touch()
    assert lock.find(tmp_path, on) == tmp_path / full == lock.destination(tmp_path, on, several=False)
    assert is_valid_pylock_path(tmp_path / short)
    assert is_valid_pylock_path(tmp_path / full)


def test_locks_of_targets_have_names_of_their_own() -> None:
    """No two rows and lines share a file."""
    versions = ("3.11.17", "3.14.9")
    paths = [lock.destination(Path(), target(key, one), several=True) for key in ROWS for one in versions]
    assert len(set(paths)) == len(paths)


def test_equal_resolutions_give_equal_bytes(tmp_path: Path) -> None:
    """Acceptance case "reproducible": neither the order of the wheels nor the file that was there counts."""
    one = lock.render(Resolution(LINUX, (JINJA, MARKUPSAFE)), INPUTS, tmp_path)
    assert one == lock.render(Resolution(LINUX, (MARKUPSAFE, JINJA)), INPUTS, tmp_path) == TEXT
    locked(tmp_path, item("old", "1"))
    assert locked(tmp_path).read_text() == TEXT


def test_no_secret_is_written(tmp_path: Path) -> None:
    """User, password, token and fragment go, from URLs of wheels and of what they require."""
    address = "https://user:s3cret@host.invalid/b-1-py3-none-any.whl"
    items = (
        replace(
            item("a", "1", [f"b @ {address}"]), url=f"https://u:s3cret@host.invalid/{item('a', '1').filename}?t=s3cret"
        ),
        item("b", "1", url=f"{address}?sig=s3cret#sha256=s3cret"),
    )
    path = locked(tmp_path, *items)
    assert "s3cret" not in path.read_text()
    assert "user" not in path.read_text()
    again = read(path, "a", f"b @ {address}")
    assert [one.url for one in again.items] == [
        "https://host.invalid/a-1-py3-none-any.whl",
        "https://host.invalid/b-1-py3-none-any.whl",
    ]


def test_local_wheels_are_written_by_path(tmp_path: Path) -> None:
    """The path is relative to the lock, so that the project may lie elsewhere next year."""
    for home in ("here", "there"):
        (tmp_path / home).mkdir()
    wheels = tmp_path / "here" / "my wheels"
    built = replace(item("a", "1"), url=(wheels / "a-1-py3-none-any.whl").as_uri())
    direct = item("b", "1", url=(wheels / "b-1-py3-none-any.whl").as_uri())
    path = locked(tmp_path / "here", built, direct)
    text = path.read_text()
    assert 'wheels = [{ name = "a-1-py3-none-any.whl", path = "my wheels/a-1-py3-none-any.whl", hashes' in text
    assert 'archive = { path = "my wheels/b-1-py3-none-any.whl", hashes' in text
    assert str(tmp_path) not in text
    assert read(path, "a", f"b @ {direct.url}").items == (built, direct)
    moved = path.replace(tmp_path / "there" / path.name)
    elsewhere = direct.url.replace("/here/", "/there/")
    assert [one.url for one in read(moved, "a", f"b @ {elsewhere}").items] == [
        built.url.replace("/here/", "/there/"),
        elsewhere,
    ]


def test_wheel_on_another_drive_keeps_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No relative path leads from one drive of Windows to another."""

    def relpath(*_: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", relpath)
    local = replace(item("a", "1"), url="file:///D:/wheels/a-1-py3-none-any.whl")
    path = locked(tmp_path, local)
    assert f'url = "{local.url}"' in path.read_text()
    assert read(path, "a").items == (local,)
    assert lock.digest(requirements(f"a @ {local.url}"), folder=tmp_path)


def test_unreadable_requires_python_is_left_out(tmp_path: Path) -> None:
    """pip passes over it; a lock with it would be no lock."""
    path = locked(tmp_path, item("a", "1", requires_python=">=3.5.*"))
    assert read(path, "a").items[0].requires_python == ""


def test_wheel_without_sum_is_not_locked(tmp_path: Path) -> None:
    """A lock is nothing without sums, and none is written."""
    with pytest.raises(PipError, match=r"locking a 1: the sha256 of a-1-py3-none-any.whl is not known"):
        locked(tmp_path, replace(item("a", "1"), sha256=""))
    assert list(tmp_path.glob("*pylock*")) == []


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It is a WriteError in one line, and nothing is left behind."""
    with pytest.raises(
        WriteError, match=r"pylock\.linux-amd64\.toml: No such file or directory; check that its folder"
    ):
        locked(tmp_path / "missing")
    (tmp_path / "pylock.linux-amd64.toml").mkdir()
    with pytest.raises(WriteError, match="Is a directory"):
        locked(tmp_path)
    assert {one.name for one in tmp_path.glob("*pylock*")} == {"pylock.linux-amd64.toml"}


def test_lock_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up leaves the lock that was there, and no part of the new one."""
    path = locked(tmp_path)
    written = Path.write_bytes

    def write_half(self: Path, data: bytes) -> int:
        written(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(WriteError, match=os.strerror(errno.ENOSPC)):
        locked(tmp_path, item("other", "1"))
    assert path.read_text() == TEXT
    assert {one.name for one in tmp_path.glob("*pylock*")} == {path.name}


def test_digest_is_of_what_is_asked_for(tmp_path: Path) -> None:
    """Order, spelling, repeats, credentials and where the project lies do not count; all else does."""

    def of(*lines: str, constraints: tuple[str, ...] = (), options: tuple[str, ...] = (), at: str = "x") -> str:
        lines = tuple(line.replace("HERE", (tmp_path / at).as_uri()) for line in lines)
        return lock.digest(requirements(*lines), requirements(*constraints), options, folder=tmp_path / at)

    one = of("Jinja2[b,A]>=3,<4", "click; os_name == 'nt'", "c @ HERE/c-1-py3-none-any.whl#sha256=00")
    same = (
        "c @ HERE/c-1-py3-none-any.whl",
        'click ; os_name=="nt"',
        "jinja2[a,B] <4, >=3",
        "jinja2[a,B] <4, >=3",
    )
    assert of(*same, at="y z") == one
    assert of("a @ https://u:p@h.invalid/a.whl") == of("a @ https://h.invalid/a.whl")
    others = {
        of(),
        of("a"),
        of("a==1"),
        of("a[x]"),
        of("a; os_name == 'nt'"),
        of("a @ https://h.invalid/a.whl"),
        of("a @ HERE/a.whl"),
        of("a", constraints=("b",)),
        of("b", constraints=("a",)),
        of("a", "b"),
        of("a", options=("--pre",)),
    }
    assert len(others) == 11
    assert all(len(digest) == 64 for digest in others)


def test_changed_requirements_are_noticed(tmp_path: Path) -> None:
    """The digest decides, even where the lock would still do."""
    path = locked(tmp_path)
    with pytest.raises(PipError) as caught:
        lock.read(path, LINUX, ASKED, inputs="cd" * 32)
    assert caught.value.exit_code == 6
    assert str(caught.value) == (
        f"reading the lock {path}: requirements changed since the lock was written; run with --lock to write it anew"
    )


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["jinja2>=4"], "the requirements ask for jinja2>=4, and 3.1.4 was chosen"),
        (["jinja2", "click"], "the requirements ask for click, and nothing was chosen"),
        (["jinja2[i18n]"], 'jinja2 3.1.4 asks for Babel; extra == "i18n", and nothing was chosen'),
        (["markupsafe"], "jinja2 3.1.4 was chosen, and nothing asks for it"),
        (["x", "jinja2", "y"], "the requirements ask for x, and nothing was chosen (and 1 more such problems)"),
    ],
)
def test_lock_that_is_not_the_closure(tmp_path: Path, lines: list[str], problem: str) -> None:
    """What is locked must be what is asked for, whoever edited either."""
    with pytest.raises(PipError) as caught:
        read(locked(tmp_path), *lines)
    assert f": it does not fit linux/amd64, Python 3.14: {problem}; put back" in str(caught.value)
    assert caught.value.hint == "put back what was edited, or run with --lock to write it anew"


def test_constraints_count_for_a_lock(tmp_path: Path) -> None:
    """They limit what may be locked."""
    with pytest.raises(PipError, match=r"the constraints ask for MarkupSafe<3, and 3.0.3 was chosen"):
        lock.read(locked(tmp_path), LINUX, ASKED, requirements("MarkupSafe<3"), inputs=INPUTS)


@pytest.mark.parametrize(
    ("on", "problem"),
    [
        (target("linux/arm64"), "it is for linux/amd64, not for linux/arm64"),
        (target("linux/amd64/freethreaded"), "it is for linux/amd64, not for linux/amd64/freethreaded"),
        (target(version="3.13.17"), "it is for Python ==3.14.*, which 3.13.17 is not"),
    ],
)
def test_lock_of_another_target(tmp_path: Path, on: Target, problem: str) -> None:
    """It is refused, with what it is for."""
    with pytest.raises(PipError) as caught:
        read(locked(tmp_path), on=on)
    assert str(caught.value).endswith(f"{problem}; run with --lock to write it anew")


def test_lock_outlives_a_patch_release(tmp_path: Path) -> None:
    """3.14.10 takes the lock of 3.14.9, and so does a final release that of its candidate, unless a marker differs."""
    path = locked(tmp_path)
    assert read(path, on=target(version="3.14.10")).items == (JINJA, MARKUPSAFE)
    candidate = target(version="3.15.0rc1")
    new = locked(tmp_path, item("a", "1", ["b; python_full_version < '3.15.1'"]), item("b", "1"), on=candidate)
    assert len(read(new, "a", on=candidate).items) == 2
    with pytest.raises(PipError, match="b 1 was chosen, and nothing asks for it"):
        read(new, "a", on=target(version="3.15.1"))


def test_lock_with_an_older_floor_to_run_on(tmp_path: Path) -> None:
    """Wheels that were chosen for glibc 2.28 do not fit 2.17, which no marker can tell."""
    newer = target(glibc="2.28")
    path = locked(tmp_path, item("a", "1", tags="cp314-cp314-manylinux_2_28_x86_64"), on=newer)
    assert read(path, "a", on=newer).items
    with pytest.raises(PipError, match=r"manylinux_2_28_x86_64.whl was chosen, which does not fit"):
        read(path, "a")


def dropped(start: str) -> Callable[[str], str]:
    """Return what takes lines away that begin so."""
    return lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.startswith(start))


def swapped(old: str, new: str) -> Callable[[str], str]:
    """Return what replaces a text that is there."""

    def swap(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return swap


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda _: "", "its lock-version is not 1.0"),
        (lambda text: text[:400], "it is no TOML: "),
        (lambda text: text.replace("jinja2", "\udcff"), "it is no TOML: 'utf-8' codec can't decode"),
        (swapped('lock-version = "1.0"', 'lock-version = "1.1"'), "its lock-version is not 1.0"),
        (swapped('lock-version = "1.0"', "lock-version = 1.0"), "its lock-version is not 1.0"),
        (dropped("created-by"), "Missing required value in 'created-by'"),
        (dropped("[tool"), "pyembed-gen did not write it"),
        (dropped("platform"), "pyembed-gen did not write it"),
        (dropped("inputs"), "requirements changed since the lock was written"),
        (
            swapped('platform = "linux/amd64"', "platform = 3"),
            "platform in [tool.pyembed-gen] is not what it should be",
        ),
        (swapped("[tool.pyembed-gen]", "[tool]\npyembed-gen = 3\n[tool.x]"), "platform in [tool.pyembed-gen] is not"),
        (swapped('requires-python = "==3.14.*"', 'requires-python = "3"'), "in 'requires-python'"),
        (swapped("environments = [", "environments = 3 # ["), "Unexpected type int (expected Sequence)"),
        (swapped('name = "jinja2"', 'name = "jinja3"'), "is not consistent with package name 'jinja3'"),
        (swapped('version = "3.1.4"', 'version = "3.1.5"'), "is not consistent with package version '3.1.5'"),
        (dropped('version = "3.1.4"'), "jinja2 is not one wheel of one version, without a marker"),
        (swapped('version = "3.1.4"', 'version = "3.1.4"\nmarker = "os_name == \'nt\'"'), "jinja2 is not one wheel"),
        (
            swapped('version = "3.1.4"', 'version = "3.1.4"\nvcs = {}'),
            "Missing required value in 'packages[0].vcs.type'",
        ),
        (dropped("wheels"), "Exactly one of vcs, directory, archive must be set"),
        (
            swapped('{ name = "Jinja', '{ name = "x.whl", path = "x", hashes = {a = "b"} }, { name = "Jinja'),
            "Invalid wheel",
        ),
        (swapped("sha256", "md5"), "jinja2 has no sha256 of 64 lower-case hex digits"),
        (swapped(JINJA.sha256, JINJA.sha256.upper()), "jinja2 has no sha256 of 64 lower-case hex digits"),
        (swapped(JINJA.sha256, ""), "jinja2 has no sha256 of 64 lower-case hex digits"),
        (swapped(f'url = "{INDEX}', 'url = "ftp://files.invalid'), "jinja2 is at no URL that begins with https, http"),
        (swapped(f'url = "{INDEX}', 'url = "https://[files'), "jinja2 is at no URL that begins with https, http"),
        (swapped("requested = true", 'requested = "yes"'), "jinja2: requested in [tool.pyembed-gen] is not what"),
        (swapped('"MarkupSafe>=2.0"', "3"), "jinja2: requires in [tool.pyembed-gen] has something that is no string"),
        (swapped('"MarkupSafe>=2.0"', '"MarkupSafe >< 2"'), "asks for 'MarkupSafe >< 2', which is no requirement"),
        (swapped('"MarkupSafe>=2.0"', '"MarkupSafe>=4"'), "asks for MarkupSafe>=4, and 3.0.3 was chosen"),
        (swapped('"MarkupSafe>=2.0",', ""), "markupsafe 3.0.3 was chosen, and nothing asks for it"),
        (
            swapped("manylinux_2_17_x86_64.manylinux2014", "manylinux_2_39"),
            "manylinux_2_39_x86_64.whl was chosen, which",
        ),
        (swapped('requires-python = ">=3.7"', 'requires-python = ">=3.15"'), "asks for Python >=3.15, which 3.14.9 is"),
        (
            swapped('[[packages]]\nname = "markupsafe"', '[[packages]]\nname = "markupsafe"\ndirectory = {path = "x"}'),
            "None of vcs, directory, archive must be set",
        ),
        (lambda text: text.replace("wheels = [{", "archive = {").replace("} }]", "} }"), "nothing asks for that URL"),
        (
            lambda text: text.replace("[tool.pyem", text[text.index("[[pac") : text.index("[tool.p")] + "[tool.pyem"),
            "twice",
        ),
    ],
)
def test_lock_that_was_edited_badly(tmp_path: Path, edit: Callable[[str], str], problem: str) -> None:
    """One line with the file, what is wrong and what to try; never another exception, never another set."""
    path = locked(tmp_path)
    path.write_text(edit(TEXT), encoding="utf-8", errors="surrogateescape")
    with pytest.raises(PipError) as caught:
        read(path)
    assert str(caught.value).startswith(f"reading the lock {path}: ")
    assert problem in str(caught.value)
    assert caught.value.hint.endswith("run with --lock to write it anew")


def test_lock_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder in its place is told as such."""
    with pytest.raises(PipError, match="Is a directory; run with --lock"):
        read(tmp_path)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(deadline=None)
@given(text=TEXTS, extras=st.lists(TEXTS, max_size=3), digest=TEXTS)
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, text: str, extras: list[str], digest: str) -> None:
    """Strings are escaped as TOML has it: control characters, quotes, backslashes, all of Unicode."""
    one = replace(item("a", "1", [text]), extras=tuple(extras))
    values = tomllib.loads(lock.render(resolution(one), digest, tmp_path_factory.getbasetemp()))
    own = values["packages"][0].get("tool", {}).get("pyembed-gen", {})
    assert own.get("extras", []) == extras
    if "://" not in text:
        assert own["requires"] == [text]
    assert values["tool"]["pyembed-gen"]["inputs"] == digest


VERSIONS = st.sampled_from(["1", "2.0rc1", "1!3.4.post1", "1.0+cpu.1", "0.1.dev3"])


@settings(deadline=None)
@given(
    key=st.sampled_from(sorted(ROWS)),
    wheels=st.dictionaries(st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5})?", fullmatch=True), VERSIONS, max_size=5),
    requested=st.booleans(),
)
def test_any_resolution_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, key: str, wheels: dict[str, str], requested: bool
) -> None:
    """Whatever was locked comes back, for every row."""
    on = target(key)
    items = [item(name, version, requested=requested, requires_python=">=3.9") for name, version in wheels.items()]
    chosen = resolution(*items, on=on)
    path = lock.destination(tmp_path_factory.mktemp("lock"), on, several=True)
    lock.write(path, chosen, INPUTS)
    assert lock.read(path, on, [Requirement(name) for name in wheels], inputs=INPUTS) == chosen
    (environment,) = tomllib.loads(path.read_text())["environments"]
    assert Marker(environment).evaluate(dict(on.environment))
