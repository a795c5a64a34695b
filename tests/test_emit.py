"""Bundles are written all or nothing, beside what is there, and what is right already is not touched."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import packing
from killing import killed_at
from packing import Notes, Program, put, snapshot
from pyembed_gen import commit, emit, stubs, verify
from pyembed_gen.errors import ArchiveError, UsageError, WriteError
from pyembed_gen.pack import Packed
from pyembed_gen.progress import Silent

LINUX, MAC, WINDOWS = "linux/amd64", "darwin/arm64", "windows/amd64"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Packed]:
    """Pack small trees that differ by a word and by the version they name."""
    cache = tmp_path_factory.mktemp("packed")

    def make(word: str = "old", version: str = "3.14.9") -> Packed:
        files = {
            "bin/python3": "python3.14",
            "bin/python3.14": Program(f"{word} program ".encode() * 90),
            "lib/aux.py": word.encode(),
            f"lib/{word}.py": word.encode() * 90,
        }
        return packing.pack(cache, files, recipe=word, version=version)

    return make


@pytest.fixture
def out(packed: Callable[..., Packed]) -> Path:
    """Return an output with bundles for two platforms, and with files that somebody else put there."""
    folder = Path("out").absolute()
    put(folder, {LINUX: packed(), MAC: packed()})
    (folder / "theirs.go").write_text("package data\n")
    (folder / "theirs").mkdir()
    (folder / "theirs/x").write_text("x")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stub_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("embed_*.go"))


def recipes(folder: Path) -> dict[str, str]:
    """Return the recipe of each bundle; none is there that is not whole."""
    found = {}
    for bundle in verify.bundles(folder):
        manifest, differences = verify.verify(bundle)
        assert differences == (), bundle
        found[bundle.name] = manifest.recipe
    return found


# --- what is written ----------------------------------------------------------------------------------


def test_files_of_an_output(out: Path) -> None:
    """A bundle has payloads, files.json and two files for git; beside it are stubs and PYTHON_VERSION."""
    theirs = {"theirs", "theirs.go"}
    assert set(names(out)) - theirs == {
        "PYTHON_VERSION",
        "darwin-arm64",
        "embed_darwin_arm64.go",
        "embed_linux_amd64.go",
        "embed_other.go",
        "linux-amd64",
    }
    bundle = out / "linux-amd64"
    assert names(bundle) == [".gitattributes", ".gitignore", "_", "bin", "files.json", "lib"]
    assert (bundle / ".gitattributes").read_bytes() == b"** binary\n"
    assert (bundle / ".gitignore").read_bytes() == b"!*\n"
    assert (out / "PYTHON_VERSION").read_text() == 'PYTHON_VERSION="3.14.9"\nPYTHON_STANDALONE_VERSION="20261021"\n'
    assert recipes(out) == {"linux-amd64": "old", "darwin-arm64": "old"}


def test_embedded_size_is_that_of_the_folder(out: Path) -> None:
    """What is reported as embedded is the sum of all files that go:embed takes."""
    bundle = out / "linux-amd64"
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    assert emit.embedded_size(emit.read_bundle(bundle)) == size


def test_modes_are_those_of_new_files(out: Path) -> None:
    """Bundles are readable by whoever may read new files: the staging folder is private, what was in it is not."""
    umask = os.umask(0)
    os.umask(umask)
    assert (out / "linux-amd64").stat().st_mode & 0o777 == 0o777 & ~umask
    assert (out / "linux-amd64/files.json").stat().st_mode & 0o777 == 0o666 & ~umask


def test_other_bundles_and_foreign_files_stay(out: Path, packed: Callable[..., Packed]) -> None:
    """A run for one platform changes that bundle and the stubs, and nothing else."""
    before = snapshot(out)
    put(out, {LINUX: packed("new"), WINDOWS: packed("new")})
    assert recipes(out) == {"linux-amd64": "new", "darwin-arm64": "old", "windows-amd64": "new"}
    after = snapshot(out)
    kept = [name for name in before if "theirs" in name or "darwin" in name or name.endswith("PYTHON_VERSION")]
    assert [before[name] for name in kept] == [after[name] for name in kept]
    assert before[f"{out}/embed_linux_amd64.go"] == after[f"{out}/embed_linux_amd64.go"]


def test_unchanged_run_touches_nothing(out: Path) -> None:
    """With nothing packed and all stubs right no inode, time or byte changes, the folders' own included."""
    before = snapshot(out)
    emit.emit(out, [packing.job(out, LINUX), packing.job(out, MAC)], {}, packing.platforms(), Silent())
    assert snapshot(out) == before


