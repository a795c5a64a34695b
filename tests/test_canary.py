"""A pip that sees anything but the target is found out, whichever part of it went astray."""

import json
import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.tags import Tag, sys_tags
from packaging.utils import parse_wheel_filename

from index import dist
from pipping import LINUX, ROWS, WINDOWS, Bench, pipping
from pyembed_gen import canary, resolve
from pyembed_gen.errors import PipError
from pyembed_gen.piprun import Command
from pyembed_gen.target import Target, choose

HOST = choose(ROWS[f"{sys.platform}/amd64"], platform.python_version(), {"glibc": "2.28"})
RUN = resolve._RESOLVE
TARGETS = [choose(row, version) for row in ROWS.values() for version in ("3.11.17", "3.14.9")]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with pipping(tmp_path, monkeypatch) as made:
        yield made


def ask(
    bench: Bench,
    target: Target,
    *,
    seen: Target | None = None,
    change: Callable[[list[str]], list[str]] = list,
    machine: tuple[Tag, ...] | None = None,
) -> dict[str, Any] | None:
    """Ask a pip that sees another target, or gets other arguments; return its report."""
    folder = bench.folder / "canary"
    folder.mkdir()
    canary.write(folder, target, machine)
    command = canary.command(folder, target, folder / "report.json", (*RUN, *target.options))
    bench.pip.run([Command(tuple(change([*command.arguments])), settings=False)], seen or target, cwd=folder)
    report = folder / "report.json"
    return json.loads(report.read_text()) if report.exists() else None


@pytest.mark.parametrize("target", [*TARGETS[::5], HOST], ids=lambda target: target.label)
def test_a_steered_pip_is_right(bench: Bench, target: Target) -> None:
    """It takes the one wheel that is right, whose tag is the lowest that fits."""
    report = ask(bench, target)
    canary.check(report, target)
    assert report
    assert any(str(target.lowest_tag) in item["download_info"]["url"] for item in report["install"])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.platform.key} {target.version}")
def test_only_one_wheel_fits(tmp_path: Path, target: Target) -> None:
    """By their names: of hit those for the target, of miss one that fits and one that never does."""
    canary.write(tmp_path, target)
    fits = set(target.tags)
    names = sorted(path.name for path in tmp_path.glob("*.whl"))
    assert all(len(name) < 256 for name in names)
    found = {name[:-4].split("-")[0][15:] + name.split("-")[1] for name in names if tags(name) & fits}
    assert found == {"hit1", "hit4", "deep1", "deep2", "miss2"}
    assert any("miss-1" in name for name in names)


def tags(name: str) -> set[Tag]:
    """Return the tags of a wheel's name."""
    return set(parse_wheel_filename(name)[3])


def test_wheels_are_the_same_each_time(tmp_path: Path) -> None:
    """Names and sizes."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        canary.write(tmp_path / name, LINUX)
    first, second = ({p.name: p.stat().st_size for p in (tmp_path / n).iterdir()} for n in ("a", "b"))
    assert first == second


def dropped(*options: str) -> Callable[[list[str]], list[str]]:
    """Return what a pip would see that ignores some options."""
    return lambda arguments: [each for each in arguments if not each.startswith(options)]


@pytest.mark.parametrize(
    ("target", "seen", "change"),
    [
        (WINDOWS, HOST, list),
        (LINUX, HOST, list),
        (replace(HOST, version="3.11.99"), HOST, list),
        (WINDOWS, None, dropped("--platform")),
        (HOST, None, dropped("--platform")),
        (LINUX, None, dropped("--platform")),
        (LINUX, None, dropped("--python-version", "--implementation", "--abi")),
        (LINUX, None, dropped("--python-version")),
        (replace(HOST, version="3.11.99"), None, dropped("--python-version")),
        (LINUX, None, dropped(*LINUX.options[-1:])),
        (LINUX, None, lambda arguments: [*arguments, "--platform=win_amd64"]),
        (LINUX, None, dropped("--constraint")),
        (LINUX, None, dropped("--find-links")),
        (LINUX, None, lambda arguments: [*arguments, "--no-deps"]),
        (LINUX, None, lambda arguments: [*arguments, "--ignore-requires-python"]),
    ],
)
def test_a_pip_that_is_not_steered_is_found_out(
    bench: Bench, target: Target, seen: Target | None, change: Callable[[list[str]], list[str]]
) -> None:
    """Markers of another machine, tags of this one, a lost option: none of it gives the right answer."""
    report = ask(bench, target, seen=seen, change=change)
    with pytest.raises(PipError, match=rf"^steering pip 26.3 for {re.escape(target.label)}: .* it took .*; install"):
        canary.check(report, target)


def test_the_environment_is_compared(bench: Bench) -> None:
    """Even where everything else is right."""
    report = ask(bench, LINUX)
    assert report
    report["environment"]["platform_release"] = "6.1"
    with pytest.raises(PipError, match="steering"):
        canary.check(report, LINUX)


def test_a_machine_that_is_the_target(bench: Bench) -> None:
    """Nothing of the machine is foreign then; the other platforms still are."""
    report = ask(bench, HOST, machine=HOST.tags)
    canary.check(report, HOST)
    assert {tag.platform for tag in sys_tags()} - {tag.platform for tag in HOST.tags}
    assert not canary._foreign_pythons(HOST, HOST.tags)


@pytest.mark.parametrize(
    ("options", "took"), [(("--python-version=3.14.9",), "pyembed-canary"), (("--frobnicate",), "nothing")]
)
def test_a_wrong_answer_is_no_resolution(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], took: str
) -> None:
    """The whole way: tags that pip does not get end in an error, whatever the resolution was."""
    bench.index.add(dist("anything"))
    monkeypatch.setattr(Target, "options", options)
    with pytest.raises(PipError, match=f"steering pip 26.3 for linux/amd64.* it took {took}"):
        bench.resolve("anything")
