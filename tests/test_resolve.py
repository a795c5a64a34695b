"""Requirements become the wheels that the target takes, whatever machine resolves them, or one line says why not."""

import io
import platform
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from index import Dist, Index, dist
from pipping import LINUX, ROWS, WINDOWS, Bench, pipping
from pyembed_gen import resolve as resolving
from pyembed_gen.errors import PipError
from pyembed_gen.piprun import Pip
from pyembed_gen.resolution import Item
from pyembed_gen.resolve import Options, local_path
from pyembed_gen.target import choose
from web import Reply, closed_port

CLICK = dist("click", "8.1.8", requires=("colorama; platform_system == 'Windows'", "uvloop; sys_platform == 'linux'"))
COLORAMA, UVLOOP = dist("colorama", "0.4.6"), dist("uvloop", "0.22", tag="cp314-cp314-manylinux_2_17_x86_64")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with pipping(tmp_path, monkeypatch) as made:
        made.index.add(CLICK, COLORAMA, UVLOOP)
        yield made


def test_markers_are_those_of_the_target(bench: Bench) -> None:
    """Each target gets its own dependencies, in the order of the targets, and nothing is left behind."""
    linux, windows = bench.resolve("click", LINUX, WINDOWS)
    assert (linux.target, windows.target) == (LINUX, WINDOWS)
    assert [item.name for item in linux.items] == ["click", "uvloop"]
    assert [item.name for item in windows.items] == ["click", "colorama"]
    assert linux.items[0] == Item(
        name="click",
        version="8.1.8",
        url=bench.index.link(CLICK),
        filename="click-8.1.8-py3-none-any.whl",
        sha256=CLICK.sha256,
        requires=("colorama; platform_system == 'Windows'", "uvloop; sys_platform == 'linux'"),
        requested=True,
    )
    assert not linux.items[1].requested
    assert sorted(bench.log.labels) == [f"resolving for {target.label}" for target in (LINUX, WINDOWS)]
    assert bench.log.ended == ["2 packages"] * 2
    assert bench.log.advanced >= 4
    assert bench.left() == []


@pytest.mark.parametrize("html", [True, False])
@pytest.mark.parametrize("metadata", [True, False])
def test_every_kind_of_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, html: bool, metadata: bool) -> None:
    """HTML or JSON, with metadata apart or in the wheel alone: the same answer."""
    with pipping(tmp_path, monkeypatch, Index(html=html, metadata=metadata)) as bench:
        bench.index.add(CLICK, COLORAMA, UVLOOP)
        assert bench.names("click", WINDOWS) == ["click 8.1.8", "colorama 0.4.6"]
        assert bench.index.asked(f"/files/{CLICK.filename}") == int(not metadata)


def test_a_marker_on_every_level(bench: Bench) -> None:
    """A requirement, one of a file, a dependency, a dependency of an extra, and a constraint."""
    yes, no = "platform_machine == 'ARM64'", "platform_machine != 'ARM64'"
    bench.index.add(
        dist("top", requires=(f"mid[x]; {yes}", f"never; {no}")),
        dist("mid", requires=(f"deep; {yes} and extra == 'x'", f"never; {no} and extra == 'x'"), extras=("x",)),
        *(dist("deep", version) for version in ("1", "2", "3")),
    )
    bench.write("c.txt", f"deep==2; {yes}\ndeep==3; {no}\n")
    bench.write("r.txt", f"colorama; {yes}\nnever; {no}\n")
    what = bench.requirements(f"top; {yes}", f"never; {no}", files=("r.txt",), constraints=("c.txt",))
    target = choose(ROWS["windows/arm64"], "3.14.9")
    found = bench.resolve(what, target)[0]
    assert [f"{item.name} {item.version}" for item in found.items] == [
        *("colorama 0.4.6", "deep 2", "mid 1.0", "top 1.0"),
    ]
    assert {item.name: item.extras for item in found.items if item.extras} == {"mid": ("x",)}
    assert [item.name for item in found.items if item.requested] == ["colorama", "top"]


def test_extras_of_a_requirement(bench: Bench) -> None:
    """They count, normalised, and lead to others."""
    bench.index.add(
        dist("a", requires=("b[Z_z]; extra == 'one'", "a[two]; extra == 'one'"), extras=("one", "two")),
        dist("b", extras=("z-z",)),
    )
    found = bench.resolve("a[one]")[0]
    assert {item.name: item.extras for item in found.items} == {"a": ("one", "two"), "b": ("z-z",)}