def test_damaged_bundle_of_the_same_content_is_replaced(out: Path, packed: Callable[..., Packed]) -> None:
    """A bundle whose manifest is right and whose payloads are not is replaced by one with an equal manifest."""
    for change in (b"other", b"x"):
        (out / "linux-amd64/lib/old.py.gz").write_bytes(change)
        put(out, {LINUX: packed()})
        assert recipes(out)["linux-amd64"] == "old"


def test_stubs_come_and_go(out: Path, packed: Callable[..., Packed]) -> None:
    """Stubs follow the bundles that are there: one that somebody removed loses its stub in the next run."""
    assert "linux" in (out / "embed_other.go").read_text()
    shutil.rmtree(out / "linux-amd64")
    (out / "embed_windows_386.go").write_text("package data // by hand\n")
    put(out, {WINDOWS: packed()})
    assert stub_names(out) == [
        "embed_darwin_arm64.go",
        "embed_other.go",
        "embed_windows_386.go",
        "embed_windows_amd64.go",
    ]
    other = (out / "embed_other.go").read_text()
    assert "//go:build !(darwin && arm64 && !ios) && !(windows && amd64)\n" in other


def test_changed_stub_is_written_again(out: Path) -> None:
    """A stub that was edited, or has another package name, is put right without touching bundles."""
    (out / "embed_other.go").write_text(f"{stubs.HEADER}\npackage nothing\n")
    before = snapshot(out / "linux-amd64")
    jobs = [packing.job(out, LINUX, package="python")]
    emit.emit(out, jobs, {}, packing.platforms(), Silent())
    assert {(out / name).read_text().split("package ")[1].split()[0] for name in stub_names(out)} == {"python"}
    assert snapshot(out / "linux-amd64") == before


def test_variant_makes_the_ordinary_stub_step_back(out: Path, packed: Callable[..., Packed]) -> None:
    """With a free-threaded bundle beside it the ordinary one is chosen without the tag alone."""
    put(out, {"linux/amd64/freethreaded": packed()})
    assert "!freethreaded" in (out / "embed_linux_amd64.go").read_text()
    assert "&& freethreaded" in (out / "embed_linux_amd64_freethreaded.go").read_text()


# --- what is refused ----------------------------------------------------------------------------------


def test_sibling_of_another_version(out: Path, packed: Callable[..., Packed]) -> None:
    """Another version beside a bundle that would stay is a UsageError and changes nothing."""
    before = snapshot(out)
    with pytest.raises(UsageError, match=r"holds Python 3\.14\.9 for darwin/arm64, and Python 3\.13\.17 was asked for"):
        put(out, {LINUX: packed("new", "3.13.17")}, "3.13.17")
    assert snapshot(out) == before


def test_all_siblings_at_once(out: Path, packed: Callable[..., Packed]) -> None:
    """Another version for all platforms that are there replaces them."""
    put(out, {LINUX: packed("new", "3.13.17"), MAC: packed("new", "3.13.17")}, "3.13.17")
    assert recipes(out) == {"linux-amd64": "new", "darwin-arm64": "new"}
    assert 'PYTHON_VERSION="3.13.17"' in (out / "PYTHON_VERSION").read_text()


def test_unreadable_sibling(out: Path, packed: Callable[..., Packed]) -> None:
    """A sibling whose version cannot be read is a UsageError that names it."""
    (out / "darwin-arm64/files.json").write_text("{}")
    with pytest.raises(UsageError, match="out/darwin-arm64 holds a bundle that cannot be read"):
        put(out, {LINUX: packed("new")})
    assert recipes(out / "linux-amd64") == {"linux-amd64": "old"}


