"""WithIsolation, WithPackages, AddPythonPath and scripts from a file system, with real interpreters and a hostile user.

Every test runs with the Python that runs the tests and, on linux/amd64, with 3.14.6 and 3.13.1 of
python-build-standalone.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipapp
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from modules import HELLO
from peer_fixtures import Go, generate
from setting import ROOT, Done

WINDOWS = sys.platform == "win32"

# Where an interpreter, and the directory with its packages, is in an environment.
EXECUTABLE = Path("Scripts", "python.exe") if WINDOWS else Path("bin", "python3")
SITE = "Lib/site-packages" if WINDOWS else "lib/python*/site-packages"

SOURCE = Path(__file__).parent / "isolation" / "main.go"

# Prints what a process, and one of each kind that it starts, knows of its surroundings.
FACTS = r"""
import json, multiprocessing, os, random, site, subprocess, sys, sysconfig

def facts(_=None):
    return {
        "executable": sys.executable,
        "path": sys.path,
        "modules": [random.__file__, json.__file__],
        "custom": [name for name in ("sitecustomize", "usercustomize", "from_user_site") if name in sys.modules],
        "user": bool(site.ENABLE_USER_SITE),
        "variables": sorted(name for name in os.environ if "PYTHON" in name or "PYVENV" in name),
        "flags": [sys.flags.isolated, sys.flags.safe_path, sys.flags.inspect, sys.warnoptions],
        "bytecode": not sys.dont_write_bytecode,
        "ran": getattr(sys, "pth_ran", 0),
    }

if __name__ == "__main__":
    said = {"self": facts()}
    if "child" not in sys.argv:
        child = subprocess.run([sys.executable, __file__, "child"], capture_output=True, text=True, check=True)
        said["subprocess"] = json.loads(child.stdout)["self"]
        for method in {"spawn", "forkserver"} & {*multiprocessing.get_all_start_methods()}:
            with multiprocessing.get_context(method).Pool(1) as pool:
                said[method] = pool.map(facts, [None])[0]
        said["paths"] = [os.__file__, sysconfig.get_path("stdlib"), sys._base_executable]
    print(json.dumps(said))
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A user's machine: a program with a bundle, a cache, and what the user has for other Pythons."""

    program: Path
    bundle: Path
    folder: Path
    prefix: Sequence[str] = ()

    @property
    def cwd(self) -> Path:
        """The current directory, with modules that nobody should import."""
        return self.folder / "cwd"

    @property
    def cache(self) -> Path:
        """Where the program extracts to."""
        return self.folder / "cache"

    @property
    def environ(self) -> Mapping[str, str]:
        """The user's environment."""
        needed = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
        return {
            **needed,
            "PATH": "",
            "HOME": str(self.folder / "home"),
            "LOCALAPPDATA": str(self.folder / "home"),
            "TMPDIR": str(self.folder),
            "TMP": str(self.folder),
            "PYTHONPATH": str(self.folder / "evil"),
            "PYTHONHOME": "/nowhere",
            "PYTHONSTARTUP": str(self.folder / "evil" / "json.py"),
            "PYTHONUSERBASE": str(self.folder / "user"),
            "PYTHONINSPECT": "1",
            "PYTHONWARNINGS": "error",
            "PYTHONEXECUTABLE": "/nowhere/python",
            "__PYVENV_LAUNCHER__": "/nowhere/python",
        }

    @property
    def clean(self) -> Mapping[str, str]:
        """The user's environment without what is there for Python."""
        return {name: value for name, value in self.environ.items() if "PY" not in name}

    @property
    def tree(self) -> Path:
        """The one extracted interpreter."""
        (tree,) = (path.with_suffix("") for path in self.cache.glob("python-????????????????.lock"))
        return tree

    def try_run(self, *arguments: object, **request: object) -> Done:
        """Run the program as the request says."""
        document = {"bundle": str(self.bundle), "cache": str(self.cache), "args": [*map(str, arguments)], **request}
        done = subprocess.run(
            [*self.prefix, self.program, json.dumps(document)],
            env=self.environ,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=120,
        )
        out, err = (said.decode(errors="replace").replace("\r\n", "\n") for said in (done.stdout, done.stderr))
        return Done(done.returncode, out, err)

    def run(self, *arguments: object, **request: object) -> str:
        """Run the program, which must succeed and complain about nothing, and return what it says."""
        done = self.try_run(*arguments, **request)
        assert (done.code, done.err) == (0, ""), done.err
        return done.out

    def says(self, expression: str, **request: object) -> object:
        """Return what an expression is in the interpreter."""
        return json.loads(self.run("-c", f"import json, os, sys; print(json.dumps({expression}))", **request))

    def facts(self, **request: object) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """Return what the interpreter and its children know, and where its library and its own executable are."""
        script = self.folder / "facts.py"
        script.write_text(FACTS, encoding="utf-8")
        said = json.loads(self.run(script, **request))
        return said, said.pop("paths")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory, go: Go) -> Path:
    """Return the program that runs the Python of any bundle."""
    folder = tmp_path_factory.mktemp("isolation")
    shutil.copy(SOURCE, folder)
    for name in ("go.mod", "go.sum"):
        text = (HELLO / name).read_text(encoding="utf-8").replace("../../runtime", (ROOT / "runtime").as_posix())
        (folder / name).write_text(text, encoding="utf-8")
    go.at(folder)("build", "-o", "isolation.exe", ".")
    return folder / "isolation.exe"