def test_python_is_that_of_the_target(bench: Bench) -> None:
    """Requires-Python and the tags of the ABI follow the target, down to the last number."""
    bench.index.add(
        dist("a", "2", python=">=3.14.10"),
        dist("a", "1", python=">=3.14.9"),
        dist("b", "1", tag="cp314-cp314-win_amd64"),
        dist("b", "2", tag="cp313-cp313-win_amd64"),
    )
    assert bench.names("a") == ["a 1"]
    assert bench.names("b", WINDOWS) == ["b 2"]
    assert bench.names("b", choose(ROWS["windows/amd64"], "3.14.9")) == ["b 1"]


def test_the_floor_decides(bench: Bench) -> None:
    """A wheel for a newer glibc is not taken, though this machine may have it."""
    bench.index.add(*(dist("a", f"{n}", tag=f"py3-none-manylinux_2_{n}_x86_64") for n in (17, 28)))
    assert bench.names("a") == ["a 17"]
    assert bench.names("a", choose(ROWS["linux/amd64"], "3.14.9", {"glibc": "2.28"})) == ["a 28"]


def test_packages_of_this_environment_do_not_count(bench: Bench) -> None:
    """pytest is installed here; it is resolved all the same, and as what the index has."""
    bench.index.add(dist("pytest", "1.0"))
    assert bench.names("pytest") == ["pytest 1.0"]


def test_files_nested_and_relative(bench: Bench) -> None:
    """Files name others relative to themselves, wheels relative to the working directory."""
    (bench.folder / "sub").mkdir()
    (bench.folder / "dist").mkdir()
    local = dist("local", "3.1", tag="cp314-abi3-manylinux_2_17_x86_64")
    local.write(bench.folder / "dist")
    bench.write("r.txt", "-r sub/more.txt\n")
    bench.write("sub/more.txt", f"-c bound.txt\nclick\n./dist/{local.filename}\n")
    bench.write("sub/bound.txt", "uvloop<1\n")
    found = bench.resolve(bench.requirements(files=("r.txt",)))[0]
    assert [item.name for item in found.items] == ["click", "local", "uvloop"]
    item = found.items[1]
    assert (item.sha256, item.direct, item.requested) == (local.sha256, True, True)
    assert local_path(item.url) == bench.folder / "dist" / local.filename
    assert local_path(bench.index.url) is None


def test_wheels_by_url_and_from_a_folder(bench: Bench) -> None:
    """A direct URL is one; what lies in a folder of wheels is hashed here."""
    links = bench.folder / "links"
    links.mkdir()
    other = dist("other")
    other.write(links)
    url = bench.index.link(COLORAMA)
    options = Options(no_index=True, find_links=("links",))
    what = bench.requirements(f"colorama @ {url.replace('://', '://me:secret@')}", "other")
    colorama, found = bench.resolve(what, options=options)[0].items
    assert (colorama.url, colorama.direct, colorama.sha256) == (url, True, COLORAMA.sha256)
    assert (found.sha256, found.direct) == (other.sha256, False)


def test_credentials_go_to_the_index_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account in the URL of the index is used; results and errors do not show it."""
    with pipping(tmp_path, monkeypatch, Index(account="me:s3cr3t")) as bench:
        bench.index.add(COLORAMA)
        options = Options(index_url=bench.index.secret)
        found = bench.resolve("colorama", options=options)[0]
        assert found.items[0].url == bench.index.link(COLORAMA)
        for error in (bench.failure("nothing", options=options), bench.failure("colorama")):
            assert "s3cr3t" not in f"{error} {error.failures} {bench.log.notes} {options}"
        assert error.failures[0].kind == "index"
        assert "401 Client Error" in str(error)


def test_settings_of_the_machine_that_say_where_to_look(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index may be in the environment or in pip's configuration, for all commands or for one."""
    none = Options()
    monkeypatch.setenv("PIP_INDEX_URL", bench.index.simple)
    assert bench.names("colorama", options=none) == ["colorama 0.4.6"]
    monkeypatch.delenv("PIP_INDEX_URL")
    for section in ("global", "install"):
        path = bench.write("pip.conf", f"[{section}]\npypi_url = {bench.index.simple}\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", path)
        assert bench.names("colorama", options=none) == ["colorama 0.4.6"]


