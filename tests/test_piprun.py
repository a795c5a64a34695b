"""pip runs for a target, as the known version, with nothing that could mislead it, and ends when it must."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pip as installed
import pytest

from pipping import LINUX, WINDOWS
from pyembed_gen import pip_inside, piprun
from pyembed_gen.errors import PipError
from pyembed_gen.piprun import Command, Pip

# A pip that is small enough to be changed in each part; {code} runs when it is called.
FAKE = {
    "__init__.py": "__version__ = '26.3'\n",
    "_vendor/__init__.py": "",
    "_vendor/packaging/__init__.py": "",
    "_vendor/packaging/markers.py": """
import platform
def default_environment():
    names = ["implementation_name", "implementation_version", "os_name", "platform_machine", "platform_release"]
    names += ["platform_python_implementation", "platform_system", "platform_version", "python_full_version"]
    return dict.fromkeys([*names, "python_version", "sys_platform"], "host")
class Marker:
    def __init__(self, text):
        self.text = text
    def evaluate(self):
        return eval(self.text, {}, default_environment())
""",
    "_internal/__init__.py": "",
    "_internal/configuration.py": """
class Configuration:
    def __init__(self, isolated):
        pass
    def load(self):
        pass
    def items(self):
        return {}
""",
    "_internal/cli/__init__.py": "",
    "_internal/cli/main.py": "def main(arguments):\n    {code}\n",
}


@pytest.fixture
def pip(tmp_path: Path) -> Iterator[Pip]:
    with Pip(tmp_path) as made:
        yield made


def fake(folder: Path, code: str = "return 0", **changes: str) -> Path:
    """Write a pip and return the folder that has it; ``changes`` are appended to a file, by its name."""
    place = folder / "fake"
    for name, text in FAKE.items():
        path = place / "pip" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{code}", code) + changes.get(path.stem, ""))
    return place


def call(folder: Path, code: str, **changes: str) -> piprun.Outcome:
    """Run a fake pip."""
    with Pip(folder, location=fake(folder, code, **changes)) as pip:
        return pip.run([Command(("install",)), Command(("download",))], WINDOWS, cwd=folder)


def test_the_pip_of_this_environment(pip: Pip, tmp_path: Path) -> None:
    """It is the one that pyproject.toml asks for; its lines come as they are written."""
    seen: list[str] = []
    outcome = pip.run([Command(("download", "--help"))], LINUX, cwd=tmp_path, watch=seen.append)
    assert installed.__version__ == piprun.VERSION
    assert outcome.codes == (0,)
    assert outcome.lines == tuple(seen)
    assert any("pip download [options]" in line for line in seen)
    assert outcome.looks == 1
    assert [*tmp_path.iterdir()] == [tmp_path / "work"]


def test_markers_see_the_target(tmp_path: Path) -> None:
    """And the proof says that they looked."""
    code = "from pip._vendor.packaging.markers import default_environment as e; print(e()['sys_platform']); return 0"
    assert call(tmp_path, code) == piprun.Outcome((0, 0), ("win32", "win32"), 3)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"__init__": "__version__ = '26.4'"}, "it is pip 26.4, not 26.3"),
        ({"markers": "del default_environment"}, "its markers know other variables"),
        ({"markers": "def default_environment(): return {'os_name': 'x', 'more': 'y'}"}, "its markers know other"),
        (
            {"markers": "default_environment = lambda f=default_environment: f(); Marker.evaluate = lambda s: True"},
            "else",
        ),
        ({"markers": "Marker.evaluate = lambda self, e=default_environment: True"}, "its markers look elsewhere"),
        ({"markers": "import pip._internal.cli.main"}, "its markers were loaded by"),
        ({"markers": "import pip; pip.held = default_environment"}, "its markers were loaded by pip, pip._vendor"),
        ({"markers": "raise ImportError('gone')"}, "gone"),
        ({"configuration": "del Configuration"}, "cannot import name 'Configuration'"),
    ],
)
def test_a_pip_that_cannot_be_steered(tmp_path: Path, changes: dict[str, str], problem: str) -> None:
    """A pip that is another one inside is not run at all."""
    if "__init__" in changes:
        changes = {"__init__": f"\n{changes['__init__']}\n"}
    place = fake(tmp_path, "open('ran', 'w'); return 0", **{name: f"\n{text}\n" for name, text in changes.items()})
    with (
        Pip(tmp_path, location=place) as pip,
        pytest.raises(PipError, match=rf"^steering pip 26.3 for windows/amd64, Python 3.13: .*{problem}.*; install"),
    ):
        pip.run([Command(("install",))], WINDOWS, cwd=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_command_that_fails_ends_the_job(tmp_path: Path) -> None:
    """Its exit status is told, however it leaves."""
    assert call(tmp_path, "return 5").codes == (5,)
    assert call(tmp_path, "raise SystemExit(2)").codes == (2,)
    assert call(tmp_path, "raise SystemExit('no')").codes == (1,)


def test_a_pip_that_dies(tmp_path: Path) -> None:
    """What it said last is told."""
    with pytest.raises(PipError, match=r"^running pip for .*: it ended with status 7: last words$"):
        call(tmp_path, "print('last words', flush=True); import os; os._exit(7)")
    with pytest.raises(PipError, match=r"status 1: ValueError: odd"):
        call(tmp_path, "raise ValueError('odd')")
    with pytest.raises(PipError, match="it said nothing"):
        call(tmp_path, "import os; os._exit(0)")


def test_no_credentials_in_lines(tmp_path: Path) -> None:
    """Not in what is told, not in what is shown, not in the list of processes."""
    code = "print('see https://me:secret@example.org/x'); import sys; print(sys.argv, sys.orig_argv); return 0"
    outcome = call(tmp_path, code)
    assert outcome.lines[0] == "see https://***@example.org/x"
    assert "install" not in outcome.lines[1]
    assert "secret" not in repr(Command(("--index-url=https://me:secret@example.org",)))


def test_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files lie in the run's folder, nobody types anything, Python's own settings do not count."""
    monkeypatch.setenv("PYTHONSTARTUP", "x")
    monkeypatch.setenv("PIP_NO_DEPS", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    code = (
        "import os, sys, tempfile; print(sys.stdin.read() == '', tempfile.gettempdir()); print(*sorted(os.environ)); "
    )
    outcome = call(tmp_path, code + "print(os.environ['PIP_CONFIG_FILE'], '\\u00e9'); return 0")
    assert outcome.lines[0].startswith(f"True {tmp_path}/pip-")
    assert "HTTPS_PROXY" in outcome.lines[1]
    assert [name for name in outcome.lines[1].split() if name.startswith(("PIP_", "PYTHON"))] == ["PIP_CONFIG_FILE"]
    assert outcome.lines[2] == f"{os.devnull} \u00e9"


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("subprocess.run(['git', '--version'])", "git"),
        ("subprocess.run([sys.executable, '-c', ''])", Path(sys.executable).name),
        ("os.system('true')", "true"),
        ("os.execv('/bin/true', ['true'])", "true"),
        ("os.posix_spawn('/bin/true', ['true'], {})", "true"),
    ],
)
def test_pip_starts_no_program(tmp_path: Path, code: str, refused: str) -> None:
    """Nothing is built and no repository is fetched, whatever asks for it."""
    with pytest.raises(PipError, match=f"PermissionError: pyembed-gen: pip may not run {refused}"):
        call(tmp_path, f"import os, subprocess, sys; {code}; return 0")