def _host(out: Path, _request: pytest.FixtureRequest) -> None:
    command = [sys.executable, "-m", "pyembed_gen", "--source", "host", "--out", str(out)]
    subprocess.run([*command, "--cache-dir", str(out.parent / "cache")], check=True, capture_output=True)


def _peer_314(out: Path, request: pytest.FixtureRequest) -> None:
    mirror_url: str = request.getfixturevalue("peer_mirror")
    generate(out, mirror_url, out.parent / "cache", platforms=["linux/amd64"])


def _peer_313(out: Path, _request: pytest.FixtureRequest) -> None:
    import mirror  # noqa: PLC0415 - bench/, for this test alone

    folder = out.parent / "mirror"
    mirror.build(folder, platforms=["linux/amd64"], version="3.13.1", level=1)
    command = [sys.executable, "-m", "pyembed_gen", "--mirror", folder.as_uri(), "--pbs", "20241219"]
    command += ["--python", "3.13.1", "--only-platforms", "linux/amd64", "--out", str(out)]
    subprocess.run([*command, "--cache-dir", str(out.parent / "cache")], check=True, capture_output=True)


LINUX = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="runs a linux/amd64 interpreter"
)

BUNDLES: dict[str, Callable[[Path, pytest.FixtureRequest], None]] = {
    "host": _host,
    "3.14.6": _peer_314,
    "3.13.1": _peer_313,
}


@pytest.fixture(
    scope="session",
    params=["host", *(pytest.param(name, marks=[pytest.mark.peer, LINUX]) for name in ("3.14.6", "3.13.1"))],
)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of a real interpreter for this machine."""
    out = tmp_path_factory.mktemp("bundle") / "out"
    BUNDLES[request.param](out, request)
    (folder,) = out.glob("*-*/")
    return folder


def _user_site(version: str) -> str:
    """Return where a Python looks for the user's packages below $PYTHONUSERBASE, as site.py says."""
    line = version.rpartition(".")[0]
    if WINDOWS:
        return f"Python{line.replace('.', '')}/site-packages"
    return (
        "lib/python/site-packages" if sysconfig.get_config_var("PYTHONFRAMEWORK") else f"lib/python{line}/site-packages"
    )


@pytest.fixture
def machine(program: Path, bundle: Path, tmp_path: Path) -> Machine:
    """Return a machine where everything that can lead a Python astray does."""
    machine = Machine(program, bundle, tmp_path)
    version = json.loads((bundle / "files.json").read_bytes())["origin"]["python"]
    user_site = tmp_path / "user" / _user_site(version)
    for folder in (machine.cwd, tmp_path / "evil", tmp_path / "home", user_site):
        folder.mkdir(parents=True)
    for name in ("random.py", "json.py", "sitecustomize.py", "helper.py"):
        for folder in (machine.cwd, tmp_path / "evil"):
            (folder / name).write_text("evil = True\n", encoding="utf-8")
    (user_site / "from_user_site.py").write_text("", encoding="utf-8")
    (user_site / "user.pth").write_text("import from_user_site\n", encoding="utf-8")
    return machine


