"""Whenever a commit ends, each name is what it was or what it shall be, and the next run completes the rest."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from killing import killed_at
from packing import snapshot
from pyembed_gen import commit, stubs
from pyembed_gen.commit import Step, locked, staging
from pyembed_gen.errors import WriteError

State = Mapping[str, str]
STALE = "embed_stale.go"
OLD: State = {"one/a": "old", "one/b": "old", "two/a": "old", "file": "old", STALE: stubs.HEADER, "theirs": "theirs"}
NEW: State = {"one/a": "new", "one/c": "new", "two/a": "new", "three/a": "new", "file": "new", "other": "new"}
AFTER: State = {**NEW, "theirs": "theirs"}


def write(folder: Path, state: State) -> None:
    for name, text in state.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def read(folder: Path) -> State:
    """Return the files of a folder; a staging folder among them would show."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def change(out: Path) -> None:
    """Bring what is in ``out`` from OLD to AFTER."""
    with locked(out, lambda: None), staging(out) as folder:
        write(folder, NEW)
        steps = [Step.of(path) for path in sorted(folder.iterdir())]
        commit.commit(out, folder, [*steps, Step(STALE, 0)])


def parts(state: State) -> Mapping[str, State]:
    """Return what is in each name at the top."""
    names = {name.split("/")[0] for name in state}
    return {top: {name: text for name, text in state.items() if name.split("/")[0] == top} for top in names}


def visible(out: Path) -> State:
    return {name: text for name, text in read(out).items() if not name.startswith(".pyembed-gen-")}


def never(new: Path, old: Path) -> bool:
    """Exchange nothing, as most file systems do."""
    del new, old
    return False


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def exchanges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With and without a file system that exchanges two folders in one step."""
    if not request.param:
        monkeypatch.setattr(commit, "exchange", never)
    return bool(request.param)


@pytest.fixture
def out() -> Path:
    """Return an output in its old state."""
    write(Path("out"), OLD)
    return Path("out").absolute()


@pytest.mark.usefixtures("exchanges")
def test_commit(out: Path) -> None:
    """Folders and files are put in place, stale ones go, others stay, and nothing is left behind."""
    change(out)
    assert read(out) == AFTER
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_killed_at_any_moment(out: Path, exchanges: bool) -> None:
    """`kill -9` before any change to the disk: each name is whole, and the next lock completes or undoes the run."""
    old, new = parts(OLD), parts(AFTER)
    for moment in range(1, 200):
        shutil.rmtree(out)
        write(out, OLD)
        killed = killed_at(moment, lambda: change(out), out)
        for top, found in parts(visible(out)).items():
            assert found in (old.get(top), new.get(top)), (moment, top)
        assert not exchanges or {"one", "two"} <= set(parts(visible(out)))
        with locked(out, lambda: None):
            assert read(out) in (OLD, AFTER), moment
        change(out)
        assert read(out) == AFTER
        if not killed:
            assert moment > 20
            return
    pytest.fail("the commit never ended")


def test_killed_while_it_is_repaired(out: Path, exchanges: bool) -> None:
    """A run that dies while it completes a dead one's work leaves no less than that one did."""
    del exchanges
    for first in range(15, 25):
        for second in range(1, 200):
            shutil.rmtree(out)
            write(out, OLD)
            if not killed_at(first, lambda: change(out), out):
                return
            killed = killed_at(second, lambda: locked(out, lambda: None).__enter__(), out)
            with locked(out, lambda: None):
                assert read(out) in (OLD, AFTER), (first, second)
            if not killed:
                break


