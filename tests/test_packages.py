"""From requirements to bundles: what is made when, what is left alone, and what is refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import native
from index import dist
from pipping import Bench, pipping
from pyembed_gen import emit, matrix, output, packages, plan, resolve, verify
from pyembed_gen.download import Policy
from pyembed_gen.errors import ArchiveError, PipError, UsageError
from pyembed_gen.output import Result
from pyembed_gen.packages import Package, Request
from pyembed_gen.pipeline import Settings
from pyembed_gen.requirements import Requirements, read
from pyembed_gen.resolve import Options
from pyembed_gen.skew import SkewError

MATRIX = matrix.load(None)
LINUX, WINDOWS = "linux/amd64", "windows/amd64"
LINUX_TAG = "cp314-cp314-manylinux_2_17_x86_64"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Return an index without wheels, and a folder."""
    folder = tmp_path / "bench"
    folder.mkdir()
    with pipping(folder, monkeypatch) as found:
        yield found


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what makes every start of pip an error."""

    def forbid() -> None:
        monkeypatch.setattr(packages, "Pip", lambda *_: pytest.fail("pip was started"))

    return forbid


def asked(bench: Bench, *strings: str, platforms: tuple[str, ...] = (LINUX,), **more: tuple[str, ...]) -> Request:
    """Return a request for requirements from the index."""
    return Request(
        plan.Request(platforms=platforms, out=bench.folder / "out"),
        Requirements(strings, folder=bench.folder, **more),
        Options(index_url=bench.index.simple),
    )


def settings(bench: Bench, **more: bool) -> Settings:
    """Return settings with the cache of the bench."""
    return Settings(bench.cache, Policy(), jobs=2, **more)


def generate(bench: Bench, request: Request, **more: bool) -> tuple[Result, ...]:
    """Make bundles."""
    return packages.generate(MATRIX, request, settings(bench, **more), bench.log)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_bundles_differ_as_their_platforms_do(bench: Bench) -> None:
    """A dependency for Windows is in its bundle alone; manifests say what was made, and for which Python."""
    bench.index.add(dist("click", "8.1.8", requires=("colorama; sys_platform == 'win32'",)), dist("colorama"))
    linux, windows = generate(bench, asked(bench, "click", platforms=(LINUX, WINDOWS)))
    assert packages.packages_of(linux.manifest) == (Package("click", "8.1.8"),)
    assert packages.packages_of(windows.manifest) == (Package("click", "8.1.8"), Package("colorama", "1.0"))
    assert (linux.up_to_date, linux.manifest.origin.flavour, linux.manifest.origin.python) == (False, "pip", "3.14.9")
    assert (linux.manifest.origin.pbs, linux.manifest.origin.archive) == ("", "wheels")
    assert verify.verify(linux.job.directory)[1] == ()
    assert (bench.folder / "out" / "embed_windows_amd64.go").is_file()


def test_unchanged_run_needs_no_pip(bench: Bench, no_pip: Callable[[], None]) -> None:
    """Nothing is asked and nothing is written; a changed requirement file, option or target is something else."""
    bench.index.add(dist("click"))
    request = asked(bench, files=(bench.write("requirements.txt", "click\n"),))
    generate(bench, request)
    before = contents(bench.folder / "out")
    no_pip()
    bench.index.paths.clear()
    (result,) = generate(bench, request)
    assert (result.up_to_date, bench.index.paths, contents(bench.folder / "out")) == (True, [], before)
    (shown,) = packages.preview(MATRIX, request, settings(bench), bench.log)
    assert (shown.up_to_date, shown.packages) == (True, (Package("click", "1.0"),))
    for other in (
        replace(request, floors={"glibc": "2.28"}),
        replace(request, upgrade=True),
        replace(request, options=replace(request.options, pre=True)),
        replace(request, requirements=replace(request.requirements, strings=("click",))),
    ):
        with pytest.raises(pytest.fail.Exception, match="pip was started"):
            generate(bench, other)
    with pytest.raises(pytest.fail.Exception, match="pip was started"):
        generate(bench, request, force=True)
    bench.write("requirements.txt", "click==1\n")
    with pytest.raises(pytest.fail.Exception, match="pip was started"):
        generate(bench, request)


def test_changed_wheel_of_a_folder_is_seen(bench: Bench) -> None:
    """A wheel that was built anew under its old name is another wheel."""
    links = bench.folder / "links"
    links.mkdir()
    request = replace(asked(bench, "click"), options=Options(find_links=("links",), no_index=True))
    dist("click", files={"click/data": b"old"}).write(links)
    first = generate(bench, request)[0].manifest
    assert generate(bench, request)[0].up_to_date
    dist("click", files={"click/data": b"new"}).write(links)
    assert generate(bench, request)[0].manifest.content_hash != first.content_hash


def test_recipe_is_the_same_elsewhere_and_keeps_secrets(bench: Bench, tmp_path: Path) -> None:
    """Neither the folder nor the password of an index is in it; of a constraint file the content is."""
    bench.index.add(dist("click"))

    def recipe(folder: Path, constraint: str, password: str) -> str:
        (folder / "requirements.txt").write_text("click\n")
        (folder / "constraints.txt").write_text(constraint)
        asked = Requirements((), ("requirements.txt",), ("constraints.txt",), folder)
        request = Request(
            plan.Request(platforms=(LINUX,), out=tmp_path / "o"),
            asked,
            Options(index_url=f"https://user:{password}@example.com/simple"),
        )
        return packages._wanted(MATRIX, request, settings(bench), read(asked))[0].recipe

    other = tmp_path / "other"
    other.mkdir()
    assert recipe(bench.folder, "click<2", "one") == recipe(other, "click<2", "two") != recipe(other, "click<3", "two")


def test_upgrade_asks_again_and_writes_only_what_is_new(bench: Bench) -> None:
    """Without --upgrade a newer version on the index is not looked for."""
    bench.index.add(dist("click", "1.0"))
    request = asked(bench, "click")
    generate(bench, request)
    assert generate(bench, replace(request, upgrade=True))[0].up_to_date
    bench.index.add(dist("click", "2.0"))
    assert generate(bench, request)[0].up_to_date
    (result,) = generate(bench, replace(request, upgrade=True))
    assert (result.up_to_date, packages.packages_of(result.manifest)) == (False, (Package("click", "2.0"),))


def test_all_platforms_are_resolved_together(bench: Bench) -> None:
    """A platform that is added gets what the others get, even if theirs was older."""
    bench.index.add(dist("click", "1.0"))
    generate(bench, asked(bench, "click"))
    bench.index.add(dist("click", "2.0"))
    both = generate(bench, asked(bench, "click", platforms=(LINUX, WINDOWS)))
    assert {packages.packages_of(one.manifest) for one in both} == {(Package("click", "2.0"),)}


def test_skew_is_an_error_unless_it_is_allowed(bench: Bench) -> None:
    """Two versions of a package: nothing is written, and then with a note."""
    bench.index.add(dist("yaml", "2.0", tag=LINUX_TAG), dist("yaml", "1.0"))
    request = asked(bench, "yaml", platforms=(LINUX, WINDOWS))
    with pytest.raises(SkewError):
        generate(bench, request)
    assert not (bench.folder / "out").exists()
    linux, windows = generate(bench, replace(request, allow_skew=True))
    assert [packages.packages_of(one.manifest)[0].version for one in (linux, windows)] == ["2.0", "1.0"]
    assert "platforms get different versions of yaml for Python 3.14" in bench.log.notes


def test_native_file_of_another_system_is_refused(bench: Bench) -> None:
    """A wheel that is not what its name says: the error names wheel, file, and both formats."""
    tag, name = "cp314-cp314-win_amd64", "fast.cp314-win_amd64.pyd"
    bench.index.add(dist("other"), dist("fast", tag=tag, files={name: native.pe(machine=0xAA64)}))
    with pytest.raises(PipError) as caught:
        generate(bench, asked(bench, "fast", "other", platforms=(WINDOWS,)))
    assert str(caught.value).startswith(
        f"packing for windows/amd64, Python 3.14: {name} of fast-1.0-{tag}.whl is pe for "
    )
    assert not (bench.folder / "out").exists()


def test_native_file_that_may_be_data_is_told(bench: Bench) -> None:
    """A launcher for Windows in a wheel for all platforms is packed, with a note."""
    bench.index.add(dist("tool", files={"tool/t64.exe": native.pe()}))
    (result,) = generate(bench, asked(bench, "tool"))
    assert "tool/t64.exe" in {entry.name for entry in result.manifest.entries}
    (note,) = bench.log.notes
    assert note.startswith("linux/amd64, Python 3.14: tool/t64.exe of tool-1.0-py3-none-any.whl is pe for x86_64, ")


def test_failure_leaves_what_was_there(bench: Bench) -> None:
    """Requirements that cannot be satisfied, and a wheel that is damaged, change nothing on disk."""
    good = dist("click")
    bench.index.add(good, replace(dist("broken"), data=b"no zip"))
    generate(bench, asked(bench, "click"))
    before = contents(bench.folder / "out")
    for requirement in ("absent", "broken"):
        with pytest.raises((PipError, ArchiveError)):
            generate(bench, asked(bench, requirement, platforms=(LINUX, WINDOWS)))
        assert contents(bench.folder / "out") == before
    assert not [*(bench.cache.root / "temporary").glob("run-*")]


def test_interpreter_is_not_replaced(bench: Bench) -> None:
    """Packages do not go where an interpreter is: the folders have the same names."""
    bench.index.add(dist("click"))
    (result,) = generate(bench, asked(bench, "click"))
    path = result.job.directory / "files.json"
    values = json.loads(path.read_text())
    values["origin"]["flavour"] = "install_only"
    path.write_text(json.dumps(values))
    with pytest.raises(UsageError, match="holds an interpreter, not packages; choose another --out"):
        generate(bench, asked(bench, "click"))
    path.write_text("{}")
    with pytest.raises(UsageError, match="is there and is no bundle"):
        generate(bench, asked(bench, "click"))


def test_packages_are_not_replaced(bench: Bench) -> None:
    """Nor does an interpreter go where packages are."""
    bench.index.add(dist("click"))
    (result,) = generate(bench, asked(bench, "click"))
    with pytest.raises(UsageError, match="holds packages, not an interpreter; choose another --out"):
        output.check([result.job], [result.job], MATRIX)


def test_offline_takes_what_is_here(bench: Bench) -> None:
    """Wheels of a folder are enough; an index is not asked."""
    links = bench.folder / "links"
    links.mkdir()
    dist("click").write(links)
    bench.index.add(dist("click", "2.0"))
    request = asked(bench, "click")
    request = replace(request, options=replace(request.options, find_links=("links",)))
    (result,) = generate(bench, request, offline=True)
    assert packages.packages_of(result.manifest) == (Package("click", "1.0"),)
    assert bench.index.paths == []


def test_url_of_a_requirement_is_recorded(bench: Bench) -> None:
    """direct_url.json says where a wheel came from, unless that is a path of this machine."""
    wheel = dist("click")
    bench.index.add(wheel)
    (result,) = generate(bench, asked(bench, f"click @ {bench.index.link(wheel)}"))
    assert emit.read_bundle(result.job.directory) == result.manifest
    assert "click-1.0.dist-info/direct_url.json" in {entry.name for entry in result.manifest.entries}
    path = wheel.write(bench.folder)
    (result,) = generate(bench, asked(bench, f"click @ {path.as_uri()}"))
    assert "click-1.0.dist-info/direct_url.json" not in {entry.name for entry in result.manifest.entries}
    assert generate(bench, asked(bench, f"click @ {path.as_uri()}"))[0].up_to_date


def test_remote_requirement_file_is_never_up_to_date(bench: Bench, no_pip: Callable[[], None]) -> None:
    """Nobody knows what a server would say now."""
    bench.index.add(dist("click"))
    request = asked(bench, files=(f"{bench.index.url}/requirements.txt",))
    no_pip()
    with pytest.raises(pytest.fail.Exception, match="pip was started"):
        generate(bench, request)


def test_lock_is_written_and_kept_to(bench: Bench) -> None:
    """--lock writes one file for each platform beside the requirement file; then a newer version does not count."""
    bench.index.add(dist("click", "1.0", requires=("colorama; sys_platform == 'win32'",)), dist("colorama"))
    (bench.folder / "sub").mkdir()
    request = asked(bench, files=(bench.write("sub/requirements.txt", "click>=1\n"),), platforms=(LINUX, WINDOWS))
    locked = replace(request, lock=True)
    first = generate(bench, locked)
    assert sorted(path.name for path in (bench.folder / "sub").glob("pylock*")) == [
        *("pylock.linux-amd64.toml", "pylock.windows-amd64.toml"),
    ]
    assert [one.up_to_date for one in generate(bench, request)] == [True, True]
    assert [one.up_to_date for one in generate(bench, locked)] == [True, True]
    bench.index.add(dist("click", "2.0"))
    bench.index.paths.clear()
    assert [one.manifest for one in generate(bench, request, force=True)] == [one.manifest for one in first]
    assert not [path for path in bench.index.paths if path.startswith("/simple")]
    with pytest.raises(UsageError, match="give --lock, which renews it"):
        generate(bench, replace(request, upgrade=True))
    assert packages.packages_of(generate(bench, locked)[0].manifest) == (Package("click", "2.0"),)
    assert generate(bench, request)[0].up_to_date


def test_lock_of_other_requirements_is_refused(bench: Bench) -> None:
    """What was locked is not what is asked for now: the error names the lock and --lock."""
    bench.index.add(dist("click"))
    request = asked(bench, files=(bench.write("requirements.txt", "click\n"),))
    generate(bench, replace(request, lock=True))
    bench.write("requirements.txt", "click<2\n")
    with pytest.raises(PipError, match=r"^reading the lock .*pylock.linux-amd64.toml: .*--lock"):
        generate(bench, request)
    assert generate(bench, replace(request, lock=True))[0].up_to_date is False


def test_platform_without_lock_is_resolved(bench: Bench) -> None:
    """It must agree with the others; that it has no lock is told."""
    bench.index.add(dist("click"))
    request = asked(bench, files=(bench.write("requirements.txt", "click\n"),))
    generate(bench, replace(request, lock=True))
    both = replace(request, bundles=replace(request.bundles, platforms=(LINUX, WINDOWS)))
    generate(bench, both)
    assert "there is no lock for windows/amd64, Python 3.14; --lock writes one" in bench.log.notes
    bench.index.add(dist("click", "2.0"))
    with pytest.raises(SkewError):
        generate(bench, both, force=True)


def test_lock_without_a_requirement_file_is_refused(bench: Bench) -> None:
    """There would be no place for it."""
    with pytest.raises(UsageError, match="--lock writes beside a requirement file, and none is named"):
        generate(bench, replace(asked(bench, "click"), lock=True))


def test_locked_wheels_are_enough_offline(bench: Bench) -> None:
    """With a lock and a warm cache nothing is asked for, not even if the bundle is gone."""
    bench.index.add(dist("click"))
    request = asked(bench, files=(bench.write("requirements.txt", "click\n"),))
    first = generate(bench, replace(request, lock=True))
    shutil.rmtree(bench.folder / "out")
    bench.index.paths.clear()
    (again,) = generate(bench, request, offline=True)
    assert (again.manifest, bench.index.paths) == (first[0].manifest, [])


def test_offline_refuses_what_a_server_has(bench: Bench) -> None:
    """A URL of a wheel, of a requirement file and of a page of wheels: nothing is asked for."""
    wheel = dist("click")
    bench.index.add(wheel)
    bench.write("links.txt", f"--find-links {bench.index.simple}/click/\nclick\n")
    for request in (
        asked(bench, f"click @ {bench.index.link(wheel)}"),
        asked(bench, files=(f"{bench.index.url}/requirements.txt",)),
        asked(bench, files=("links.txt",)),
    ):
        with pytest.raises(PipError, match=r"^resolving .*http.*: --offline allows only what is on this machine; run "):
            generate(bench, request, offline=True)
    assert bench.index.paths == []


def test_prerelease_that_nothing_asks_for_is_told(bench: Bench) -> None:
    """pip takes one without a word if no final release fits."""
    bench.index.add(dist("click", "2.0rc1"))
    generate(bench, asked(bench, "click"))
    assert [note for note in bench.log.notes if note.startswith("click 2.0rc1 is a pre-release that nothing asks for")]
    bench.log.notes.clear()
    request = asked(bench, "click")
    generate(bench, replace(request, options=replace(request.options, pre=True)))
    assert bench.log.notes == []


def test_what_pip_was_asked_comes_back(bench: Bench) -> None:
    """Local wheels and URLs have their names; markers, extras and constraints stay; files are followed."""
    wheel = dist("local", extras=("more",))
    path = wheel.write(bench.folder)
    bench.index.add(dist("click", "1.0"), dist("other"))
    bench.write("more.txt", "Other ; python_version > '3'\n")
    bench.write("requirements.txt", f"./{path.name}[more]\n-r more.txt\n")
    bench.write("constraints.txt", "click<2\n")
    what = bench.requirements(
        f"click @ {bench.index.link(dist('click', '1.0'))} ; os_name == 'posix'",
        files=("requirements.txt",),
        constraints=("constraints.txt",),
    )
    (found,) = bench.resolve(what)
    assert set(found.requirements) == {
        Requirement(f"click @ {bench.index.link(dist('click', '1.0'))} ; os_name == 'posix'"),
        Requirement(f"local[more] @ {path.as_uri()}"),
        Requirement("Other; python_version > '3'"),
    }
    assert [str(one) for one in found.constraints] == ["click<2"]
    options = Options(index_url=bench.index.simple)
    assert resolve.ask(what, found.target, pip=bench.pip, options=options) == (found.requirements, found.constraints)


def test_what_pip_chose_is_checked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that lacks a dependency is no resolution."""
    bench.index.add(dist("click", requires=("colorama",)), dist("colorama"))
    whole = resolve._items
    monkeypatch.setattr(resolve, "_items", lambda *arguments: whole(*arguments)[:1])
    with pytest.raises(
        PipError, match=r"^checking what pip chose for linux/amd64, Python 3.14: click 1.0 asks for col"
    ):
        generate(bench, asked(bench, "click"))