# What would spoil a resolution, as a setting: name and value.
HOSTILE = {
    "target": "/nowhere",
    "user": "1",
    "prefix": "/nowhere",
    "root": "/nowhere",
    "no-deps": "1",
    "only-deps": "1",
    "only-binary": ":none:",
    "no-binary": ":all:",
    "prefer-binary": "1",
    "platform": "linux_riscv64",
    "abi": "cp27m",
    "implementation": "pp",
    "python-version": "2.7",
    "python": "/nowhere/python",
    "require-virtualenv": "1",
    "report": "/nowhere/report.json",
    "dry-run": "0",
    "ignore-installed": "0",
    "ignore-requires-python": "1",
    "pre": "1",
    "all-releases": ":all:",
    "constraint": "/nowhere/constraints.txt",
    "requirement": "/nowhere/requirements.txt",
    "editable": "/nowhere",
    "quiet": "3",
    "verbose": "3",
    "log": "/nowhere/log",
    "debug": "1",
    "isolated": "1",
    "use-deprecated": "legacy-resolver",
    "use-feature": "fast-deps",
    "progress-bar": "on",
    "exists-action": "a",
    "frobnicate": "1",
}


@pytest.mark.parametrize("kind", ["environment", "global", "install"])
def test_other_settings_of_the_machine_do_not_count(bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whatever decides what is chosen or done is this program's, alone and all together."""
    bench.index.add(dist("click", "9.0b1"))
    monkeypatch.setenv("PYTHONPATH", str(bench.write("sitecustomize.py", "raise SystemExit(9)") and bench.folder))
    monkeypatch.setenv("_PIP_RUNNING_IN_SUBPROCESS", "1")
    monkeypatch.setenv("_PIP_IN_BUILD_IGNORE_CONSTRAINTS", "1")
    monkeypatch.setenv("PIP_AUTO_COMPLETE", "1")
    if kind == "environment":
        for name, value in HOSTILE.items():
            monkeypatch.setenv(f"PIP_{name.replace('-', '_').upper()}", value)
    else:
        lines = "".join(f"{name} = {value}\n" for name, value in HOSTILE.items())
        monkeypatch.setenv("PIP_CONFIG_FILE", bench.write("pip.conf", f"[{kind}]\n{lines}"))
    assert bench.names("click", WINDOWS) == ["click 8.1.8", "colorama 0.4.6"]


def test_settings_that_refuse_more_are_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever demands hashes on a machine gets them, and the canary does without."""
    monkeypatch.setenv("PIP_REQUIRE_HASHES", "1")
    assert bench.failure("colorama").failures[0].kind == "hash"
    bench.write("r.txt", f"colorama==0.4.6 --hash=sha256:{COLORAMA.sha256}\n")
    assert bench.names(bench.requirements(files=("r.txt",))) == ["colorama 0.4.6"]


def test_pre_releases_are_opt_in(bench: Bench) -> None:
    """As with pip."""
    bench.index.add(dist("colorama", "1.0rc1"))
    assert bench.names("colorama") == ["colorama 0.4.6"]
    options = Options(index_url=bench.index.simple, pre=True, trusted_hosts=("localhost",))
    assert bench.names("colorama", options=options) == ["colorama 1.0rc1"]


# --- what cannot be ------------------------------------------------------------------------------------


def test_failures_are_told_together(bench: Bench) -> None:
    """Targets that fail for the same reason are named together; one that works hides nothing."""
    bench.index.add(dist("only", "1", tag="py3-none-win_amd64"))
    arm = choose(ROWS["linux/arm64"], "3.14.9")
    error = bench.failure("only", LINUX, WINDOWS, arm)
    assert [(failure.kind, failure.requirement, failure.target) for failure in error.failures] == [
        ("missing", "only", LINUX),
        ("missing", "only", arm),
    ]
    assert str(error) == (
        "resolving only for linux/amd64, Python 3.14; linux/arm64, Python 3.14: there is no wheel of it that fits; "
        "try another version, or leave that platform out with --only-platforms"
    )
    assert error.exit_code == 6
    assert sorted(bench.log.ended) == ["1 packages", "failed", "failed"]
    assert any("No matching distribution" in line for line in error.failures[0].lines)


def sdist() -> bytes:
    """Return a source archive that would have to be built."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        member = tarfile.TarInfo("a-1.0/setup.py")
        archive.addfile(member)
    return data.getvalue()


@pytest.mark.parametrize(
    ("text", "kind", "requirement", "reason"),
    [
        ("colorama==9", "missing", "colorama==9", "no wheel of such a version fits; there are 0.4.6"),
        ("nothing", "missing", "nothing", "there is no wheel of it that fits"),
        ("sdist-only", "missing", "sdist-only", "there is no wheel of it that fits"),
        ("a\n--no-binary a", "build", "", "it has no wheel and would have to be built"),
        ("foo bar", "requirement", "foo bar", "Expected .*from line 1 of .*"),
        ("colorama; nonsense == '1'", "requirement", "colorama", "Expected a marker variable .*"),
        ("colorama ==", "requirement", "colorama ==", "Expected .*"),
        ("--frobnicate", "option", "", "--frobnicate: no such option: --frobnicate"),
        ("--hash=sha256", "option", "", ".*"),
        ("./x-1-py3-none-win32.whl", "wheel", "x-1-py3-none-win32.whl", "is not a supported wheel on this platform.*"),
        ("./x.whl", "wheel", "", "Invalid wheel filename .*"),
        ("click\nuvloop<0.2\nuvloop>0.2", "conflict", "uvloop<0.2 and uvloop>0.2", ".*user requested uvloop<0.2.*"),
        ("clash", "conflict", "-r r.txt (line 1)", "clash 1.0 depends on uvloop<0.2.*"),
        ("old", "python", "old", "requires a different Python: 3.14.9 not in '<3'"),
        ("colorama==0.4.6 --hash=sha256:" + "0" * 64, "hash", "colorama==0.4.6", "its hash is [0-9a-f]{64}, not 0{64}"),
        ("click==8.1.8 --hash=sha256:" + CLICK.sha256, "hash", "", "In --require-hashes mode, .*"),
        ("needs-build", "build", "", "it has no wheel and would have to be built"),
        ("needs-git", "build", "", "it has no wheel and would have to be built"),
    ],
)
def test_a_failure_has_a_kind_and_one_line(bench: Bench, text: str, kind: str, requirement: str, reason: str) -> None:
    """pip's words are sorted: what it is about, and why, for a person and for programs."""
    project = bench.folder / "project"
    project.mkdir()
    (project / "setup.py").write_text(f"open({str(bench.folder / 'ran')!r}, 'w')")
    bench.index.add(
        *(Dist("sdist-only-1.0.tar.gz", b""), Dist("a-1.0.tar.gz", sdist())),
        dist("uvloop", "0.1"),
        dist("clash", requires=("uvloop<0.2", "uvloop>0.2")),
        dist("needs-build", requires=(f"x @ {project.as_uri()}",)),
        dist("needs-git", requires=("x @ git+https://127.0.0.1:9/x",)),
    )
    bench.write("x-1-py3-none-win32.whl", "")
    dist("old", python="<3").write(bench.folder)
    text = text.replace("old", "./old-1.0-py3-none-any.whl")
    bench.write("r.txt", f"{text}\n")
    error = bench.failure(bench.requirements(files=("r.txt",)))
    failure = error.failures[0]
    assert failure.kind == kind, failure.lines
    assert failure.requirement == requirement
    assert re.fullmatch(reason, failure.reason), failure.reason
    assert "\n" not in str(error)
    assert not (bench.folder / "ran").exists()


def test_an_index_that_nobody_answers_at(bench: Bench) -> None:
    """The network is to blame, not the package."""
    error = bench.failure("click", options=Options(index_url=f"http://127.0.0.1:{closed_port()}/simple"))
    assert error.failures[0].kind == "network"
    assert "127.0.0.1" in str(error)


def test_an_index_that_is_broken(bench: Bench) -> None:
    """An answer that is an error of the server is told as that."""
    for status, reason in (
        (500, "too many 500 error responses"),
        (503, "too many 503 error responses"),
        (403, "403 Client Error"),
    ):
        bench.index.faults["/simple/click/"] = Reply(status=status)
        error = bench.failure("click")
        assert (error.failures[0].kind, error.failures[0].requirement) == ("index", "click")
        assert f"{bench.index.simple}/click/: {reason}" in str(error)


def test_a_url_that_nobody_answers_at(bench: Bench) -> None:
    """A wheel by URL fails as what it is, without its credentials."""
    error = bench.failure(f"x @ http://me:s3cr3t@127.0.0.1:{closed_port()}/x-1-py3-none-any.whl")
    assert error.failures[0].kind == "network"
    assert "s3cr3t" not in f"{error} {error.failures}"


def test_a_slow_index_is_noted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry is a piece of news."""
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_TIMEOUT", "0.1")
    bench.index.faults["/simple/click/"] = Reply(delay=0.5)
    assert bench.failure("click").failures[0].kind == "network"
    assert any("Retrying" in note for note in bench.log.notes)


def test_an_index_is_redirected(bench: Bench) -> None:
    """To another path, as with pip."""
    bench.index.faults["/old/colorama/"] = Reply(status=301, headers={"Location": "/simple/colorama/"})
    assert bench.names("colorama", options=Options(index_url=f"{bench.index.url}/old")) == ["colorama 0.4.6"]


# --- a report is not believed blindly --------------------------------------------------------------------


def entry(**changes: object) -> dict[str, object]:
    """Return an entry of a report."""
    archive = {"url": "https://u:p@x.org/a-1-py3-none-any.whl?sig=1#f", "archive_info": {"hashes": {"sha256": "AB"}}}
    return {
        "metadata": {"name": "a", "version": "1.0"},
        "download_info": archive,
        "requested": True,
        "is_direct": False,
        **changes,
    }


def report(*entries: dict[str, object], **changes: object) -> dict[str, object]:
    """Return a report."""
    environment = dict(LINUX.environment)
    return {"version": "1", "pip_version": "26.3", "environment": environment, "install": entries, **changes}


def test_a_report_is_read() -> None:
    """URLs lose what may be secret, sums are in lower case, a missing one is empty."""
    (item,) = resolving._items(report(entry()), LINUX)
    assert (item.url, item.sha256) == ("https://x.org/a-1-py3-none-any.whl", "ab")
    download = {"url": "https://x.org/a-1-py3-none-any.whl", "archive_info": {}}
    assert resolving._items(report(entry(download_info=download)), LINUX)[0].sha256 == ""


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        report(version="2"),
        report(pip_version="26.4"),
        report(environment={"sys_platform": "linux"}),
        report(entry(), entry()),
        report(entry(download_info={"url": "https://x.org/a-1.tar.gz", "archive_info": {}})),
        report(entry(download_info={"url": "file:///a-1-py3-none-any.whl", "dir_info": {}})),
        report(entry(metadata={"name": "b", "version": "1.0"})),
        report(entry(metadata={"name": "a", "version": "2.0"})),
        report(entry(metadata={"name": "a", "version": "one"})),
        report(entry(metadata={"name": "a", "version": "1.0", "requires_dist": ["!"]})),
        report(entry(download_info={"url": "file:///no/a-1-py3-none-any.whl", "archive_info": {}})),
    ],
)
def test_a_report_that_is_wrong(wrong: dict[str, object] | None) -> None:
    """What is not the known format, not for the target or not a wheel, ends in an error."""
    with pytest.raises(PipError):
        resolving._items(wrong, LINUX)


def test_an_interrupt_ends_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first exception ends the other pips, and gets through."""
    bench.index.faults["/simple/click/"] = Reply(delay=5)
    real = Pip.run

    def run(self: Pip, commands: object, target: object, **more: object) -> object:
        if target is WINDOWS:
            raise KeyboardInterrupt
        return real(self, commands, target, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Pip, "run", run)
    with pytest.raises(KeyboardInterrupt):
        bench.resolve("click", WINDOWS, LINUX)
    assert not bench.pip._running


def test_the_host_as_a_target(bench: Bench) -> None:
    """It is a target like others: markers are the same as here."""
    bench.index.add(dist("here", requires=(f"colorama; platform_machine == '{platform.machine()}'",)))
    key = f"{sys.platform}/amd64"
    target = choose(ROWS[key], platform.python_version())
    assert bench.names("here", target) == ["colorama 0.4.6", "here 1.0"]
