"""What the Go runtime promises to a program on a shared machine, seen from outside: real processes, a real CPython.

The program is programs/probe, which opens the Python that it carries with the default options, so that the
environment decides, and says on one line of JSON what it saw. Tests that need root (other users, mounts) are
skipped without it, which CI counts as a failure.
"""

import contextlib
import hashlib
import itertools
import json
import os
import random
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modules import fresh_module
from peer_fixtures import Go

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts, other users and signals as Linux has them")
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to act as other users and to mount"
)

PROBE = Path(__file__).parent / "programs" / "probe" / "main.go"
OTHER = 12345  # a user without passwd entry and without a home
_DIR, _LINK = 1 << 31, 1 << 27  # Go's fs.FileMode
_STAMP = ".pyembed-stamp"
_LEASE = ".pyembed-lease"

# Modules that a start imports; WORKS proves that they do something.
IMPORTED = ("string", "textwrap", "json", "csv", "sqlite3", "zlib", "decimal", "argparse")
WORKS = (
    f"import {', '.join(IMPORTED)}; print(json.dumps([string.digits, zlib.crc32(b'x'), sqlite3.sqlite_version > '3']))"
)
RIGHT = '["0123456789", 2363233923, true]\n'


@dataclass(frozen=True, slots=True)
class Program:
    """A built probe: where it is, and the bundle in it."""

    path: Path
    bundle: Path

    @property
    def tree(self) -> str:
        """Return the name of the tree that it extracts."""
        return f"probe-{self.manifest()['contentHash'][:16]}"

    def manifest(self) -> dict[str, Any]:
        """Return the bundle's files.json."""
        content: dict[str, Any] = json.loads((self.bundle / "files.json").read_bytes())
        return content

    def names(self) -> list[str]:
        """Return the names of the bundle's regular files."""
        return [entry["name"] for entry in self.manifest()["files"] if not entry["perm"] & (_DIR | _LINK)]

    def stdlib(self) -> str:
        """Return the folder of the standard library below the tree."""
        (name,) = [name for name in self.names() if name.endswith("/string.py") and name.count("/") == 2]
        return name.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Said:
    """What a probe said: its report, or its exit code and standard error."""

    code: int
    err: str
    report: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Return the tree."""
        return Path(self.report["path"])

    @property
    def extracted(self) -> bool:
        """Return whether files were written."""
        return bool(self.report.get("extracted"))

    @property
    def changed(self) -> bool:
        """Return whether the tree or its stamp was written."""
        return self.extracted or any("put right" in line for line in self.report.get("log", ()))


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """Yield a folder that every user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="pyembed-e2e-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def programs(open_folder: Path, tmp_path_factory: pytest.TempPathFactory, go: Go) -> tuple[Program, Program]:
    """Return two versions of a program, whose bundles differ by one file."""
    built = []
    for version, more in (("new", ()), ("old", ("lacks-this = ['/{stdlib}/this.py']",))):
        module = fresh_module(tmp_path_factory.mktemp(version) / "fresh")
        shutil.copy(PROBE, module / "main.go")
        (module / "matrix.toml").write_text("\n".join(("[drop]", *more)), encoding="utf-8")
        command = [sys.executable, "-m", "pyembed_gen", "--source", "host", "--config", "matrix.toml", "--out", "data"]
        cache = str(tmp_path_factory.getbasetemp() / "runtime-cache")
        subprocess.run([*command, "-q", "--cache-dir", cache], cwd=module, check=True)
        program = open_folder / version
        go.at(module)("build", "-o", str(program), ".")
        (bundle,) = (path.parent for path in (module / "data").glob("*/files.json"))
        built.append(Program(program, bundle))
    first, second = built
    assert len(set(first.names()) ^ set(second.names())) == 1
    return first, second


@pytest.fixture(scope="module")
def program(programs: tuple[Program, Program]) -> Program:
    """Return a program with this machine's Python in it."""
    return programs[0]


@pytest.fixture
def shared(open_folder: Path) -> Iterator[Path]:
    """Yield a new folder of root's that every user can reach."""
    with tempfile.TemporaryDirectory(dir=open_folder) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def environ(base: Path | None = None, **more: str | Path) -> dict[str, str]:
    """Return a probe's environment: nothing but a base, if one is named, and what is asked for."""
    named = {} if base is None else {"PYEMBED_CACHE_DIR": str(base)}
    return {"PATH": os.defpath, **named, **{name: str(value) for name, value in more.items()}}


