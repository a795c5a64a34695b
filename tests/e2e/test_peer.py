"""The whole pipeline on real CPython 3.14.6 for five platforms, and what comes out against go-embed-python's."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import bundle
import peer
from modules import fresh_module, start
from peer_fixtures import PEER_PLATFORMS, PEER_PYTHON, Go, generate
from pyembed_gen import binary, libraries, matrix, verify
from pyembed_gen.tree import Link

pytestmark = pytest.mark.peer

MACHINES = {
    "linux/amd64": ("elf", "x86_64"),
    "linux/arm64": ("elf", "aarch64"),
    "darwin/amd64": ("macho", "x86_64"),
    "darwin/arm64": ("macho", "aarch64"),
    "windows/amd64": ("pe", "x86_64"),
}

# Modules that no Linux build of PBS can import, or that do something when they are imported; why.
NOT_IMPORTED = {
    "antigravity": "opens a web browser",
    "this": "prints a poem",
    "__hello__": "prints",
    "__phello__": "prints",
    "__phello__.spam": "prints",
    "_ios_support": "needs the Objective-C runtime",
    "asyncio.windows_events": "Windows alone",
    "asyncio.windows_utils": "Windows alone",
    "dbm.gnu": "PBS has no GNU dbm, for its licence",
    "encodings.mbcs": "Windows alone",
    "encodings.oem": "Windows alone",
    "multiprocessing.popen_spawn_win32": "Windows alone",
}

IMPORT_ALL = r"""
import importlib, json, pkgutil, sys, sysconfig, warnings
warnings.simplefilter("ignore")
skipped = set(json.loads(sys.argv[1]))
failed, count = {}, 0
stdlib = sysconfig.get_path("stdlib")
paths = [stdlib, stdlib + "/lib-dynload"]
names = {m.name for m in pkgutil.walk_packages(paths, onerror=lambda n: None)} | set(sys.builtin_module_names)
for name in sorted(names):
    if name in skipped or name.endswith("__main__") or name.startswith("lib-dynload"):
        continue
    try:
        importlib.import_module(name)
        count += 1
    except BaseException as error:
        failed[name] = repr(error)
print(json.dumps([count, failed]))
"""

WORKS = r"""
import ctypes, json, multiprocessing, sqlite3, ssl, subprocess, sys, urllib.request

def square(number):
    return number * number

if __name__ == "__main__":
    context = ssl.create_default_context()
    database = sqlite3.connect(":memory:")
    child = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        squares = pool.map(square, range(4))
    print(json.dumps({
        "tls": [context.verify_mode == ssl.CERT_REQUIRED, ssl.OPENSSL_VERSION.split()[0]],
        "sqlite": database.execute("select 40 + 2").fetchone()[0],
        "ctypes": ctypes.CDLL(None).abs(-42),
        "child": child.stdout.strip(),
        "squares": squares,
    }))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, peer_out: Path) -> Path:
    """Return the extracted linux/amd64 bundle."""
    return bundle.extract(peer_out / "linux-amd64", tmp_path_factory.mktemp("tree") / "t")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, peer_out: Path, go: Go) -> Path:
    """Return a Go program with the five bundles in its module, built for this machine."""
    module = fresh_module(tmp_path_factory.mktemp("program") / "fresh")
    shutil.copytree(peer_out, module / "data")
    go.at(module)("build", "-o", "fresh.exe", ".")
    return module / "fresh.exe"


def says(program: Path, *arguments: str) -> str:
    """Run the Go program, which runs its Python with the arguments, and return what that says."""
    done = start(program, *arguments, cache=program.parent / "cache")
    assert done.code == 0, done.err
    return done.out


