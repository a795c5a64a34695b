"""Long-lived Python workers with packed libraries, as in go-jinja2: examples/jinja2, built and run from outside."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from modules import start
from peer_fixtures import Go
from setting import ROOT, Done

EXAMPLE = ROOT / "examples" / "jinja2"

# Jinja without a sandbox lets a template reach Python's os module.
OS = "{% set os = cycler.__init__.__globals__.os %}"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, go: Go) -> Path:
    """Return the example with this machine's interpreter, with Go's race detector where a C compiler is at hand."""
    module = tmp_path_factory.mktemp("workers") / "jinja2"
    ignore = shutil.ignore_patterns("data", "libs", "jinja2", "jinja2.exe")
    shutil.copytree(EXAMPLE, module, ignore=ignore)
    replace(module / "go.mod", "../../runtime", (ROOT / "runtime").as_posix())
    replace(module / "main.go", "//go:generate pyembed-gen\n", "//go:generate pyembed-gen --source host\n")
    here = go.at(module)
    here("generate", PYEMBED_CACHE=str(module.parent / "cache"))
    here("vet", "./...")
    race = shutil.which(here("env", "CC").strip()) is not None
    here("build", *["-race"] * race, "-o", "workers.exe", ".", CGO_ENABLED=str(int(race)))
    return module / "workers.exe"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return an empty folder to extract to."""
    folder = tmp_path / "extracted"
    folder.mkdir(mode=0o700)
    return folder


def replace(path: Path, old: str, new: str) -> None:
    """Replace a text that is in a file once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def write(**templates: str) -> list[str]:
    """Write templates to the working directory and return their file names."""
    for name, text in templates.items():
        Path(name).write_text(text, encoding="utf-8")
    return list(templates)


def read(pipe: int) -> bytes:
    """Wait for what is written to a pipe that was opened for reading, and close it."""
    ready, _, _ = select.select([pipe], [], [], 60)
    assert ready
    try:
        return os.read(pipe, 20)
    finally:
        os.close(pipe)


def alive(pid: int) -> bool:
    """Tell whether there is a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def render(program: Path, workers: int, *arguments: str, cache: Path, environ: Mapping[str, str] | None = None) -> Done:
    """Render templates; whatever becomes of them, nothing extracted is left behind."""
    done = start(program, "-workers", str(workers), *arguments, cache=cache, environ=environ)
    assert list(cache.iterdir()) == []
    return done


def test_packing_gives_pure_python_and_the_same_bytes_again(program: Path, go: Go) -> None:
    """What is packed has both libraries with their licences and nothing that is made for one platform."""
    libs = program.parent / "libs" / "data"
    before = {path.relative_to(libs): path.read_bytes() for path in libs.rglob("*") if path.is_file()}
    names = {entry["name"] for entry in json.loads(before[Path("files.json")])["files"]}
    assert {"jinja2/environment.py", "markupsafe/_native.py"} <= names
    assert len([name for name in names if name.endswith("LICENSE.txt")]) == 2
    assert not [name for name in names if name.endswith((".so", ".pyd", ".dylib", ".pyc"))]
    go.at(program.parent)("generate", "-run", "pack", "./...")
    assert {path.relative_to(libs): path.read_bytes() for path in libs.rglob("*") if path.is_file()} == before


def test_templates_are_rendered_in_order(program: Path, cache: Path) -> None:
    """More templates than workers, with variables, come out in the order in which they were named."""
    Path("vars.json").write_text(json.dumps({"name": "Wörld", "items": [1, 2, 3]}), encoding="utf-8")
    names = write(
        **{f"t{i}": f"{i}: {{{{ name | upper }}}} {{{{ items | map('string') | join('-') }}}}\n" for i in range(20)}
    )
    done = render(program, 3, "-vars", "vars.json", *names, cache=cache)
    assert done == Done(0, "".join(f"{i}: WÖRLD 1-2-3\n" for i in range(20)), "")


def test_workers_run_at_the_same_time(program: Path, cache: Path) -> None:
    """Three templates that wait for one another are rendered, each in a process of its own, which then ends."""
    for pipe in ("pipe1", "pipe2"):  # opening one end waits for the other end
        os.mkfifo(pipe)
    opened = [("pipe1", os.O_RDONLY)], [("pipe1", os.O_WRONLY), ("pipe2", os.O_WRONLY)], [("pipe2", os.O_RDONLY)]
    texts = ["".join(f"{{{{ os.open('{pipe}', {flags}) and '' }}}}" for pipe, flags in ends) for ends in opened]
    names = write(**{f"t{i}": f"{OS}{text}{{{{ os.getpid() }}}}\n" for i, text in enumerate(texts)})
    done = render(program, 3, *names, cache=cache)
    assert (done.code, done.err) == (0, "")
    pids = {int(line) for line in done.out.split()}
    assert len(pids) == 3
    assert not any(map(alive, pids))


