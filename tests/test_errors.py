"""Errors are one line for people, and their classes are the exit codes."""

import pytest

from pyembed_gen import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.PyembedError, 1),
        (errors.UsageError, 2),
        (errors.FetchError, 3),
        (errors.ArchiveError, 4),
        (errors.WriteError, 5),
    ],
)
def test_exit_codes(kind: type[errors.PyembedError], code: int) -> None:
    """Each class has the exit code that the command line promises, and all can be caught as PyembedError."""
    assert kind.exit_code == code
    assert issubclass(kind, errors.PyembedError)


def test_message_and_hint_are_one_line() -> None:
    """Whatever the message holds, what is printed is one line with the hint behind it."""
    error = errors.ArchiveError("reading x:\n  a\tb\r\n", hint="try again")
    assert str(error) == "reading x: a b; try again"
    assert error.hint == "try again"


def test_hint_is_optional() -> None:
    """Without a hint there is no dangling separator."""
    assert str(errors.WriteError("writing x")) == "writing x"


def test_control_characters_are_not_printed() -> None:
    """What a server wrote into its reason, or a name in an archive, does not command the terminal."""
    error = errors.FetchError("500 Bad \x1b]0;pwn\x07 \x9b31m", hint="see\x7f \x90x für mehr")
    assert str(error) == "500 Bad \ufffd]0;pwn\ufffd \ufffd31m; see\ufffd \ufffdx für mehr"
