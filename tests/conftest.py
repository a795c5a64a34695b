"""What every test may rely on: an environment of its own, the command line, and a mirror with tiny archives."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import pbs
from installing import build_wheel
from peer_fixtures import go, peer_mirror, peer_module, peer_out  # noqa: F401 - fixtures
from pyembed_gen.cli import main
from setting import TAG, TRIPLES, VERSION, Done, Run


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With $NO_SKIPS set (CI), a test that was skipped is a failure: nothing may be missing on that machine."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("NO_SKIPS") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing on the machine changes what a test sees: cache, mirror, proxies, go generate, working directory."""
    for name in [*os.environ]:
        if name.startswith(("PYEMBED_", "GOPACKAGE")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYEMBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYEMBED_HTTP_RETRIES", "0")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the generator's wheel, built from this checkout."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process."""

    def call(*arguments: object) -> Done:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Done(code, captured.out, captured.err)

    return call


@pytest.fixture
def run_process() -> Run:
    """Run the command line as a process of its own, with ``env`` over the present environment."""

    def call(*arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "pyembed_gen", *map(str, arguments)],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def tiny_mirror(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the file: URL of a mirror with tiny archives of the default platforms, two Python lines."""
    assets = {
        pbs.asset_name(version, TAG, triple): pbs.tiny_members(version, triple)
        for version in (VERSION, "3.13.17")
        for triple in TRIPLES.values()
    }
    return pbs.write_mirror(tmp_path_factory.mktemp("mirror"), TAG, assets).as_uri()


@pytest.fixture
def tiny(tiny_mirror: str) -> list[str]:
    """Return the options that make a run take the tiny archives."""
    return ["--mirror", tiny_mirror, "--pbs", TAG]