def interrupting(real: Callable[..., object], moment: int, *, after: bool, times: int = 1) -> Callable[..., object]:
    """Return a function that raises KeyboardInterrupt at its ``moment``-th call, before or after it does its work."""
    calls = 0

    def function(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if moment <= calls < moment + times:
            if after:
                real(*arguments, **keywords)
            raise KeyboardInterrupt
        return real(*arguments, **keywords)

    return function


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["replace", "unlink"])
@pytest.mark.usefixtures("exchanges")
def test_interrupt_during_commit_completes_it(
    name: str, after: bool, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at any rename or removal of a commit is obeyed when everything is in place."""
    real = getattr(Path, name)
    for moment in range(1, 40):
        shutil.rmtree(out)
        write(out, OLD)
        monkeypatch.setattr(Path, name, interrupting(real, moment, after=after))
        try:
            change(out)
        except KeyboardInterrupt:
            assert visible(out) in (OLD, AFTER), moment
        else:
            assert moment > 1
            return
        monkeypatch.setattr(Path, name, real)
        with locked(out, lambda: None):
            assert read(out) in (OLD, AFTER)
    pytest.fail("the commit never ended")


def test_interrupt_during_exchange_completes_the_commit(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C right after an exchange does not exchange again."""
    monkeypatch.setattr(commit, "exchange", interrupting(commit.exchange, 1, after=True))
    with pytest.raises(KeyboardInterrupt):
        change(out)
    assert read(out) == AFTER


def test_second_interrupt_leaves_folders_whole(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An impatient second Ctrl-C may end a commit half-way, but a folder that was moved aside comes back."""
    monkeypatch.setattr(commit, "exchange", never)
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name == "two" and target.parent == out:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        change(out)
    assert {top: text for top, text in read(out).items() if top.startswith("two")} == {"two/a": "old"}
    assert {path.name for path in out.iterdir()} <= {*parts(OLD), *parts(NEW)}


def test_failed_rename_leaves_folders_whole(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that fails is a WriteError; what was moved aside for it comes back, and no staging is left."""
    monkeypatch.setattr(commit, "exchange", never)
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name == "two" and self.parent.name.startswith(".pyembed-gen-"):
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(WriteError, match="No space left on device"):
        change(out)
    assert read(out) == OLD
    monkeypatch.setattr(Path, "replace", real)
    change(out)
    assert read(out) == AFTER


@pytest.mark.usefixtures("exchanges")
def test_failure_at_any_step_undoes_all(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that fails leaves all as it was, the inodes of folders and times of files included."""
    real, exchange = Path.replace, commit.exchange
    for moment in range(1, 40):
        shutil.rmtree(out)
        write(out, OLD)
        before = state(out)
        left = moment

        def fails() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(5, "Input/output error")

        def replace(self: Path, target: Path, fails: Callable[[], None] = fails) -> Path:
            if self.suffix != ".part":
                fails()
            return real(self, target)

        def failing(new: Path, old: Path, fails: Callable[[], None] = fails) -> bool:
            fails()
            return exchange(new, old)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            patch.setattr(commit, "exchange", failing)
            try:
                change(out)
            except WriteError:
                assert state(out) == before, moment
            else:
                assert moment > 6
                assert read(out) == AFTER
                return
    pytest.fail("the commit never ended")


def state(out: Path) -> Mapping[str, tuple[int, bytes]]:
    """Return the times and contents of all below a folder."""
    return {name: found[1:] for name, found in snapshot(out).items() if name != str(out)}


def test_undo_where_exchanging_back_fails(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was exchanged is put back by renames if need be."""
    real = commit.exchange
    left = 2

    def exchange(new: Path, old: Path) -> bool:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(5, "Input/output error")
        return left > 0 and real(new, old)

    monkeypatch.setattr(commit, "exchange", exchange)
    with pytest.raises(WriteError):
        change(out)
    assert read(out) == OLD


@pytest.mark.parametrize("name", ["file", "other", STALE])
@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("theirs-too")], ids=["folder", "pipe", "link"]
)
@pytest.mark.usefixtures("exchanges")
def test_file_over_a_folder(make: Callable[[Path], object], name: str, out: Path) -> None:
    """A file does not replace a folder or a pipe, nor a link to a folder, and nothing else is changed."""
    (out / "theirs-too").mkdir()
    (out / name).unlink(missing_ok=True)
    make(out / name)
    before = state(out)
    with pytest.raises(WriteError, match=f"{name} is no regular file; move it, or name another folder with --out"):
        change(out)
    assert state(out) == before


@pytest.mark.usefixtures("exchanges")
def test_folder_that_comes_in_between(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that takes a file's name after it was looked at stays, and all is undone."""
    monkeypatch.setattr(commit, "_check_target", lambda *_: None)
    (out / "other").mkdir()
    (out / "other/x").write_text("x")
    with pytest.raises(WriteError, match="Is a directory"):
        change(out)
    assert read(out) == {**OLD, "other/x": "x"}


def test_what_cannot_be_put_back_is_kept(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If even moving back fails, the staging folder stays, and the next run makes everything whole."""
    monkeypatch.setattr(commit, "exchange", never)
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name == "two":
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(WriteError):
        change(out)
    assert not (out / "two").exists()
    monkeypatch.setattr(Path, "replace", real)
    with locked(out, lambda: None):
        assert read(out) == AFTER


def test_targets_of_another_kind(out: Path, exchanges: bool) -> None:
    """A folder replaces a file or a link that has its name; what a link leads to stays."""
    del exchanges
    write(Path("elsewhere"), {"kept": "kept"})
    shutil.rmtree(out / "one")
    shutil.rmtree(out / "two")
    (out / "one").write_text("a file")
    (out / "two").symlink_to(Path("elsewhere").absolute())
    (out / "three").symlink_to("nowhere")
    (out / "file").unlink()
    (out / "file").symlink_to("nowhere")
    change(out)
    assert read(out) == AFTER
    assert not (out / "file").is_symlink()
    assert read(Path("elsewhere")) == {"kept": "kept"}


@pytest.mark.parametrize(
    "journal",
    [
        "",
        "{",
        "7",
        "[7]",
        '[["one"]]',
        '[["one", null]]',
        '[["one", Infinity]]',
        '[["../escaped", 0]]',
        '[["..", 0]]',
        '[["", 0]]',
        '[["one/a", 0]]',
        '[["one", 1]]',
        '[["file", 0], ["theirs", 0]]',
        '[["embed_theirs.go", 0]]',
        '[["embed_folder.go", 0]]',
        '[["embed_stale.go", 0], ["file", 0]]',
        '[["embed_stale.go", 0], ["file", 12345]]',
        '[["file\\u0000", 1]]',
        '[["file\\ud800", 1]]',
        "[" * 100_000,
    ],
)
def test_journal_that_makes_no_sense(journal: str, out: Path) -> None:
    """A damaged journal, or one of a copied staging folder, is thrown away and nothing is done."""
    (out.parent / "escaped").touch()
    theirs = {"embed_theirs.go": "package data", "embed_folder.go/x": "x"}
    write(out, {**theirs, ".pyembed-gen-x/journal.json": journal})
    with locked(out, lambda: None):
        assert read(out) == {**OLD, **theirs}
    assert not (out / ".pyembed-gen-x").exists()
    assert (out.parent / "escaped").exists()


def test_staging_folder_that_is_a_link_is_left_alone(out: Path) -> None:
    """Nothing is followed out of the directory."""
    write(Path("elsewhere"), {"journal.json": json.dumps([["theirs", 0]])})
    (out / ".pyembed-gen-x").symlink_to(Path("elsewhere").absolute())
    with locked(out, lambda: None):
        assert visible(out) == OLD
    assert read(Path("elsewhere")) == {"journal.json": '[["theirs", 0]]'}


def test_journal_that_is_a_pipe(out: Path) -> None:
    """Nothing is waited for that is no regular file."""
    (out / ".pyembed-gen-x").mkdir()
    os.mkfifo(out / ".pyembed-gen-x/journal.json")
    with locked(out, lambda: None):
        assert read(out) == OLD
    assert not (out / ".pyembed-gen-x").exists()


def test_staging_folder_of_another_user_is_left_alone(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who staged something has it put in place, or thrown away."""
    write(out, {".pyembed-gen-x/journal.json": f'[["{STALE}", 0]]'})
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with locked(out, lambda: None):
            assert visible(out) == OLD
            assert (out / ".pyembed-gen-x/journal.json").exists()
    with locked(out, lambda: None):
        assert read(out) == {name: text for name, text in OLD.items() if name != STALE}


def test_copied_state_between_two_renames(out: Path) -> None:
    """In a copy inodes are other ones: what was moved aside comes back, what was staged goes."""
    staged = out / ".pyembed-gen-x"
    write(staged, {"one/a": "new", "journal.json": '[["one", 12345]]'})
    (out / "one").rename(staged / "one.old")
    with locked(out, lambda: None):
        assert read(out) == OLD


def test_lock_changes_nothing(out: Path) -> None:
    """Taking the lock writes nothing to the directory."""
    before = snapshot(out)
    with locked(out, lambda: None):
        pass
    assert snapshot(out) == before


def test_missing_folders_are_made() -> None:
    """The directory and its parents are made as needed."""
    with locked(Path("a/b/c"), lambda: None):
        assert Path("a/b/c").is_dir()


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_directory_that_is_a_file(path: str) -> None:
    """A file in the way is a WriteError that names it."""
    Path("file").touch()
    with pytest.raises(WriteError, match=f"writing below {path}: "), locked(Path(path), lambda: None):
        pass


FAILS_WHILE_LOCKED = """
import sys, time
from pathlib import Path
from pyembed_gen import commit, stubs
from pyembed_gen.errors import WriteError
try:
    with commit.locked(Path(sys.argv[1]), lambda: None):
        print("locked", flush=True)
        sys.stdin.readline()
        raise WriteError("full")
except WriteError:
    pass
"""


def test_waiting_for_a_run_that_fails() -> None:
    """A run that waited for another one, which made the directory and failed, finds a directory."""
    out = Path("out")
    command = [sys.executable, "-c", FAILS_WHILE_LOCKED, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        waited = threading.Event()
        entered: list[bool] = []

        def wait() -> None:
            with locked(out, waited.set), staging(out):
                entered.append(out.is_dir())

        thread = threading.Thread(target=wait)
        thread.start()
        assert waited.wait(10)
        assert entered == []
        other.communicate("\n", timeout=10)
        thread.join(10)
    assert entered == [True]


def test_windows_locks_a_file(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where folders cannot be locked there is a lock file in it, which stays."""
    monkeypatch.setattr(commit.sys, "platform", "win32")  # type: ignore[attr-defined]
    with locked(out, lambda: None):
        assert (out / ".pyembed-gen.lock").is_file()
    assert read(out) == {**OLD, ".pyembed-gen.lock": ""}


def test_step_of_a_removed_name(out: Path) -> None:
    """A name that shall go and is not there is done; one that is there is not."""
    assert Step("absent", 0).is_done(out)
    assert not Step(STALE, 0).is_done(out)
    assert Step(STALE, os.lstat(out / STALE).st_ino).is_done(out)
