"""What can go wrong, one class for each exit code of the command line."""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Return a text with U+FFFD for control characters: what others wrote must not command a terminal."""
    return _CONTROL.sub("\ufffd", text)


class PyembedError(Exception):
    """A failure that its user can do something about.

    The message is one line without control characters: what was being done, to what, and what went
    wrong. ``hint`` says what to try. Anything that is not a PyembedError is a bug and keeps its traceback.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = " ".join(str(self.args[0]).split())
        return printable(f"{message}; {self.hint}" if self.hint else message)


class UsageError(PyembedError):
    """The command line or the matrix asks for something that does not exist or contradicts itself."""

    exit_code = 2


class FetchError(PyembedError):
    """An archive or its sums could not be had, or are not what they should be."""

    exit_code = 3


class ArchiveError(PyembedError):
    """An archive, a manifest or a bundle is damaged, hostile or not what it claims to be."""

    exit_code = 4


class WriteError(PyembedError):
    """Output, cache or temporary files could not be written."""

    exit_code = 5


class PipError(PyembedError):
    """Requirements cannot be read, or no set of wheels satisfies them for a platform, or pip failed."""

    exit_code = 6