def python(tree: Path, *arguments: str, cwd: Path | None = None) -> str:
    """Run the extracted interpreter without an environment and return what it says."""
    done = subprocess.run(
        [bundle.interpreter(tree), *arguments], env={"PATH": ""}, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("platform", PEER_PLATFORMS)
def test_every_payload_verifies(peer_out: Path, platform: str) -> None:
    """Each of the five bundles is what its manifest says."""
    manifest, differences = verify.verify(peer_out / platform.replace("/", "-"))
    assert differences == ()
    assert manifest.origin.python == PEER_PYTHON
    assert manifest.origin.portable


@pytest.mark.parametrize("platform", PEER_PLATFORMS)
def test_interpreter_and_libraries_are_there(peer_out: Path, tmp_path: Path, platform: str) -> None:
    """The interpreter is of the right format and machine, and every library that a kept binary needs is in the tree."""
    row = matrix.load(None).platform(platform)
    folder = bundle.extract(peer_out / row.directory, tmp_path / "t")
    program = binary.read((folder / row.layout.interpreter).resolve().read_bytes())
    assert program is not None
    assert (program.format, *program.machines) == MACHINES[platform]
    names = {path.name.lower() for path in folder.rglob("*") if path.is_file()}
    for path in folder.rglob("*"):
        facts = _native(path)
        for needed in facts.needed if facts else ():
            assert needed.rpartition("/")[2].lower() in names or _is_of_the_system(needed, row.format), (path, needed)


def _native(path: Path) -> binary.Binary | None:
    if path.is_symlink() or not path.is_file() or path.suffix in (".py", ".txt"):
        return None
    return binary.read(path.read_bytes())


def _is_of_the_system(needed: str, format_: str) -> bool:
    if format_ == "macho":
        return needed.startswith(("/usr/lib/", "/System/"))
    if format_ == "elf":
        name = needed.partition(".so")[0]
        return name in ("libc", "libm", "libdl", "librt", "libpthread", "libutil") or name.startswith("ld-linux")
    system = ("kernel32", "user32", "advapi32", "ws2_32", "ole32", "oleaut32", "shell32", "gdi32", "crypt32", "rpcrt4")
    more = ("api-ms-win", "ucrtbase", "version", "shlwapi", "bcrypt", "winmm", "iphlpapi", "propsys", "pathcch", "wbem")
    return needed.lower().startswith((*system, *more, "msi", "cabinet", "ntdll", "netapi32", "powrprof", "secur32"))


def test_unneeded_libraries_are_gone_and_needed_ones_stay(peer_out: Path) -> None:
    """libpython and Tcl/Tk are not in Linux and macOS bundles; Windows keeps its roots and loses Tcl/Tk."""
    for platform in ("linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"):
        names = {entry.name for entry in verify.verify(peer_out / platform)[0].files}
        assert not [name for name in names if name.startswith("lib/lib")]
    windows = {entry.name for entry in verify.verify(peer_out / "windows-amd64")[0].files}
    assert {"python3.dll", "python314.dll", "vcruntime140.dll", "vcruntime140_1.dll"} <= windows
    assert {"DLLs/libffi-8.dll", "DLLs/libssl-3-x64.dll", "DLLs/sqlite3.dll"} <= windows
    assert not [name for name in windows if name.startswith(("DLLs/tcl", "DLLs/tk", "DLLs/zlib1", "tcl/"))]


def test_every_module_of_the_standard_library_imports(program: Path) -> None:
    """In the built binary all modules that the bundle kept can be imported, but for those no Linux build can."""
    count, failed = json.loads(says(program, "-I", "-c", IMPORT_ALL, json.dumps(sorted(NOT_IMPORTED))))
    assert failed == {}
    assert count > 600


def test_what_programs_need_works(program: Path, tmp_path: Path) -> None:
    """In the built binary TLS set-up, sqlite3, ctypes, a child of itself and multiprocessing with spawn work."""
    script = tmp_path / "works.py"
    script.write_text(WORKS, encoding="utf-8")
    assert json.loads(says(program, "-I", str(script))) == {
        "tls": [True, "OpenSSL"],
        "sqlite": 42,
        "ctypes": 42,
        "child": "42",
        "squares": [0, 1, 4, 9],
    }


def test_venv_without_pip_works(program: Path, tmp_path: Path) -> None:
    """In the built binary `-m venv --without-pip` makes an environment whose interpreter starts."""
    says(program, "-m", "venv", "--without-pip", str(tmp_path / "venv"))
    said = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-c", "import sys; print(sys.prefix != sys.base_prefix)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == "True\n"


def test_sizes_against_the_peer(peer_out: Path, peer_mirror: str, peer_module: Path, tmp_path: Path) -> None:
    """On linux/amd64: embedded at most 0.43 (gzip) and 0.35 (zstd), extracted at most 0.30 of go-embed-python's."""
    theirs = peer_module / "python" / "internal" / "data" / "linux-amd64"
    embedded = _size(theirs)
    extracted = sum(_peer_sizes(theirs).values())
    assert _size(peer_out / "linux-amd64") <= 0.43 * embedded
    assert verify.verify(peer_out / "linux-amd64")[0].raw <= 0.30 * extracted
    generate(tmp_path / "z", peer_mirror, tmp_path / "cache", "--codec", "zstd", platforms=["linux/amd64"])
    assert _size(tmp_path / "z" / "linux-amd64") <= 0.35 * embedded


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _peer_sizes(data: Path) -> Mapping[str, int]:
    """Bytes of each file as the peer's runtime writes them: it copies what a symlink points to."""
    files = {file.name: file for file in peer.bundle_files(data)}
    sizes = {}
    for name, file in files.items():
        meant = file
        while meant.link:
            meant = files[f"{meant.name.rpartition('/')[0]}/{meant.link}"]
        sizes[name] = len(meant.content)
    return sizes


def test_unstripped_libpython_is_stripped(tmp_path: Path) -> None:
    """libpython 3.13.1, which its interpreter needs by a $ORIGIN path, is kept, stripped, and runs."""
    import mirror  # noqa: PLC0415 - bench/, for this test alone

    mirror.build(tmp_path / "m", platforms=["linux/amd64"], version="3.13.1", level=1)
    command = [sys.executable, "-m", "pyembed_gen", "--mirror", (tmp_path / "m").as_uri(), "--pbs", "20241219"]
    command += ["--python", "3.13.1", "--only-platforms", "linux/amd64", "--out", str(tmp_path / "o"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (document,) = json.loads(done.stdout)["bundles"]
    files = {entry.name: entry for entry in verify.verify(tmp_path / "o" / "linux-amd64")[0].files}
    assert 24_000_000 < files["lib/libpython3.13.so.1.0"].size < 25_000_000
    theirs = peer.peer_module(peer.VERSIONS["3.13.1"]) / "python" / "internal" / "data" / "linux-amd64"
    assert document["embedded"] <= 0.25 * _size(theirs)
    tree = bundle.extract(tmp_path / "o" / "linux-amd64", tmp_path / "t")
    assert python(tree, "-I", "-c", "import ssl, sqlite3, ctypes, sys; print(sys.version.split()[0])") == "3.13.1\n"


def test_tree_of_pbs_on_disk_is_a_source(tree: Path, tmp_path: Path) -> None:
    """--source DIR takes an installation that lies unpacked on disk, --source ARCHIVE one that does not."""
    command = [sys.executable, "-m", "pyembed_gen", "--source", str(tree), "--out", str(tmp_path / "o"), "--json"]
    done = subprocess.run([*command, "--python", PEER_PYTHON], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)["bundles"]
    assert (document["platform"], document["portable"]) == ("linux/amd64", True)
    again = bundle.extract(tmp_path / "o" / "linux-amd64", tmp_path / "t")
    assert python(again, "-I", "-c", "import ssl; print(6 * 7)") == "42\n"


def test_links_of_a_real_tree_resolve(peer_out: Path) -> None:
    """No link of a bundle dangles or leaves it."""
    for folder in peer_out.glob("*-*/"):
        manifest = verify.verify(folder)[0]
        names = {entry.name for entry in manifest.entries}
        links = {entry.name: Link(entry.name, entry.target) for entry in manifest.entries if entry.kind == "link"}
        for link in links.values():
            assert f"{link.name.rpartition('/')[0]}/{link.target}" in names
    assert libraries.unneeded({}, {}, candidates=(), entry_points=()) == frozenset()
