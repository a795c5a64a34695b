"""What pip's last words mean: the kind of a failure, the requirement that it is about, and one line for a person."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Literal, TypeAlias, cast

from pyembed_gen.errors import PipError
from pyembed_gen.piprun import Outcome
from pyembed_gen.target import Target

__all__ = ["Kind", "PipFailure", "ResolveError", "hint", "read"]

Kind: TypeAlias = Literal[
    "conflict",
    "missing",
    "python",
    "hash",
    "index",
    "network",
    "requirement",
    "file",
    "option",
    "wheel",
    "build",
    "pip",
]
"""What went wrong.

conflict: requirements exclude each other. missing: no wheel of it fits. python: it is for other Pythons. hash: a sum
differs or is lacking. index: an index answers, but not with its pages. network: nobody answers. requirement: pip does
not understand it. file: a file cannot be read. option: an option that does not exist, or not here. wheel: this wheel is
for another platform, or is none. build: it would have to be built. pip: anything else.
"""


@dataclass(frozen=True, slots=True)
class PipFailure:
    """Why there are no wheels for a target.

    ``requirement`` is as pip has it, empty where the failure is about none. ``reason`` is one line; ``lines`` is what
    pip said, without credentials. ``outcome`` is all that came of it, if that is known.
    """

    kind: Kind
    requirement: str
    target: Target
    reason: str
    lines: tuple[str, ...] = ()
    outcome: Outcome | None = field(default=None, repr=False, compare=False)


class ResolveError(PipError):
    """Requirements have no wheels for some targets: ``failures`` has one entry for each, in the order of targets."""

    def __init__(self, failures: Sequence[PipFailure]) -> None:
        self.failures = tuple(failures)
        super().__init__(_message(failures), hint=_HINTS[failures[0].kind])


_HINTS: dict[Kind, str] = {
    "conflict": "loosen one of the requirements",
    "missing": "try another version, or leave that platform out with --only-platforms",
    "python": "try another version, or another Python with --python",
    "hash": "compare the hashes of the requirement file with what you expect to get",
    "index": "check the URL of the index and its credentials",
    "network": "check the network, the URL of the index and the proxy",
    "requirement": "correct the requirement",
    "file": "check the name",
    "option": "remove the option",
    "wheel": "name a wheel for that platform",
    "build": "build a wheel of it (pip wheel --no-deps) and name that",
    "pip": "try the same with pip download, which says more",
}


def hint(kind: Kind) -> str:
    """Return what to try against a kind of failure."""
    return _HINTS[kind]


def _message(failures: Sequence[PipFailure]) -> str:
    """Return one line: each requirement and reason once, with all targets that it holds for."""
    groups: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        groups.setdefault((failure.requirement, failure.reason), []).append(failure.target.label)
    parts = []
    for (requirement, reason), labels in groups.items():
        what = f"{requirement} for " if requirement else "requirements for "
        parts.append(f"{what}{'; '.join(labels)}: {reason}")
    return "resolving " + ". Resolving ".join(parts)


def read(outcome: Outcome, target: Target) -> PipFailure:
    """Return what an outcome that failed means."""
    lines = tuple(line for line in outcome.lines if line.strip())
    for kind, pattern, explain in _PATTERNS:
        for number, line in enumerate(lines):
            match = pattern.search(line)
            if match:
                requirement = match.groupdict().get("requirement") or ""
                failure = PipFailure(kind, requirement, target, explain(match, lines[number:]), lines)
                return _unreachable(failure, outcome) if kind == "missing" else failure
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    last = (errors or lines or ("pip said nothing",))[-1].strip()
    if last == _CRASHED:  # a traceback follows, which ends with what went wrong
        last = lines[-1].strip()
        if answer := _ANSWER.search(last):
            return PipFailure("index", "", target, answer[0], lines)
    return PipFailure("pip", "", target, last, lines)


def _unreachable(failure: PipFailure, outcome: Outcome) -> PipFailure:
    """Tell an index without such a package from one that was not reached."""
    for message in outcome.unread:
        match = _UNREAD.search(message)
        if match and not match["why"].startswith("404 "):
            answer = _ANSWER.search(match["why"])
            kind: Kind = "index" if answer else "network"
            why = answer[0] if answer else match["why"].rpartition("Error(")[2].strip("'\")") or match["why"]
            reason = f"{match['url']}: {why}"
            return replace(failure, kind=kind, reason=reason)
    return failure


_UNREAD = re.compile(r"^Could not fetch URL (?P<url>\S+): (?P<why>.*) - skipping$", re.DOTALL)
_ANSWER = re.compile(r"^\d{3} (?:Client|Server) Error.*?(?= for url: )|too many \d{3} error responses")


def _first(match: re.Match[str], lines: Sequence[str]) -> str:
    del lines
    return match["reason"].strip()


def _conflict(match: re.Match[str], lines: Sequence[str]) -> str:
    """Name what excludes each other, as pip lists it."""
    del match
    listed = lines[1:]
    if listed and listed[0].startswith("The conflict is caused by"):
        causes = [line.strip() for line in takewhile(lambda line: line.startswith("    "), listed[1:])]
        return ", ".join(dict.fromkeys(causes))
    return "its requirements conflict"


def _versions(match: re.Match[str], lines: Sequence[str]) -> str:
    """Say which versions there are for the target: the newest, a person knows how to find the rest."""
    del lines
    found = match["versions"].split(", ")
    if found == ["none"]:
        return "there is no wheel of it that fits"
    shown = ", ".join(found[-_SHOWN:])
    return f"no wheel of such a version fits; there are {'... ' if len(found) > _SHOWN else ''}{shown}"


def _hashes(match: re.Match[str], lines: Sequence[str]) -> str:
    """Say what was expected, and what came."""
    del match
    sums = [line.split()[-1] for line in lines if _SUM.search(line)]
    return f"its hash is {sums[-1]}, not {sums[0]}" if len(sums) > 1 else "its hash is another one"


def _problem(match: re.Match[str], lines: Sequence[str]) -> str:
    """Say what is wrong with a requirement, and where it is."""
    where = next((line for line in lines[:4] if "(from line " in line or "(from -r " in line), "")
    place = where[where.find("(from ") :].strip() if where else ""
    reason = match["reason"].strip()
    return f"{reason} {place}".strip() if place not in reason else reason


def _unknown_option(match: re.Match[str], lines: Sequence[str]) -> str:
    told = next((line.partition("error: ")[2] for line in lines[:3] if "error: " in line), "")
    return f"{match['reason'].strip()}: {told}" if told else match["reason"].strip()


def _built(match: re.Match[str], lines: Sequence[str]) -> str:
    del match, lines
    return "it has no wheel and would have to be built"


_SHOWN = 5
_CRASHED = "Exception:"
_SUM = re.compile(r"^\s+(Expected \w+|Got)\s+[0-9a-f]{32,}$")
_MISSING = (
    r"^ERROR: Could not find a (?:final )?version that satisfies the requirement (?P<requirement>.*) "
    r"\(from versions: (?P<versions>.*)\)$"
)
_Explain: TypeAlias = Callable[[re.Match[str], Sequence[str]], str]

# Of each failure the first line that says what it is about, in this order: most end with the same words.
_PATTERNS: tuple[tuple[Kind, re.Pattern[str], _Explain], ...] = tuple(
    (kind, re.compile(pattern), explain)
    for kind, pattern, explain in cast(
        "tuple[tuple[Kind, str, _Explain], ...]",
        (
            ("build", r"pyembed-gen: pip may not run", _built),
            ("hash", r"^ {4}(?P<requirement>\S+)(?: @ \S+)?(?: from \S+)?(?: \(from .*\))?:$", _hashes),
            ("hash", r"^ERROR: (?P<reason>Hashes are required in --require-hashes mode)", _first),
            ("hash", r"^ERROR: (?P<reason>In --require-hashes mode, all requirements must have .* ==)", _first),
            ("hash", r"^ERROR: (?P<reason>Can't verify hashes for .*)", _first),
            ("conflict", r"^ERROR: Cannot install (?P<requirement>.*) because these package versions", _conflict),
            ("python", r"^ERROR: Package '(?P<requirement>[^']*)' (?P<reason>requires a different Python: .*)", _first),
            ("python", r"^ERROR: (?P<reason>Packages require a different Python\. .*)", _first),
            ("missing", _MISSING, _versions),
            ("file", r"^ERROR: Could not open (?P<reason>(?:requirements|constraint) file: .*)", _first),
            ("option", r"^ERROR: Invalid requirement: (?P<reason>-.*)", _unknown_option),
            ("requirement", r"^ERROR: Invalid requirement: '(?P<requirement>[^']*)': (?P<reason>.*)", _problem),
            (
                "wheel",
                r"^ERROR: (?P<requirement>\S+\.whl) (?P<reason>is not a supported wheel on this platform)",
                _first,
            ),
            ("wheel", r"^ERROR: (?P<reason>Invalid wheel filename .*)", _first),
            ("network", r"^\u00d7 (?P<reason>(?:Failed to|Unable to|SSL|Could not).*)", _first),
            ("network", r"^ERROR: (?P<reason>HTTP error .*)", _first),
            ("network", r"^ERROR: Could not install packages due to an OSError: (?P<reason>HTTP.*)", _first),
            ("option", r"^(?P<reason>no such option: .*|option .*)", _first),
            ("option", r"^ERROR: (?P<reason>(?:When restricting platform|Platform and interpreter) .*)", _first),
        ),
    )
)
