"""Two paths change places in one step, or it is said that they did not."""

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyembed_gen.exchange import exchange


def test_folders_change_places(tmp_path: Path) -> None:
    """On Linux each folder is afterwards where the other one was."""
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        folder.mkdir()
        (folder / folder.name).touch()
    assert exchange(new, old)
    assert [path.name for path in (*new.iterdir(), *old.iterdir())] == ["old", "new"]


def test_missing_path_is_no_exchange() -> None:
    """Where one of the two is missing nothing happens, and it is False."""
    Path("new").mkdir()
    assert not exchange(Path("new"), Path("old"))
    assert [path.name for path in Path().iterdir()] == ["new"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """A path with undecodable bytes is exchanged like any other."""
    new, old = tmp_path / "new", tmp_path / "old\udcff"
    new.write_text("new")
    old.write_text("old")
    assert exchange(new, old)
    assert old.read_text() == "new"


def test_macos_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS renamex_np(2) is called with RENAME_SWAP, and 0 is success."""
    calls = []

    def renamex_np(new: bytes, old: bytes, flags: ctypes.c_uint) -> int:
        calls.append((new, old, flags.value))
        return 0

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(renamex_np=renamex_np))
    assert exchange(Path("a"), Path("b"))
    assert calls == [(b"a", b"b", 2)]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_systems_without_the_call(platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, or a C library without the function, is False and not an error."""
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace())
    assert not exchange(tmp_path, tmp_path)