def test_a_keyring_may_answer(tmp_path: Path) -> None:
    """It is a program that keeps credentials."""
    keyring = tmp_path / "keyring"
    keyring.write_text("#!/bin/sh\necho answer\n")
    keyring.chmod(0o755)
    assert "answer" in call(tmp_path, f"import subprocess; subprocess.run([{str(keyring)!r}]); return 0").lines


def test_stopping_ends_what_runs(tmp_path: Path) -> None:
    """At once, from another thread; afterwards nothing can be run."""
    place = fake(tmp_path, "print('here', flush=True); import time; time.sleep(60)")
    here = threading.Event()
    errors: list[str] = []
    pip = Pip(tmp_path, location=place)

    def run() -> None:
        with pytest.raises(PipError) as caught:
            pip.run([Command(("install",))], LINUX, cwd=tmp_path, watch=lambda _: here.set())
        errors.append(str(caught.value))

    thread = threading.Thread(target=run)
    thread.start()
    assert here.wait(60)
    pip.stop()
    thread.join(60)
    assert len(errors) == 1
    with pytest.raises(PipError, match="the run is being ended"):
        pip.run([Command(("install",))], LINUX, cwd=tmp_path)
    assert not [*tmp_path.glob("pip-*")]


def test_a_pip_that_does_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed, with all that it started, when the watcher raises."""
    monkeypatch.setattr(piprun, "_GRACE", 0.1)
    code = "import signal, time, os; signal.signal(2, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(60)"
    place = fake(tmp_path, code)
    seen: list[int] = []

    def watch(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    with Pip(tmp_path, location=place) as pip, pytest.raises(KeyboardInterrupt):
        pip.run([Command(("install",))], LINUX, cwd=tmp_path, watch=watch)
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


def test_ctrl_c_is_told_once(tmp_path: Path) -> None:
    """A program that is interrupted ends its pip, and pip says nothing."""
    place = fake(tmp_path, "print('here', os.getpid(), flush=True); import time; time.sleep(60)", main="\nimport os\n")
    program = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from pathlib import Path
from pipping import LINUX
from pyembed_gen.piprun import Command, Pip
here = Path({str(tmp_path)!r})
with Pip(here, location=Path({str(place)!r})) as pip:
    pip.run([Command(("install",))], LINUX, cwd=here, watch=lambda line: print(line, flush=True))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        child = int(process.stdout.readline().split()[1])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert errors.count("KeyboardInterrupt") == 1
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        os.sched_yield()
    assert not Path(f"/proc/{child}").exists()
    assert not [*tmp_path.glob("pip-*")]


def test_a_folder_that_is_not_there(pip: Pip, tmp_path: Path) -> None:
    """The working directory of the requirements may be gone."""
    with pytest.raises(PipError, match=r"^running pip with .* in .*gone: No such file"):
        pip.run([Command(("install",))], LINUX, cwd=tmp_path / "gone")


def test_no_pip_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what to do."""
    monkeypatch.setattr(piprun, "find_spec", lambda name: None if name == "pip" else 1 / 0)
    with pytest.raises(PipError, match=r"looking for pip 26.3: there is none; install"):
        Pip(tmp_path)


def test_compiled_modules_are_kept_where_this_process_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """-I would forget it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    assert piprun._flags() == []
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "pycache_prefix", "/cache")
    assert piprun._flags() == ["-B", "-X", "pycache_prefix=/cache"]


def test_what_runs_inside_needs_no_package(tmp_path: Path) -> None:
    """The program is one file: a copy of it alone does the work."""
    copy = shutil.copy(pip_inside.__file__, tmp_path / "alone.py")
    done = subprocess.run([sys.executable, "-I", copy, "gone", "proof"], cwd=tmp_path, capture_output=True, check=False)
    assert b"FileNotFoundError" in done.stderr


def test_what_may_be_started() -> None:
    """The rule itself, which no coverage sees at work: a tracer is off in audit hooks."""
    pip_inside.guard("open", ("git",))
    pip_inside.guard("subprocess.Popen", ("/usr/bin/keyring", [], None, None))
    for event, program in (("subprocess.Popen", "/usr/bin/git"), ("os.system", b"keyring"), ("os.exec", "keyring")):
        with pytest.raises(PermissionError, match="pyembed-gen: pip may not run"):
            pip_inside.guard(event, (program,))