def test_without_isolation_the_user_is_seen(machine: Machine) -> None:
    """The control: sitecustomize of PYTHONPATH, the user site's .pth and variables take effect, but not PYTHONHOME."""
    said = machine.try_run(
        "-c",
        "import os, sys; print([n in sys.modules for n in ('sitecustomize', 'from_user_site')], sys.warnoptions,"
        " sorted(n for n in os.environ if 'PYTHON' in n or 'PYVENV' in n), flush=True); os._exit(0)",
    )
    variables = ["PYTHONINSPECT", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONWARNINGS"]
    assert said.out == f"[True, True] ['error'] {variables}\n", said.err


@pytest.mark.parametrize("hashed", [False, True], ids=["stat", "hash"])
def test_isolated_sees_nothing_of_the_user(machine: Machine, *, hashed: bool) -> None:
    """Neither the interpreter nor any child sees the user's variables, site or directory; all have one sys.path."""
    said, paths = machine.facts(isolation=True, hash=hashed)
    tree = machine.tree
    for who, facts in said.items():
        assert facts["executable"] == said["self"]["executable"], who
        assert [path for path in facts["path"] if str(machine.folder / "cache") not in path] == [], who
        assert all(str(path).startswith(str(machine.cache)) for path in facts["modules"]), who
        assert (facts["custom"], facts["user"], facts["variables"]) == ([], False, []), who
        assert facts["flags"] == [1, True, 0, []], who
        assert facts["bytecode"] is not hashed, who
    assert set(said) == {"self", "subprocess", "spawn", *([] if WINDOWS else ["forkserver"])}
    overlay = Path(said["self"]["executable"]).parent.parent
    assert overlay.name.startswith(f"{tree.name}.env-")
    assert Path(paths[0]).parent == Path(paths[1])
    assert Path(paths[1]).resolve() == (tree / "Lib" if WINDOWS else next((tree / "lib").glob("python3.*")))
    assert Path(paths[2]).resolve() == (tree / ("python.exe" if WINDOWS else "bin/python3")).resolve()
    assert bool([*tree.rglob("*.pyc")]) is not hashed


NAMES: list[str | bytes] = ["plain", "a b", "hash#tag", "import os", "üñï", "it's"]
NAMES += [] if WINDOWS else ["two\nlines", " edge ", "co:lon", "quote's \\ \""]
NAMES += [b"latin-\xe9"] if sys.platform == "linux" else []


@pytest.mark.parametrize("name", NAMES)
def test_packages(machine: Machine, name: bytes | str) -> None:
    """Packages come after the library and their .pth files count, added paths before it, by any name.

    A namespace package is one, however many directories it lies in.
    """
    first, second, added = (machine.folder / part / os.fsdecode(name) for part in ("one", "two", "three"))
    for number, folder in enumerate((first, second)):
        (folder / "space").mkdir(parents=True)
        (folder / "space" / f"part{number}.py").touch()
        (folder / "json.py").write_text("evil = True\n", encoding="utf-8")
    (first / "more").mkdir()
    (first / "more" / "deep.py").touch()
    (first / "a.pth").write_text("more\nimport sys; sys.pth_ran = getattr(sys, 'pth_ran', 0) + 1\n", encoding="utf-8")
    added.mkdir(parents=True)
    (added / "added.py").touch()
    said = machine.says(
        "[sys.path, json.__file__, [__import__(n).__name__ for n in ('deep', 'added')],"
        " __import__('space.part0').part0.__name__, __import__('space.part1').part1.__name__]",
        packages=raw(first, second),
        path=raw(added),
    )
    assert isinstance(said, list)
    path, where, *names = said
    assert names == [["deep", "added"], "space.part0", "space.part1"]
    assert where.startswith(str(machine.cache))
    assert (path[0], path[-3:]) == (str(added), [str(first), str(first / "more"), str(second)])


def test_children_have_the_packages(machine: Machine) -> None:
    """All kinds of children have the same sys.path, and run each .pth file once."""
    (machine.folder / "site").mkdir()
    (machine.folder / "first").mkdir()
    counts = "import sys; sys.pth_ran = getattr(sys, 'pth_ran', 0) + 1\n"
    (machine.folder / "site" / "a.pth").write_text(counts, encoding="utf-8")
    facts, _ = machine.facts(packages=raw(machine.folder / "site"), path=raw(machine.folder / "first"))
    for who, said in facts.items():
        path = said["path"]
        assert (path[0], path[-1]) == (str(machine.folder / "first"), str(machine.folder / "site")), who
        assert path == facts["self"]["path"], who
        assert said["ran"] == 1, who


def raw(*paths: Path) -> list[str]:
    """Return paths as the program reads them: bytes, in base64."""
    return [base64.b64encode(os.fsencode(path)).decode() for path in paths]


def test_modules_zipapps_and_environments(machine: Machine) -> None:
    """With isolation python -m, a zipapp, and an environment made by the venv module work."""
    assert "Usage" in machine.run("-m", "zipfile", "-h", isolation=True).replace("usage", "Usage")
    app = machine.folder / "app"
    app.mkdir()
    (app / "__main__.py").write_text("import inside; print(inside.__name__)\n", encoding="utf-8")
    (app / "inside.py").touch()
    zipapp.create_archive(app, machine.folder / "app.pyz")
    assert machine.run(machine.folder / "app.pyz", isolation=True) == "inside\n"
    machine.run("-m", "venv", "--without-pip", machine.folder / "venv", isolation=True)
    asked: list[str | Path] = [machine.folder / "venv" / EXECUTABLE, "-c"]
    asked.append("import os, sys; print(sys.prefix, os.__file__)")
    said = subprocess.run(asked, env={**machine.clean}, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{machine.folder / 'venv'} {machine.tree}{os.sep}")


@pytest.mark.parametrize("isolation", [False, True], ids=["open", "isolated"])
def test_scripts_of_a_file_system(machine: Machine, *, isolation: bool) -> None:
    """A script, and a module, finds what lies beside it and at the root, whatever is in the current directory."""
    scripts = machine.folder / "scripts"
    (scripts / "app").mkdir(parents=True)
    (scripts / "app" / "__init__.py").touch()
    (scripts / "app" / "beside.py").touch()
    (scripts / "helper.py").write_text("evil = False\n", encoding="utf-8")
    says = "import sys, helper; print(helper.evil, sys.argv[1:], __name__, __package__)\n"
    (scripts / "app" / "main.py").write_text(f"import beside\n{says}", encoding="utf-8")
    (scripts / "app" / "__main__.py").write_text(says, encoding="utf-8")
    (machine.cwd / "app.py").write_text("print('evil')\n", encoding="utf-8")
    for expected, asked in (
        ("False ['x'] __main__ None\n", {"script": "app/main.py"}),
        ("False ['x'] __main__ app\n", {"module": "app"}),
        ("False ['x'] __main__ app\n", {"module": "app.__main__"}),
    ):
        done = machine.try_run("x", scripts=str(scripts), isolation=isolation, **asked)
        assert done.out == expected, done.err
    for asked in ({"script": "../facts.py"}, {"script": "none.py"}, {"script": "app"}, {"module": "json"}):
        assert machine.try_run(scripts=str(scripts), isolation=isolation, **asked).code == 1


def test_planted_files_are_gone(machine: Machine) -> None:
    """What somebody puts into the overlay is removed, and what is changed in it put back, before Python starts."""
    executable = Path(str(machine.says("sys.executable", isolation=True)))
    overlay = executable.parent.parent
    before = sorted(overlay.rglob("*"))
    (site,) = overlay.glob(SITE)
    (site / "sitecustomize.py").write_text("evil = True\n", encoding="utf-8")
    (site / "evil.pth").write_text("import sys; sys.evil = True\n", encoding="utf-8")
    executable.with_name(f"{executable.stem}._pth").unlink()
    if not WINDOWS:
        (overlay / "bin" / "lib").unlink()
        (overlay / "bin" / "lib").symlink_to(machine.cwd)
    assert machine.says("['sitecustomize' in sys.modules, hasattr(sys, 'evil')]", isolation=True) == [False, False]
    assert sorted(overlay.rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
def test_read_only_image(machine: Machine) -> None:
    """Beside a tree that can't be written, as in an image, there is no overlay: it is made in the user's own cache."""
    machine.run("-c", "pass")
    script = f'mount --bind {machine.cache} {machine.cache} && mount -o remount,ro,bind {machine.cache} && exec "$@"'
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "/bin/sh", "-c"]
    before = sorted(machine.cache.iterdir())
    read_only = replace(machine, prefix=("/usr/bin/env", f"PATH={os.defpath}", *namespace, script, "sh"))
    executable = Path(str(read_only.says("sys.executable", isolation=True)))
    assert sorted(machine.cache.iterdir()) == before
    home = machine.folder / "home" / ".cache" / "pyembed"
    assert executable.parent.parent.parent == home
    assert executable.parent.parent.name.startswith(f"{machine.tree.name}.env-")