def test_bundle_that_another_run_replaced_meanwhile(out: Path, packed: Callable[..., Packed]) -> None:
    """A bundle found up to date that has another version by the time it is locked does not get wrong stubs."""
    put(out, {LINUX: packed("new", "3.13.17"), MAC: packed("new", "3.13.17")}, "3.13.17")
    with pytest.raises(UsageError, match=r"holds Python 3\.13\.17"):
        emit.emit(out, [packing.job(out, LINUX)], {}, packing.platforms(), Silent())


def test_stub_of_an_unknown_platform(out: Path, packed: Callable[..., Packed]) -> None:
    """A generated stub that the matrix does not know would declare Data twice; it is refused."""
    (out / "embed_plan9_arm.go").write_text(f"{stubs.HEADER}\n")
    before = snapshot(out)
    with pytest.raises(UsageError, match=r"embed_plan9_arm\.go is the stub of a platform that is not in the matrix"):
        put(out, {LINUX: packed("new")})
    assert snapshot(out) == before


def test_output_that_is_a_file(packed: Callable[..., Packed]) -> None:
    """A file in the place of the output is a WriteError and stays."""
    Path("out").write_text("mine")
    with pytest.raises(WriteError, match="writing below out: "):
        put(Path("out"), {LINUX: packed()})
    assert Path("out").read_text() == "mine"


def test_stub_that_is_a_folder(out: Path, packed: Callable[..., Packed]) -> None:
    """A folder, a pipe or a link to a folder in the place of a file is a UsageError, before anything is changed."""
    for name in ("embed_linux_amd64.go", "embed_darwin_arm64.go", "embed_other.go", "PYTHON_VERSION"):
        content = (out / name).read_bytes()
        (out / name).unlink()
        for make, remove in (
            (Path.mkdir, Path.rmdir),
            (os.mkfifo, Path.unlink),
            (lambda path: path.symlink_to(out / "theirs"), Path.unlink),
        ):
            make(out / name)
            before = snapshot(out)
            with pytest.raises(UsageError, match=f"{name} is there and is no (stub|version of bundles); move it, or"):
                put(out, {LINUX: packed("new")})
            assert snapshot(out) == before
            remove(out / name)
        (out / name).write_bytes(content)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "7",
        "not json",
        "[" * 100_000,
        '{"files": []}',
        '{"contentHash": "", "files": {}}',
        '{"contentHash": 7, "files": []}',
        None,
    ],
)
def test_folder_with_another_files_json(text: str | None, out: Path, packed: Callable[..., Packed]) -> None:
    """A folder is no bundle because it has something called files.json; what is in it stays."""
    folder = out / "windows-amd64"
    folder.mkdir()
    (folder / "precious").touch()
    if text is None:
        os.mkfifo(folder / "files.json")
    else:
        (folder / "files.json").write_text(text)
    before = snapshot(out)
    with pytest.raises(UsageError, match="out/windows-amd64 is there and is no bundle; move it, or choose another"):
        put(out, {WINDOWS: packed("new")})
    assert snapshot(out) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("mine"),
        os.mkfifo,
        lambda path: path.symlink_to("linux-amd64"),
        lambda path: path.symlink_to("nowhere"),
    ],
)
def test_bundle_that_is_no_folder(make: Callable[[Path], object], out: Path, packed: Callable[..., Packed]) -> None:
    """A file, a pipe or a link in the place of a bundle is refused and stays."""
    make(out / "windows-amd64")
    before = snapshot(out)
    with pytest.raises(UsageError, match="out/windows-amd64 is there and is no bundle"):
        put(out, {WINDOWS: packed("new")})
    assert snapshot(out) == before


