"""A write that failed is told with what helps against its reason, and with nothing else."""

import errno
import os
from pathlib import Path

import pytest

from pyembed_gen.errors import WriteError
from pyembed_gen.writing import CACHE, writing

INSTEAD = "name another folder with --out"


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, f"free some space there, or {INSTEAD}"),
        (errno.EDQUOT, f"free some space there, or {INSTEAD}"),
        (errno.EFBIG, f"check `ulimit -f`, or {INSTEAD}"),
        (errno.EACCES, f"check its permissions, or {INSTEAD}"),
        (errno.EPERM, f"check its permissions, or {INSTEAD}"),
        (errno.EROFS, f"check its permissions, or {INSTEAD}"),
        (errno.ENOENT, f"check that it is there, or {INSTEAD}"),
        (errno.EIO, INSTEAD),
    ],
)
def test_each_reason_has_its_remedy(number: int, hint: str) -> None:
    """Space is asked for when there is none; permissions are not its matter."""
    with pytest.raises(WriteError) as caught, writing(Path("/out")):
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == f"writing below /out: {os.strerror(number)}; {hint}"


def test_the_caller_says_what_was_done_and_what_names_another_place() -> None:
    """As the cache does."""
    with pytest.raises(WriteError) as caught, writing(Path("/c"), doing="using the cache", option=CACHE):
        raise OSError("strange")
    assert str(caught.value) == ("using the cache /c: strange; name another folder with --cache-dir or $PYEMBED_CACHE")


@pytest.mark.parametrize("below", ["", "out", "out/deep"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path, below: str) -> None:
    """Whether it is the folder itself or one above it."""
    (tmp_path / "file").write_bytes(b"")
    where = tmp_path / "file" / below
    with pytest.raises(WriteError) as caught, writing(where):
        where.mkdir(parents=True, exist_ok=True)
    assert str(caught.value) == f"writing below {where}: {tmp_path / 'file'} is not a folder; {INSTEAD}"


def test_a_file_in_the_way_of_a_rename_is_named(tmp_path: Path) -> None:
    """Of the two names in such an error it is the second one."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteError, match="/file is not a folder"), writing(tmp_path):
        (tmp_path / "folder").replace(tmp_path / "file")


def test_a_folder_that_is_in_the_way_is_not_called_none(tmp_path: Path) -> None:
    """The system's own words are right then."""
    with pytest.raises(WriteError, match=f"writing below {tmp_path}: File exists; "), writing(tmp_path):
        tmp_path.mkdir()


def test_other_errors_pass(tmp_path: Path) -> None:
    """A bug keeps its traceback."""
    with pytest.raises(ValueError, match="bug"), writing(tmp_path):
        raise ValueError("bug")