def test_wrong_template_is_an_error_of_that_template_alone(program: Path, cache: Path) -> None:
    """One worker says what is wrong with two templates, and renders the others before and after."""
    pid = f"{OS}{{{{ os.getpid() }}}}\n"
    names = write(a=pid, b="{{ missing }}", c=pid, d="{% if %}", e=pid)
    done = render(program, 1, *names, cache=cache)
    assert done.code == 1
    assert len(done.out.split()) == 3
    assert len(set(done.out.split())) == 1
    assert done.err == (
        "jinja2: b: UndefinedError: 'missing' is undefined\n"
        "d: TemplateSyntaxError: Expected an expression, got 'end of statement block'\n"
    )


def test_what_a_template_prints_is_no_answer(program: Path, cache: Path) -> None:
    """Standard output of the worker's code goes to standard error, not between the answers."""
    names = write(a=f"{OS}{{{{ os.system('/bin/echo noise') }}}} {{{{ os.write(1, 'loud'.encode()) }}}}\n")
    assert render(program, 1, *names, cache=cache) == Done(0, "0 4\n", "noise\nloud")


def test_crashed_worker_is_noticed_and_replaced(program: Path, cache: Path) -> None:
    """Templates that end their process are errors that say how it ended; others get another process."""
    crash = f"{OS}{{{{ os._exit(3) }}}}"
    killed = f"{OS}{{{{ os.kill(os.getpid(), {int(signal.SIGKILL)}) }}}}"
    done = render(program, 1, *write(a=crash, b="well\n", c=killed, d="done\n", e=crash), cache=cache)
    assert (done.code, done.out) == (1, "well\ndone\n")
    lines = done.err.removeprefix("jinja2: ").splitlines()
    ends = [re.fullmatch(r"(\w): worker (\d+) gave no answer: EOF \((.*)\)", line) for line in lines]
    assert [end and (end[1], end[3]) for end in ends] == [
        *(("a", "exit status 3"), ("c", "signal: killed"), ("e", "exit status 3")),
    ]
    pids = {int(end[2]) for end in ends if end}
    assert len(pids) == 3
    assert not any(map(alive, pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_workers_and_cleans_up(program: Path, cache: Path, number: signal.Signals) -> None:
    """A signal while two workers are busy: the program says so, both are gone, and so are the extracted trees."""
    for pipe in ("pid0", "pid1", "never"):
        os.mkfifo(pipe)
    names = write(
        **{
            f"t{i}": f"{OS}{{{{ os.write(os.open('pid{i}', {os.O_WRONLY}), (os.getpid() ~ '').encode()) }}}}"
            f"{{{{ os.open('never', {os.O_RDONLY}) }}}}"
            for i in range(2)
        }
    )
    environ = {"PATH": "", "PYEMBED_CACHE_DIR": str(cache)}
    pipes = [os.open(f"pid{i}", os.O_RDONLY | os.O_NONBLOCK) for i in range(2)]
    command = [str(program), "-workers", "2", *names]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        pids = [int(read(pipe)) for pipe in pipes]
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    for name, pid in zip(names, pids, strict=True):
        assert f"{name}: worker {pid} gave no answer: context canceled (signal: killed)\n" in err
    assert not any(map(alive, pids))
    assert list(cache.iterdir()) == []


def test_nothing_of_the_users_python_gets_in(program: Path, cache: Path) -> None:
    """Variables and modules that are there for another Python don't matter."""
    Path("jinja2.py").write_text("raise SystemExit('the wrong jinja2')\n", encoding="utf-8")
    environ = {"PYTHONPATH": str(Path.cwd()), "PYTHONHOME": "/nowhere", "PYTHONSTARTUP": "/nowhere", "PYTHONUTF8": "0"}
    assert render(program, 1, *write(a="fine\n"), cache=cache, environ=environ) == Done(0, "fine\n", "")


def test_worker_that_cannot_start_is_an_error(program: Path, cache: Path, tmp_path: Path, go: Go) -> None:
    """Workers that break off before they are ready are an error that says so, and no process or tree stays."""
    module = tmp_path / "module"
    shutil.copytree(program.parent, module, copy_function=os.link)
    (module / "worker.py").unlink()
    (module / "worker.py").write_text("raise SystemExit('no way')\n", encoding="utf-8")
    go.at(module)("build", "-o", "broken.exe", ".")
    done = render(module / "broken.exe", 2, *write(a="fine\n"), cache=cache)
    assert (done.code, done.out) == (1, "")
    assert done.err.count("no way\n") == 2
    assert len(re.findall(r"start a worker: worker \d+ gave no answer: EOF \(exit status 1\)", done.err)) == 2