def test_bundle_of_another_generator(out: Path, packed: Callable[..., Packed]) -> None:
    """What go-embed-python wrote is replaced, and so is an empty folder."""
    folder = out / "windows-amd64"
    folder.mkdir()
    put(out, {WINDOWS: packed()})
    (folder / "files.json").write_text('{"contentHash": "00", "files": [{"name": "bin", "size": 0, "perm": 0}]}')
    (out / "embed_windows_amd64.go").write_text("package data\n\n//go:embed all:windows-amd64\nvar _data embed.FS\n")
    put(out, {WINDOWS: packed("new")})
    assert recipes(out)["windows-amd64"] == "new"
    assert (out / "embed_windows_amd64.go").read_text().startswith(stubs.HEADER)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("embed_windows_amd64.go", "package data\n"),
        ("embed_windows_amd64.go", "package data\n\n//go:embed all:windows-amd64-mine\n"),
        ("embed_windows_amd64.go", "package data\n\n//go:embed all:linux-amd64\n"),
        ("embed_windows_amd64.go", f"package data\n\n{stubs.HEADER}\n"),
        ("embed_darwin_arm64.go", "package data\n"),
        ("embed_other.go", "package data\n\n//go:embed all:windows-amd64\n"),
        ("PYTHON_VERSION", "3.14\n"),
    ],
)
def test_files_that_others_wrote(name: str, text: str, out: Path, packed: Callable[..., Packed]) -> None:
    """A file that only has the name of one of ours is refused and stays, whether its bundle is new or there."""
    (out / name).write_text(text)
    before = snapshot(out)
    with pytest.raises(UsageError, match=f"out/{name} is there and is no "):
        put(out, {WINDOWS: packed("new")})
    with pytest.raises(UsageError, match=f"out/{name} is there and is no "):
        emit.emit(out, [packing.job(out, WINDOWS)], {}, packing.platforms(), Silent())
    assert snapshot(out) == before


# --- what goes wrong ----------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def exchanges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With and without a file system that exchanges two folders in one step."""
    if not request.param:
        monkeypatch.setattr(commit, "exchange", lambda *_: False)
    return bool(request.param)


def test_killed_at_any_moment(exchanges: bool, out: Path, packed: Callable[..., Packed]) -> None:
    """`kill -9` before any change to the disk: each bundle is the old or the new one, and the next run completes."""
    old = Path("old")
    out.rename(old)
    new = {LINUX: packed("new"), WINDOWS: packed("new")}
    for moment in range(1, 200):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(old, out)
        killed = killed_at(moment, lambda: put(out, new), out)
        found = recipes(out)
        assert found["darwin-arm64"] == "old"
        assert found.get("linux-amd64", "moved aside") in ("old", "new", *([] if exchanges else ["moved aside"]))
        put(out, new)
        assert recipes(out) == {"linux-amd64": "new", "darwin-arm64": "old", "windows-amd64": "new"}
        assert not list(out.glob(".*"))
        assert stub_names(out) == [
            "embed_darwin_arm64.go",
            "embed_linux_amd64.go",
            "embed_other.go",
            "embed_windows_amd64.go",
        ]
        if not killed:
            assert moment > 25
            return
    pytest.fail("the run never ended")


