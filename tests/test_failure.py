"""pip's last words, where the words of a real pip are hard to come by; the others are in test_resolve.py."""

import pytest

from pipping import LINUX, WINDOWS
from pyembed_gen.failure import Kind, PipFailure, ResolveError, hint, read
from pyembed_gen.piprun import Outcome


@pytest.mark.parametrize(
    ("lines", "kind", "reason"),
    [
        ((), "pip", "pip said nothing"),
        (("Collecting a", "it broke"), "pip", "it broke"),
        (("ERROR: first", "ERROR: odd", "  more"), "pip", "odd"),
        (("ERROR: Exception:", "Traceback", "  x", "OSError: odd"), "pip", "OSError: odd"),
        (
            ("ERROR: Exception:", "Traceback", "E: too many 503 error responses"),
            "index",
            "too many 503 error responses",
        ),
        (("ERROR: Cannot install a and b because these package versions have ...",), "conflict", "conflict"),
        (("    a from https://x.org/a.whl (from -r r.txt):", "  Expected md5 0"), "hash", "its hash is another one"),
        (("ERROR: HTTP error 403 while getting https://x.org/a.whl",), "network", "HTTP error 403 while"),
        (("ERROR: Invalid requirement: 'a b': odd (from line 1 of r)",), "requirement", "odd (from line 1 of r)"),
        (("ERROR: Invalid requirement: --odd",), "option", "--odd"),
    ],
)
def test_words_have_a_kind(lines: tuple[str, ...], kind: Kind, reason: str) -> None:
    """What is not known is told as pip says it."""
    failure = read(Outcome((0, 1), lines, 1), LINUX)
    assert failure.kind == kind
    assert reason in failure.reason
    assert failure.target == LINUX
    assert hint(kind)


@pytest.mark.parametrize(
    ("unread", "kind", "reason"),
    [
        (
            "Could not fetch URL https://x.org/a/: 404 Client Error: Not Found for url: https://x.org - skipping",
            "missing",
            "",
        ),
        (
            "Could not fetch URL https://x.org/a/: 401 Client Error: No for url: https://x.org - skipping",
            "index",
            "401",
        ),
        ("Could not fetch URL https://x.org/a/: connection error: odd - skipping", "network", "connection error: odd"),
        ("Something else", "missing", ""),
    ],
)
def test_an_index_that_was_not_read(unread: str, kind: Kind, reason: str) -> None:
    """A package that is not there is told from an index that is not."""
    line = "ERROR: Could not find a version that satisfies the requirement a (from versions: none)"
    failure = read(Outcome((0, 1), (line,), 1, (unread,)), LINUX)
    assert (failure.kind, failure.requirement) == (kind, "a")
    assert reason in failure.reason


def test_many_versions_are_not_all_told() -> None:
    """The last are the newest."""
    versions = ", ".join(map(str, range(20)))
    line = f"ERROR: Could not find a final version that satisfies the requirement a<0 (from versions: {versions})"
    failure = read(Outcome((0, 1), (line,), 1), LINUX)
    assert failure.reason == "no wheel of such a version fits; there are ... 15, 16, 17, 18, 19"


def test_one_line_for_all() -> None:
    """Each requirement and reason once, with its targets."""
    failures = [
        PipFailure("missing", "a", LINUX, "gone"),
        PipFailure("conflict", "", WINDOWS, "b against c"),
    ]
    assert str(ResolveError(failures)) == (
        "resolving a for linux/amd64, Python 3.14: gone. Resolving requirements for windows/amd64, Python 3.13: "
        "b against c; try another version, or leave that platform out with --only-platforms"
    )
