"""Lists of sums are read strictly and written in one way only."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyembed_gen import sums
from pyembed_gen.errors import FetchError, UsageError

DATA = Path(__file__).parent / "data"
ONE = "1" * 64
TWO = "2" * 64


def test_reads_real_releases() -> None:
    """The SHA256SUMS of python-build-standalone are read completely."""
    for path in sorted(DATA.glob("SHA256SUMS-*")):
        text = path.read_text(encoding="utf-8")
        assert len(sums.parse(text, where=path.name)) == len(text.splitlines()) > 0


def test_reads_what_sha256sum_writes_in_either_mode() -> None:
    """Text mode has two blanks, binary mode a blank and a star."""
    text = f"{ONE}  a.tar.zst\n{TWO} *b.tar.zst\n"
    assert sums.parse(text, where="SHA256SUMS") == {"a.tar.zst": ONE, "b.tar.zst": TWO}


def test_blank_lines_crlf_and_capitals_are_fine() -> None:
    """What an editor or another system makes of a list does not change what it says."""
    text = f"\r\n{'AB' * 32}  a\r\n   \n{TWO}  b"
    assert sums.parse(text, where="SHA256SUMS") == {"a": "ab" * 32, "b": TWO}


def test_the_same_line_twice_is_fine() -> None:
    """Repeating a fact is no contradiction."""
    assert sums.parse(f"{ONE}  a\n{ONE} *a\n", where="lock") == {"a": ONE}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{ONE} a", "expected a sha256, two blanks and an asset"),
        (f"{ONE}", "expected a sha256, two blanks and an asset"),
        (f"{ONE[:-1]}  a", "expected a sha256, two blanks and an asset"),
        (f"{ONE[:-1]}g  a", "expected a sha256, two blanks and an asset"),
        (f"{ONE}  a\x00b", "expected a sha256, two blanks and an asset"),
        ("<!DOCTYPE html>", "expected a sha256, two blanks and an asset"),
        (f"{ONE}  dir/a", "not a plain file name"),
        (f"{ONE}  ..\\a", "not a plain file name"),
        (f"{ONE}  ..", "not a plain file name"),
        (f"{TWO}  first", "first is listed twice, with different sums"),
    ],
)
def test_anything_else_is_an_error_that_names_file_and_line(line: str, reason: str) -> None:
    """A list that is wrong in one place is not believed in the others."""
    with pytest.raises(FetchError) as caught:
        sums.parse(f"{ONE}  first\n{line}\n", where="https://host/SHA256SUMS", hint="check --mirror")
    assert str(caught.value).startswith("reading sums from https://host/SHA256SUMS: line 2: ")
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; check --mirror")


def test_the_caller_chooses_the_class_of_error() -> None:
    """A broken matrix.lock is exit 2, a broken download exit 3."""
    with pytest.raises(UsageError, match=r"matrix[.]lock"):
        sums.parse("nonsense", where="matrix.lock", error=UsageError)


def test_renders_in_byte_order_of_the_names() -> None:
    """The order is the same on every machine, whatever its locale."""
    assert sums.render({"b": ONE, "B": TWO, "é": ONE}) == f"{TWO}  B\n{ONE}  b\n{ONE}  é\n"
    assert sums.render({}) == ""


@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9+._-]{1,30}", fullmatch=True), st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
    )
)
def test_what_is_rendered_is_read_back(original: dict[str, str]) -> None:
    """Render and parse are each other's inverse."""
    listed = {name: digest for name, digest in original.items() if name not in {".", ".."}}
    assert sums.parse(sums.render(listed), where="lock") == listed


def test_what_is_rendered_is_what_sha256sum_prints() -> None:
    """A person can check a folder of archives against the lock with coreutils: 64 digits, two blanks, the name."""
    digest = hashlib.sha256(b"").hexdigest()
    line = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty\n"
    assert sums.render({"empty": digest}) == line