def in_child(action: Callable[[], object]) -> str:
    """Run an action in a process of its own that may give up rights, and return the error it ended with."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - a child of pytest must not go on
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        answer = answers.read()
    os.waitpid(child, 0)
    return answer


def test_full_disk(out: Path, packed: Callable[..., Packed], monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full it is a WriteError that says so, nothing changed, and nothing is left of the try."""
    before = {name: state for name, state in snapshot(out).items() if name != str(out)}

    def copyfile(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", copyfile)
        with pytest.raises(WriteError, match="No space left on device; free some space"):
            put(out, {LINUX: packed("new")})
    assert {name: state for name, state in snapshot(out).items() if name != str(out)} == before
    put(out, {LINUX: packed("new")})
    assert recipes(out)["linux-amd64"] == "new"


def test_file_size_limit(out: Path) -> None:
    """A real failure of a write, at whatever file it comes, leaves the previous bundles as they were."""
    large = packing.pack(Path("cache"), {"large": packing.NOISE[:90_000], "z": b"z" * 5000})

    def limited(size: int) -> Callable[[], None]:
        def action() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            put(out, {LINUX: large})

        return action

    before = {name: state for name, state in snapshot(out).items() if name != str(out)}
    for size in (0, 1, 10, 30, 300, 80_000):
        assert "WriteError: writing below" in in_child(limited(size))
        assert {name: state for name, state in snapshot(out).items() if name != str(out)} == before
    assert in_child(limited(100_000)) == ""
    assert set(recipes(out)) == {"linux-amd64", "darwin-arm64"}


def test_read_only_output(out: Path, packed: Callable[..., Packed]) -> None:
    """An output that may not be written is a WriteError; one that is right already is fine."""
    right = packing.job(Path("out"), LINUX), packing.job(Path("out"), MAC)
    new = packed("new")
    out.chmod(0o555)

    def as_nobody(action: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            action()

        return run

    try:
        done = in_child(as_nobody(lambda: emit.emit(Path("out"), right, {}, packing.platforms(), Silent())))
        assert done == ""
        failed = in_child(as_nobody(lambda: put(Path("out"), {LINUX: new})))
        assert failed.startswith("WriteError: writing below out: Permission denied; ")
    finally:
        out.chmod(0o755)
    assert recipes(out)["linux-amd64"] == "old"


def test_interrupt_completes(out: Path, packed: Callable[..., Packed], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while bundles are exchanged is obeyed when all is in place."""
    real = commit.exchange

    def exchange(*_: Path) -> bool:
        monkeypatch.setattr(commit, "exchange", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(commit, "exchange", exchange)
    with pytest.raises(KeyboardInterrupt):
        put(out, {LINUX: packed("new"), MAC: packed("new")})
    assert recipes(out) == {"linux-amd64": "new", "darwin-arm64": "new"}
    assert not list(out.glob(".*"))


HOLD = """
import sys
from pathlib import Path
from pyembed_gen import commit
with commit.locked(Path(sys.argv[1]), lambda: None):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(out: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another process that holds the lock of the output."""
    command = [sys.executable, "-c", HOLD, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_runs_wait_for_each_other(holder: subprocess.Popen[str], out: Path, packed: Callable[..., Packed]) -> None:
    """While another process writes to the output this one says that it waits, and then does its work."""
    new, notes = packed("new"), Notes()
    thread = threading.Thread(target=put, args=(out, {LINUX: new}), kwargs={"progress": notes})
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert notes.notes == [f"waiting for another run that writes to {out}"]
    assert recipes(out)["linux-amd64"] == "old"
    holder.communicate("\n", timeout=10)
    thread.join(10)
    assert recipes(out)["linux-amd64"] == "new"


# --- what is up to date -------------------------------------------------------------------------------


def test_up_to_date(out: Path) -> None:
    """A whole bundle of that recipe is; one of another recipe is not."""
    manifest = emit.up_to_date(out / "linux-amd64", "old")
    assert manifest == emit.read_bundle(out / "linux-amd64")
    assert emit.up_to_date(out / "linux-amd64", "new") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda bundle: (bundle / "lib/old.py.gz").unlink(),
        lambda bundle: (bundle / "lib/old.py.gz").write_bytes(b""),
        lambda bundle: (bundle / "lib/old.py.gz").rename(bundle / "lib/x"),
        lambda bundle: (bundle / "lib/new.py").touch(),
        lambda bundle: (bundle / ".gitignore").unlink(),
        lambda bundle: (bundle / ".gitattributes").write_bytes(b"* text\n"),
        lambda bundle: (bundle / "files.json").unlink(),
        lambda bundle: (bundle / "files.json").write_bytes(b"{}"),
        lambda bundle: (bundle / "lib/link").symlink_to(bundle),
        shutil.rmtree,
    ],
)
def test_not_up_to_date(damage: Callable[[Path], object], out: Path) -> None:
    """A payload or one of git's files that is missing or has another size, or anything else, means work."""
    damage(out / "linux-amd64")
    assert emit.up_to_date(out / "linux-amd64", "old") is None


def test_read_bundle_names_the_folder(out: Path) -> None:
    """An error says which bundle it is about, whether there is none, or it is damaged or no regular file."""
    with pytest.raises(ArchiveError, match=r"reading nowhere/files\.json: No such file or directory; is it the folder"):
        emit.read_bundle(Path("nowhere"))
    (out / "linux-amd64/files.json").write_text("{}")
    with pytest.raises(ArchiveError, match=r"linux-amd64: reading files\.json: its version is None"):
        emit.read_bundle(out / "linux-amd64")
    (out / "linux-amd64/files.json").unlink()
    (out / "linux-amd64/files.json").symlink_to(out / "darwin-arm64/files.json")
    with pytest.raises(ArchiveError, match=r"linux-amd64: files\.json is no regular file, which Go refuses to embed"):
        emit.read_bundle(out / "linux-amd64")