def ask(
    program: Program,
    *arguments: str,
    env: Mapping[str, str],
    user: int | None = None,
    umask: int = -1,
    before: Sequence[str] = (),
    code: int = 0,
) -> Said:
    """Run a probe, as another user if one is named, behind another command if there is one, and return what it says."""
    done = subprocess.run(
        [*before, str(program.path), *arguments],
        env=env,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        umask=umask,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return Said(done.returncode, done.stderr, json.loads(done.stdout) if done.stdout else {})


def works(program: Program, **how: Any) -> Said:
    """Run Python through a probe, and check that it does what it should."""
    said = ask(program, "run", "-c", WORKS, **how)
    assert (said.report.get("code"), said.report.get("out"), said.report.get("err")) == (None, RIGHT, None)
    return said


def refused(program: Program, *, env: Mapping[str, str], **how: Any) -> str:
    """Check that a probe ends with an error that names the way out, and return that."""
    said = ask(program, "open", env=env, code=1, **how)
    assert said.err.startswith("probe: no usable directory to extract to: tried "), said.err
    assert "WithCacheDir or $PYEMBED_CACHE_DIR names another" in said.err
    return said.err


def beside(base: Path) -> list[str]:
    """Return what lies in a base."""
    return sorted(path.name for path in base.iterdir())


def one_tree(program: Program) -> list[str]:
    """Return what lies in a base with one tree and nothing left over."""
    return [program.tree, f"{program.tree}.lock"]


def differences(program: Program, tree: Path) -> list[str]:
    """Compare a tree with the bundle's manifest, byte for byte; what Python caches is not in that and differs too."""
    entries = {entry["name"]: entry for entry in program.manifest()["files"]}
    found = {path.relative_to(tree).as_posix(): path for path in tree.rglob("*")}
    wrong = sorted((entries.keys() ^ found.keys()) - {_STAMP, _LEASE})
    for name in entries.keys() & found.keys():
        entry, path = entries[name], found[name]
        mode = path.lstat().st_mode
        if entry["perm"] & _LINK:
            same = stat.S_ISLNK(mode) and str(path.readlink()) == entry["symlink"]
        elif entry["perm"] & _DIR:
            same = stat.S_ISDIR(mode)
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(mode) else ""
            same = digest == entry["sha256"] and bool(mode & 0o100) == bool(entry["perm"] & 0o100)
        if not same:
            wrong.append(name)
    return wrong


@contextlib.contextmanager
def held(program: Program, command: str, *arguments: str, env: Mapping[str, str]) -> Iterator[tuple[Said, Any]]:
    """Yield the report of a probe and the process, whose standard input stays open for as long."""
    process = subprocess.Popen(
        [program.path, command, *arguments], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    try:
        yield Said(0, "", json.loads(process.stdout.readline())), process
    finally:
        process.stdin.close()
        process.stdout.read()
        process.stdout.close()
        process.wait(timeout=60)


def mounted(script: str) -> list[str]:
    """Return a command that runs another one in a mount namespace of its own, after a shell script."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-euc", f'{script}\nexec "$@"', "sh"]


# --- at once, and killed ---


def test_64_processes_on_an_empty_cache(program: Program, tmp_path: Path) -> None:
    """64 processes that wait for each other and then start at once: one extracts, all run, one tree is left."""
    base = tmp_path / "base"
    reader, writer = os.pipe()  # the barrier: it opens when the last writer closes
    processes = [
        subprocess.Popen(
            [program.path, "run", "-c", WORKS],
            env=environ(base, PROBE_WAIT="1"),
            stdin=reader,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(64)
    ]
    os.close(reader)
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    os.close(writer)
    answers = [process.communicate(timeout=300) for process in processes]
    assert {process.returncode for process in processes} == {0}, answers
    reports = [json.loads(out) for out, _ in answers]
    assert {report.get("out") for report in reports} == {RIGHT}, answers
    assert sum(report.get("extracted", False) for report in reports) == 1
    assert beside(base) == one_tree(program)
    works(program, env=environ(base, PYEMBED_VERIFY="hash"))
    assert differences(program, base / program.tree) == []


def test_killed_at_200_moments(program: Program, tmp_path: Path) -> None:
    """200 extractions into one base are killed, each at a random moment; a normal start works after any of them.

    It sweeps what they left. Most of the moments must have been within an extraction, or the test shows nothing.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when the test fails
    moments = random.Random(seed)
    base = tmp_path / "base"
    tree = base / program.tree
    env = environ(base, PROBE_WAIT="1")

    def extraction(kill_after: float | None) -> float:
        process = subprocess.Popen(
            [program.path, "open"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        since = time.perf_counter()
        process.stdin.close()
        if kill_after is not None:
            time.sleep(kill_after)  # the random moment
            process.kill()
        process.stdout.read()
        process.stdout.close()
        assert process.wait() in (0, -signal.SIGKILL)
        return time.perf_counter() - since

    lengths = []
    for _ in range(3):
        lengths.append(extraction(None))
        shutil.rmtree(tree)
    length = sorted(lengths)[1]
    interrupted = 0
    for number in range(200):
        before = set(beside(base))
        extraction(moments.uniform(0, length))
        interrupted += any(".tmp-" in name for name in set(beside(base)) - before)
        if number % 20 == 19:
            works(program, env=environ(base))
            assert beside(base) == one_tree(program)
        if tree.exists():
            shutil.rmtree(tree)
    assert interrupted >= 100
    assert works(program, env=environ(base)).extracted
    works(program, env=environ(base, PYEMBED_VERIFY="hash"))
    assert differences(program, tree) == []
    assert beside(base) == one_tree(program)


# --- damaged ---


def damage(tree: Path, moments: random.Random, names: Sequence[str], links: Sequence[str]) -> str:
    """Do one kind of harm to a tree, and say which.

    A program or library that somebody has mapped is unlinked or replaced and never cut: whoever cuts a mapped file
    kills those who run from it at that very moment, whatever heals it later.
    """
    name = moments.choice(names)
    path = tree / name
    mapped = ".so" in path.name or path.parent.name == "bin"
    kind = moments.choice(["delete", "truncate", "overwrite", "replace", "mode", "link", "folder", "stamp", "file"])
    match kind:
        case "stamp":
            content = (tree / _STAMP).read_bytes()
            (tree / _STAMP).write_bytes(content[: moments.randrange(len(content))])
        case "folder":
            shutil.rmtree(path.parent if path.parent.name not in ("bin", "lib") else tree / "bin")
        case "file":  # in place of a folder
            folder = path.parent if path.parent.name not in ("bin", "lib") else tree / "bin"
            shutil.rmtree(folder)
            folder.write_bytes(b"not a folder")
        case "link":
            link = tree / moments.choice(links)
            link.unlink()
            link.symlink_to("nowhere")
        case "truncate" if not mapped:
            os.truncate(path, moments.randrange(max(1, path.stat().st_size)))
        case "overwrite" if not mapped:
            path.write_bytes(b"raise SystemExit(9)\n")
        case "mode":
            path.chmod(0)
        case "replace":
            path.unlink()
            path.symlink_to("/etc/passwd")
        case _:
            path.unlink()
    return f"{kind} {name}"


STAYS = """
import sys
print("up", flush=True)
sys.stdin.readline()
import colorsys, html.entities, zlib, sqlite3
assert zlib.crc32(b"x") == 2363233923
print("done", flush=True)
"""


def test_each_start_heals_what_was_damaged(program: Program, tmp_path: Path) -> None:
    """Whatever is deleted, cut or changed between two starts, 8 that begin at once all find Python right.

    Interpreters that ran before the first damage run on after the last repair, and import what they had not yet.
    Files change while no start is under way here: what changes between a start's look at the tree and its imports
    is not promised to be seen.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when the test fails
    moments = random.Random(seed)
    base = tmp_path / "base"
    tree = works(program, env=environ(base)).path
    names = program.names()
    links = [entry["name"] for entry in program.manifest()["files"] if entry["perm"] & _LINK]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        stay = []
        for _ in range(8):
            interpreter = subprocess.Popen(
                [tree / "bin" / "python3", "-B", "-c", STAYS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(interpreter)
            assert interpreter.stdout
            assert interpreter.stdout.readline() == "up\n"
            stay.append(interpreter)
        for _ in range(25):
            done = []
            for _ in range(moments.randrange(1, 5)):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # harmed twice
                    done.append(damage(tree, moments, names, links))
            said = list(pool.map(lambda _: works(program, env=environ(base)), range(8)))
            assert sum(start.changed for start in said) == (1 if done else 0), done
            assert not works(program, env=environ(base)).changed
        for interpreter in stay:
            assert interpreter.communicate("go\n", timeout=60)[0] == "done\n"
            assert interpreter.returncode == 0
    works(program, env=environ(base, PYEMBED_VERIFY="hash"))
    assert differences(program, tree) == []
    assert beside(base) == one_tree(program)


def test_files_vanish_while_8_processes_run(program: Program, tmp_path: Path) -> None:
    """Files are deleted and changed all the time while 8 processes start and import: none of them fails.

    What is harmed is what they do not import, since nobody can promise a file that is deleted after it was looked at.
    A repair in progress is never seen: a harmed file is gone, as it was harmed, or whole.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when the test fails
    moments = random.Random(seed)
    base = tmp_path / "base"
    tree = works(program, env=environ(base)).path
    harmed = b"raise SystemExit(9)\n"
    needed = ask(program, "run", "-c", f"{WORKS}; import sys; print(*(m.__file__ for m in sys.modules.values() "
                 "if getattr(m, '__file__', None)), sep='\\n')", env=environ(base)).report["out"]  # fmt: skip
    digests = {entry["name"]: entry.get("sha256") for entry in program.manifest()["files"]}
    victims = [
        name
        for name in program.names()
        if name.endswith(".py") and str(tree / name) not in needed and "encodings" not in name
    ][::7]
    assert len(victims) > 30
    over, halves, harms = threading.Event(), [], itertools.count()

    def harm() -> None:
        while not over.is_set():
            path = tree / moments.choice(victims)
            if moments.random() < 0.5:
                path.unlink(missing_ok=True)
            else:
                fresh = base / "harmed"
                fresh.write_bytes(harmed)
                fresh.rename(path)
            next(harms)
            over.wait(moments.uniform(0, 0.02))

    def watch() -> None:
        for name in itertools.cycle(victims):
            if over.is_set():
                return
            with contextlib.suppress(FileNotFoundError):
                content = (tree / name).read_bytes()
                if content != harmed and hashlib.sha256(content).hexdigest() != digests[name]:
                    halves.append((name, len(content)))

    def start(_: int) -> bool:
        return any(works(program, env=environ(base)).changed for _ in range(15))

    with ThreadPoolExecutor(10) as pool:
        others = [pool.submit(harm), pool.submit(watch)]
        try:
            changed = list(pool.map(start, range(8)))
        finally:
            over.set()
        for other in others:
            other.result()
    assert any(changed)
    assert next(harms) > 0
    assert halves == []
    assert works(program, env=environ(base, PYEMBED_VERIFY="hash")).report.get("code") is None
    assert differences(program, tree) == []
    assert beside(base) == one_tree(program)


# --- planted ---


TROJAN = "import pathlib; pathlib.Path({marker!r}).touch()\n"


def plant(program: Program, tree: Path, marker: Path) -> dict[str, Callable[[], None]]:
    """Return what whoever could write a tree can plant in it: each runs code, which touches the marker."""
    code = TROJAN.format(marker=str(marker))
    stdlib = tree / program.stdlib()
    textwrap = stdlib / "textwrap.py"

    def same_size() -> None:
        """Change a module, and keep its size and time."""
        content, times = textwrap.read_bytes(), textwrap.stat()
        assert len(code) < len(content)
        textwrap.write_bytes(code.encode() + b"#" * (len(content) - len(code)))
        os.utime(textwrap, ns=(times.st_atime_ns, times.st_mtime_ns))

    def bytecode() -> None:
        """Plant bytecode that says of itself that nobody need compare it with a source."""
        source = marker.parent / "planted.py"
        source.write_text(code, encoding="utf-8")
        script = (
            "import importlib.util, py_compile; "
            f"py_compile.compile({str(source)!r}, importlib.util.cache_from_source({str(textwrap)!r}), "
            "invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"
        )
        subprocess.run([tree / "bin" / "python3", "-I", "-c", script], check=True)

    def archive() -> None:
        digits = program.stdlib().rpartition("python")[2].replace(".", "")
        with zipfile.ZipFile(tree / "lib" / f"python{digits}.zip", "w") as planted:
            planted.writestr("textwrap.py", code)

    def site() -> None:
        (stdlib / "sitecustomize.py").write_text(code, encoding="utf-8")

    def pth() -> None:
        (stdlib / "site-packages").mkdir(exist_ok=True)
        (stdlib / "site-packages" / "planted.pth").write_text(code, encoding="utf-8")

    return {"same size": same_size, "bytecode": bytecode, "zip": archive, "sitecustomize": site, "pth": pth}


@pytest.mark.parametrize("kind", ["same size", "bytecode", "zip", "sitecustomize", "pth"])
def test_trojan_is_gone_before_python_starts(program: Program, tmp_path: Path, kind: str) -> None:
    """At level hash nothing that was planted runs, and the tree is put right; at level stamp it runs, so it could."""
    base, marker = tmp_path / "base", tmp_path / "trojan-ran"
    tree = ask(program, "open", env=environ(base)).path
    plant(program, tree, marker)[kind]()
    ask(program, "run", "-c", "import textwrap", env=environ(base, PYEMBED_VERIFY="stamp"))
    assert marker.exists()
    marker.unlink()
    works(program, env=environ(base, PYEMBED_VERIFY="hash"))
    assert not marker.exists()
    assert differences(program, tree) == []
    assert not works(program, env=environ(base, PYEMBED_VERIFY="hash")).changed


def test_one_byte_is_found_in_any_file(program: Program, tmp_path: Path) -> None:
    """A byte of each of many files, the interpreter and libraries too, is changed under its old time and healed."""
    base = tmp_path / "base"
    tree = ask(program, "open", env=environ(base)).path
    names = [name for name in program.names() if (tree / name).stat().st_size]
    chosen = {*names[::10], *(name for name in names if name.startswith("bin/") or ".so" in name)}
    for name in chosen:
        path = tree / name
        times, content = path.stat(), bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert set(differences(program, tree)) == chosen
    assert works(program, env=environ(base, PYEMBED_VERIFY="hash")).changed
    assert differences(program, tree) == []


@needs_root
@pytest.mark.parametrize("named", [True, False])
def test_base_of_another_user(program: Program, shared: Path, *, named: bool) -> None:
    """A base that belongs to another user is an error where it was named, else the next one is taken."""
    home, temporary = shared / "home", shared / "tmp"
    base = home / ".cache" / "pyembed"
    base.mkdir(parents=True)
    temporary.mkdir()
    os.chown(base, OTHER, OTHER)
    env = environ(base if named else None, HOME=home, TMPDIR=temporary)
    if named:
        assert f"{base} belongs to user {OTHER}" in refused(program, env=env)
    else:
        assert works(program, env=env).path == temporary / f"pyembed-{os.geteuid()}" / program.tree
    assert beside(base) == []


@needs_root
@pytest.mark.parametrize("whose", ["another user's", "a link of another user's", "a dangling link", "writable by all"])
def test_planted_temporary_folder(program: Program, shared: Path, whose: str) -> None:
    """The predictable name below the temporary folder is not used when somebody else made it, and the error says so."""
    target, temporary = shared / "target", shared / "tmp"
    target.mkdir()
    temporary.mkdir()
    temporary.chmod(0o1777)
    planted = temporary / f"pyembed-{OTHER + 1}"
    if "link" in whose:
        planted.symlink_to(shared / "nothing" if "dangling" in whose else target)
        os.chown(target, OTHER + 1, OTHER + 1)  # the victim's own: the link alone is wrong
    else:
        planted.mkdir()
    os.chown(planted, OTHER, OTHER, follow_symlinks=False)
    if whose == "writable by all":
        os.chown(planted, OTHER + 1, OTHER + 1)
        planted.chmod(0o777)
    error = refused(program, env=environ(HOME=shared / "missing", TMPDIR=temporary), user=OTHER + 1)
    assert str(planted) in error
    assert beside(shared) == ["target", "tmp"]
    assert beside(target) == []
    assert planted.is_symlink() or beside(planted) == []


@needs_root
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("whose", [0, OTHER])
def test_link_where_the_tree_belongs(program: Program, shared: Path, whose: int, *, named: bool) -> None:
    """A link in the tree's place is not followed: nothing is run from there, nothing is written there."""
    home, temporary = shared / "home", shared / "tmp"
    base, target = home / ".cache" / "pyembed", shared / "target"
    base.mkdir(parents=True)
    temporary.mkdir()
    ask(program, "open", env=environ(shared / "real"))
    shutil.copytree(shared / "real" / program.tree, target, symlinks=True)  # whole, but another's
    (target / "bin" / "python3").unlink()
    os.chown(target, whose, whose)
    (base / program.tree).symlink_to(target)
    os.chown(base / program.tree, whose, whose, follow_symlinks=False)
    before = sorted((str(path), path.lstat().st_ctime_ns) for path in target.rglob("*"))
    env = environ(base if named else None, HOME=home, TMPDIR=temporary)
    if named:
        assert f"{base / program.tree} is in the way: it is not a directory" in refused(program, env=env)
    else:
        assert works(program, env=env).path == temporary / "pyembed-0" / program.tree
    assert sorted((str(path), path.lstat().st_ctime_ns) for path in target.rglob("*")) == before


@needs_root
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("whose", [0, OTHER])
@pytest.mark.parametrize("dangling", [True, False])
def test_link_where_the_lock_belongs(
    program: Program, shared: Path, whose: int, *, named: bool, dangling: bool
) -> None:
    """A link in the place of `.lock` is not followed; a precious file that it names is neither made nor changed."""
    home, temporary = shared / "home", shared / "tmp"
    base, precious = home / ".cache" / "pyembed", shared / "precious"
    base.mkdir(parents=True)
    temporary.mkdir()
    if not dangling:
        precious.write_bytes(b"precious")
    lock = base / f"{program.tree}.lock"
    lock.symlink_to(precious)
    os.chown(lock, whose, whose, follow_symlinks=False)
    env = environ(base if named else None, HOME=home, TMPDIR=temporary)
    if named:
        assert str(lock) in ask(program, "open", env=env, code=1).err
    else:
        assert works(program, env=env).path == temporary / "pyembed-0" / program.tree
    assert precious.exists() is not dangling
    assert dangling or precious.read_bytes() == b"precious"
    assert beside(base) == [lock.name]


@needs_root
@pytest.mark.parametrize("dangling", [True, False])
def test_link_where_the_lease_belongs(program: Program, shared: Path, *, dangling: bool) -> None:
    """A link in the place of the lease is not followed, and keeps nobody from running: there is no lease then."""
    base, precious = shared / "base", shared / "precious"
    base.mkdir()
    if not dangling:
        precious.write_bytes(b"precious")
    works(program, env=environ(base))
    lease = base / program.tree / _LEASE
    lease.unlink()
    lease.symlink_to(precious)
    os.chown(lease, OTHER, OTHER, follow_symlinks=False)
    assert not works(program, env=environ(base)).changed
    assert precious.exists() is not dangling
    assert dangling or precious.read_bytes() == b"precious"
    assert lease.is_symlink()


@needs_root
def test_tree_that_another_user_made(program: Program, shared: Path) -> None:
    """A whole tree in the right place that belongs to another user is not run, not even by root."""
    base = shared / "base"
    tree = ask(program, "open", env=environ(base)).path
    for path in (tree, *tree.rglob("*")):
        os.chown(path, OTHER, OTHER, follow_symlinks=False)
    assert f"{tree} belongs to user {OTHER}" in refused(program, env=environ(base))
    assert f"{tree} belongs to user {OTHER}" in refused(program, env=environ(base), user=OTHER + 1)


# --- where nothing can be written or run ---


@needs_root
@pytest.mark.parametrize(
    ("option", "reason"),
    [("noexec", "noexec"), ("ro", "read-only file system"), ("size=4m", "no space left on device"),
     ("nr_inodes=50", "no space left on device"), ("size=4k", "no space left on device")],
)  # fmt: skip
def test_mount_that_will_not_do(program: Program, shared: Path, option: str, reason: str) -> None:
    """A cache that runs no programs, is read-only or full is passed over; with none left the error says why.

    One that was named is an error. What did not fit is not left there.
    """
    home, temporary = shared / "home", shared / "tmp"
    home.mkdir()
    temporary.mkdir()
    mount = f"mount -t tmpfs -o mode=755,{option} none {home}"
    found = environ(HOME=home, TMPDIR=temporary)
    first = works(program, env=found, before=mounted(mount))
    assert first.path == temporary / f"pyembed-{os.geteuid()}" / program.tree
    assert not works(program, env=found, before=mounted(mount)).changed

    shutil.rmtree(temporary / f"pyembed-{os.geteuid()}")
    neither = mounted(f"{mount}\nmount -t tmpfs -o mode=1777,{option} none {temporary}")
    error = refused(program, env=found, before=neither)
    assert error.lower().count(reason) == 2
    assert str(home / ".cache" / "pyembed") in error
    assert str(temporary / f"pyembed-{os.geteuid()}") in error

    named = environ(home / "named", HOME=home, TMPDIR=temporary)
    assert reason in refused(program, env=named, before=mounted(mount)).lower()
    leaves = f'"$@" && exit 9\nfind {home} -mindepth 1 -not -type d -o -name "{program.tree}*"\nexit 0'
    done = subprocess.run(
        [*mounted(f"{mount}\n{leaves}"), program.path, "open"],
        env=named, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == ""


@needs_root
def test_read_only_container(program: Program, shared: Path) -> None:
    """With everything read-only but one temporary file system, and a user without passwd entry, Python runs from there.

    HOME may be there or not, the root directory (as Docker gives such users) or unset.
    """
    home, temporary = shared / "home", shared / "tmp"
    home.mkdir()
    os.chown(home, OTHER, OTHER)
    temporary.mkdir()
    script = (
        f"mount -o remount,bind,ro /\nmount --bind {shared} {shared}\nmount -o remount,bind,ro {shared}\n"
        f"mount -t tmpfs -o mode=1777 none {temporary}\n! touch {home}/x 2>/dev/null\n! touch /var/tmp/x 2>/dev/null\n"
        f"exec setpriv --reuid={OTHER} --regid={OTHER} --clear-groups -- " + '"$@"'
    )
    for where in ({"HOME": home}, {"HOME": shared / "missing"}, {"HOME": "/"}, {}):
        said = works(program, env=environ(TMPDIR=temporary, **where), before=mounted(script))
        assert said.path == temporary / f"pyembed-{OTHER}" / program.tree
    named = works(program, env=environ(temporary / "named"), before=mounted(script))
    assert named.path == temporary / "named" / program.tree


@needs_root
def test_tree_in_a_read_only_image(program: Program, shared: Path) -> None:
    """A tree that root put into an image is used by another user there, with nothing written anywhere."""
    base = shared / "base"
    tree = ask(program, "open", env=environ(base)).path
    script = (
        f"mount --bind {shared} {shared}\nmount -o remount,bind,ro {shared}\n"
        f"exec setpriv --reuid={OTHER} --regid={OTHER} --clear-groups -- " + '"$@"'
    )
    for level in ("stamp", "stat", "hash"):
        said = works(program, env=environ(base, PYEMBED_VERIFY=level), before=mounted(script))
        assert (said.path, said.changed) == (tree, False)
    (tree / program.stdlib() / "textwrap.py").unlink()
    assert "can't be written" in refused(program, env=environ(base), before=mounted(script))


@needs_root
@pytest.mark.parametrize("home", ["missing", "/nonexistent", ""])
def test_user_without_passwd_entry_or_home(program: Program, shared: Path, home: str) -> None:
    """A user that the system does not know, with a HOME that is not there or without one, gets a private folder."""
    temporary = shared / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    where = {"HOME": shared / home} if home else {}
    said = works(program, env=environ(TMPDIR=temporary, **where), user=OTHER)
    assert said.path == temporary / f"pyembed-{OTHER}" / program.tree
    private = said.path.parent.stat()
    assert (private.st_uid, stat.S_IMODE(private.st_mode)) == (OTHER, 0o700)
    assert not works(program, env=environ(TMPDIR=temporary, **where), user=OTHER).changed
    assert beside(shared) == ["tmp"]


@needs_root
@pytest.mark.parametrize("cache", [None, ".cache"])
def test_root_leaves_a_users_home_alone(program: Program, shared: Path, cache: str | None) -> None:
    """Root with the HOME of another user (sudo) makes nothing there, as that would lock the user out of it."""
    home, temporary = shared / "home", shared / "tmp"
    home.mkdir()
    temporary.mkdir()
    if cache:
        (home / cache).mkdir()
        os.chown(home / cache, OTHER, OTHER)
    os.chown(home, OTHER, OTHER)
    said = works(program, env=environ(HOME=home, TMPDIR=temporary))
    assert said.path == temporary / "pyembed-0" / program.tree
    assert [path.name for path in home.rglob("*")] == ([cache] if cache else [])
    theirs = works(program, env=environ(HOME=home, TMPDIR=temporary), user=OTHER)
    assert theirs.path == home / ".cache" / "pyembed" / program.tree


# --- versions, and their end ---


def age(base: Path, seconds: float) -> None:
    """Make everything in a base look as if it had last been used so long ago (in the future if negative)."""
    for path in (base, *base.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # a Python that runs renames the bytecode that it writes
            os.utime(path, (time.time() - seconds, time.time() - seconds), follow_symlinks=False)


DAYS = 86_400.0


def test_two_versions_side_by_side(programs: tuple[Program, Program], tmp_path: Path) -> None:
    """Two versions that differ by one file run at once from one base, each from a tree of its own."""
    base = tmp_path / "base"
    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(lambda number: works(programs[number % 2], env=environ(base)), range(16)))
    assert sum(start.extracted for start in said) == 2
    assert beside(base) == sorted(one_tree(programs[0]) + one_tree(programs[1]))
    for version in programs:
        works(version, env=environ(base, PYEMBED_VERIFY="hash"))
        assert differences(version, base / version.tree) == []


def test_prune_under_use(programs: tuple[Program, Program], tmp_path: Path) -> None:
    """Pruning takes what nobody uses and leaves what somebody does, however old that looks."""
    new, old = programs
    base = tmp_path / "base"
    works(new, env=environ(base))
    with held(old, "hold", env=environ(base)) as (said, _):
        age(base, 30 * DAYS)
        assert ask(new, "prune", "168h", env=environ(base)).report.get("removed") == [str(base / new.tree)]
        assert beside(base) == one_tree(old)
        assert differences(old, said.path) == []
    age(base, 30 * DAYS)
    assert ask(new, "prune", "168h", env=environ(base)).report.get("removed") == [str(base / old.tree)]
    assert beside(base) == []


def test_prune_under_a_child_alone(programs: tuple[Program, Program], tmp_path: Path) -> None:
    """A tree stays while its interpreter runs at all, though the Go program that started it has ended."""
    new, old = programs
    base = tmp_path / "base"
    script = "import sys; sys.stdin.readline(); import colorsys; print('done')"
    with held(old, "orphan", "-c", script, env=environ(base)) as (said, process):
        assert process.wait(timeout=60) == 0
        age(base, 30 * DAYS)
        assert ask(new, "prune", "168h", env=environ(base)).report.get("removed") is None
        assert (said.path / _STAMP).exists()
        os.kill(said.report["pid"], 0)  # it is there still
    _wait_for_end(said.report["pid"])
    assert ask(new, "prune", "168h", env=environ(base)).report.get("removed") == [str(base / old.tree)]
    assert beside(base) == []


def _wait_for_end(pid: int) -> None:
    """Wait until a process that is nobody's child here has ended."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        with os.fdopen(descriptor) as handle:
            assert select.select([handle], [], [], 60)[0]


def test_upgrade_sweeps_old_versions(programs: tuple[Program, Program], tmp_path: Path) -> None:
    """Extracting a new version removes one that nobody used for long; one in use, a young one and other files stay."""
    new, old = programs
    base = tmp_path / "base"
    works(old, env=environ(base))
    (base / "notes.txt").write_text("mine", encoding="utf-8")
    works(new, env=environ(base))
    assert (base / old.tree).exists()  # young
    shutil.rmtree(base / new.tree)
    with held(old, "hold", env=environ(base)):
        age(base, 30 * DAYS)
        works(new, env=environ(base))
        assert (base / old.tree).exists()  # in use
    shutil.rmtree(base / new.tree)
    age(base, 30 * DAYS)
    works(new, env=environ(base))
    assert beside(base) == sorted(["notes.txt", *one_tree(new)])


def test_starts_while_others_prune(programs: tuple[Program, Program], tmp_path: Path) -> None:
    """Programs start while others remove all that is not in use at that moment: every start runs."""
    new, _ = programs
    base = tmp_path / "base"
    over = threading.Event()

    def prune() -> int:
        removed = 0
        while not over.is_set():
            if base.exists():
                removed += len(ask(new, "prune", "0s", env=environ(base)).report.get("removed") or ())
        return removed

    with ThreadPoolExecutor(6) as pool:
        pruning = pool.submit(prune)
        try:
            list(pool.map(lambda number: works(programs[number % 2], env=environ(base)), range(40)))
        finally:
            over.set()
        assert pruning.result() > 0


# --- clocks and modes ---


@pytest.mark.parametrize(
    ("what", "offset"),
    [
        *(("all", -3650 * DAYS), ("all", 3650 * DAYS), ("all", None)),
        *(("tree", -3650 * DAYS), ("locks", -3650 * DAYS), ("locks", None), ("stamp", -3650 * DAYS), ("stamp", None)),
    ],
)
def test_clock_was_set(program: Program, tmp_path: Path, what: str, offset: float | None) -> None:
    """Times ten years ahead, ten years back or at the epoch are put right once at most; nothing is written again."""
    base = tmp_path / "base"
    tree = works(program, env=environ(base)).path
    shutil.rmtree(tree / program.stdlib() / "__pycache__", ignore_errors=True)
    paths = {
        "all": [base, *base.rglob("*")],
        "tree": [tree, *tree.rglob("*")],
        "locks": [base / f"{program.tree}.lock", base / program.tree / _LEASE],
        "stamp": [tree / _STAMP],
    }[what]
    when = 1.0 if offset is None else time.time() - offset
    for path in paths:
        os.utime(path, (when, when), follow_symlinks=False)
    first = works(program, env=environ(base))
    assert not first.extracted
    assert not works(program, env=environ(base)).changed
    works(program, env=environ(base, PYEMBED_VERIFY="hash"))
    assert differences(program, tree) == []
    assert beside(base) == one_tree(program)


def test_future_lease_is_not_pruned(program: Program, tmp_path: Path) -> None:
    """A tree that was last used in the future, as the clock was set back since, is not taken for an old one."""
    base = tmp_path / "base"
    works(program, env=environ(base))
    age(base, -3650 * DAYS)
    assert ask(program, "prune", "168h", env=environ(base)).report.get("removed") is None
    assert not works(program, env=environ(base)).extracted
    lease = base / program.tree / _LEASE
    assert abs(lease.stat().st_mtime - time.time()) < DAYS
    age(base, 30 * DAYS)
    assert ask(program, "prune", "168h", env=environ(base)).report.get("removed") == [str(base / program.tree)]


@needs_root
@pytest.mark.parametrize(("umask", "read"), [(0o077, False), (0o022, True), (0o000, True)])
def test_umask(program: Program, shared: Path, umask: int, *, read: bool) -> None:
    """Nobody else can write what was extracted, whatever the umask; whether others can read is the umask's matter."""
    base = shared / "base"
    tree = works(program, env=environ(base), umask=umask).path
    assert not works(program, env=environ(base), umask=umask).changed
    works(program, env=environ(base, PYEMBED_VERIFY="hash"), umask=umask)
    for path in (base, *base.rglob("*")):
        assert path.is_symlink() or not path.stat().st_mode & 0o022, path
    if read:
        said = works(program, env=environ(base), user=OTHER)
        assert (said.path, said.changed) == (tree, False)
    else:
        assert "permission denied" in ask(program, "open", env=environ(base), user=OTHER, code=1).err
    private = works(program, env=environ(HOME=shared / "missing", TMPDIR=shared), umask=umask).path.parent
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


# --- forks ---


def test_forks_everywhere(program: Program, tmp_path: Path) -> None:
    """A program that forks all the time extracts, heals and runs at once: no start meets "text file busy".

    Nor does a tree stay after Cleanup because a process that is just being forked has its lease.
    """
    base = tmp_path / "base"
    base.mkdir()
    said = ask(program, "forks", str(base), "10", "4", env=environ())
    assert said.report["starts"] == 210
    assert said.report["forks"] > 210
    assert said.report.get("busy", 0) == 0
    assert [path.name for path in base.glob("*/*")] == []


def test_probe_is_formatted_and_vetted(program: Program, go: Go) -> None:
    """The source of the probe is as gofmt and go vet want it."""
    assert subprocess.run(["gofmt", "-l", PROBE], capture_output=True, text=True, check=True).stdout == ""
    go.at(program.bundle.parents[1])("vet", ".")