def test_file_that_cannot_be_understood_is_refused_with_a_lock_too(bench: Bench) -> None:
    """How pip understands requirements is asked before a lock is read."""
    bench.index.add(dist("click"))
    request = asked(bench, files=(bench.write("requirements.txt", "click\n"),))
    generate(bench, replace(request, lock=True))
    bench.write("requirements.txt", "click ==== 1\n")
    with pytest.raises(PipError, match=r"^resolving .*click ==== 1"):
        generate(bench, request)


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (("fast",), "Python 3.14: fast: its wheels need glibc 2.28; give --glibc 2.28, or "),
        (("app",), "Python 3.14: fast>=1 (which app asks for): its wheels need glibc 2.28; give --glibc 2.28, or "),
        (("absent",), "Python 3.14: absent: no index in use has a package of this name; check its spelling, or "),
        (
            ("pure==3",),
            "Python 3.14: pure==3: there is no such version; the nearest with a wheel that fits is 2.0; ask ",
        ),
    ],
)
def test_refusal_says_what_there_is_instead(bench: Bench, requirements: tuple[str, ...], expected: str) -> None:
    """Of a requirement without wheels: which platform, why, and what to try; nothing that this program lacks."""
    fast = [dist("fast", tag=f"cp314-cp314-{tag}") for tag in ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64")]
    bench.index.add(*fast, dist("app", requires=("fast>=1",)), dist("pure", "2.0"))
    with pytest.raises(PipError) as caught:
        generate(bench, asked(bench, *requirements, platforms=(LINUX, "linux/arm64")))
    assert str(caught.value).startswith(f"choosing wheels for linux/amd64, Python 3.14; linux/arm64, {expected}")
    assert "--allow-sdist" not in str(caught.value)
    with pytest.raises(PipError, match=r"^choosing wheels for linux/amd64, Python 3.14: "):
        packages.preview(MATRIX, asked(bench, *requirements), settings(bench), bench.log)


def test_other_failures_are_told_as_they_are(bench: Bench) -> None:
    """Requirements that exclude each other are no matter of wheels."""
    bench.index.add(dist("click"), dist("app", requires=("click>=2",)))
    bench.index.add(dist("click", "2.0"))
    with pytest.raises(PipError, match=r"^resolving .* for linux/amd64, Python 3.14: .*loosen one of the requirements"):
        generate(bench, asked(bench, "click<2", "app"))
