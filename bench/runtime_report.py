"""The figures of runtime.py as a table for people, a document for docs/, and a plot."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from statistics import median
from typing import Any

from measuring import least_and_median

__all__ = [
    "MEMORY_TARGET",
    "PEER",
    "TARGETS",
    "Conditions",
    "Memory",
    "Report",
    "Row",
    "markdown",
    "plot",
    "rows",
    "summary",
    "table",
]

PEER = "peer"
JUDGED = "gzip"  # the codec that the targets are about: the default one

# DESIGN section 9: the most that our time may be of the peer's, by place and by what is done.
TARGETS = {
    ("disk", "first extraction"): 0.35,
    ("tmpfs", "first extraction"): 0.15,
    ("disk", "warm start, stat"): 0.4,
    ("tmpfs", "warm start, stat"): 0.4,
    ("disk", "warm start, stamp"): 0.05,
    ("tmpfs", "warm start, stamp"): 0.05,
}
MEMORY_TARGET = 64_000_000  # bytes at the peak of an extraction above those of a process that reads the data
WHOLE = ", whole process"
BUSY = 1.0  # load average from which on the figures are of a machine that does something else as well


@dataclass(frozen=True, slots=True)
class Conditions:
    """Where and with what was measured.

    ``date`` as YYYY-MM-DD in UTC, ``disk`` a file system's type, ``load`` the machine's load average over
    one minute before the start, ``missing`` what was left out and why, or "".
    """

    date: str
    cpu: str
    kernel: str
    disk: str
    go: str
    python: str
    peer: str
    load: float
    missing: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Largest resident sets, in bytes, of processes that do one thing.

    ``idle`` nothing, ``read`` read the embedded data, ``extraction`` extract it, ``extraction_many`` the same as on
    a machine with 16 processors, ``warm`` a warm start at level stat.
    """

    idle: int
    read: int
    extraction: int
    extraction_many: int
    warm: int

    @property
    def above(self) -> int:
        """Bytes at the peak of an extraction above the embedded data."""
        return self.extraction - self.read


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run.

    ``rounds`` has seconds, by place, round, what was done, and program; ``memory`` is by place and program;
    ``embedded`` (bytes) and ``bytecode`` (.pyc files after the script's first run) are by program.
    """

    conditions: Conditions
    rounds: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]]
    memory: Mapping[str, Mapping[str, Memory]]
    embedded: Mapping[str, int]
    bytecode: Mapping[str, int]

    def document(self) -> dict[str, Any]:
        """Return everything, with ratios and verdicts, for JSON."""
        return {**asdict(self), "rows": [asdict(row) | {"verdict": row.verdict} for row in rows(self)]}


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was done at one place.

    ``seconds`` is the median of the rounds by program; ``ratios``, by codec of ours, are the least and the median
    of our seconds by the peer's of the same round. ``target`` is the most that the median may be, if there is one.
    """

    place: str
    what: str
    seconds: Mapping[str, float]
    ratios: Mapping[str, Mapping[str, float]]
    target: float | None

    @property
    def verdict(self) -> str:
        """Say whether the target is ``met`` or ``MISSED``; "" without one."""
        return "" if self.target is None else _verdict(self.ratios[JUDGED]["median"], self.target)


def _verdict(value: float, target: float) -> str:
    return "met" if value <= target else "MISSED"


def rows(report: Report) -> list[Row]:
    """Put the rounds together."""
    return [_row(place, what, rounds) for place, rounds in report.rounds.items() for what in rounds[0]]


def _row(place: str, what: str, rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> Row:
    figures = [one[what] for one in rounds]
    return Row(
        place=place,
        what=what,
        seconds={program: median(one[program] for one in figures) for program in figures[0]},
        ratios={
            program: least_and_median([one[program] / one[PEER] for one in figures])
            for program in figures[0]
            if program != PEER
        },
        target=TARGETS.get((place, what)),
    )


def _cells(report: Report) -> Iterator[list[str]]:
    """Yield the cells of the table of times, heading first."""
    codecs = [name for name in report.embedded if name != PEER]
    yield [
        *("place", "what", "peer ms", *(f"{codec} ms" for codec in codecs)),
        *(word for codec in codecs for word in (f"{codec} / peer: min", "median")),
        "target",
    ]
    for row in rows(report):
        yield [
            *(row.place, row.what, _milliseconds(row.seconds[PEER])),
            *(_milliseconds(row.seconds[codec]) for codec in codecs),
            *(_ratio(row.ratios[codec][which]) for codec in codecs for which in ("min", "median")),
            "" if row.target is None else f"≤ {row.target} {row.verdict}",
        ]


def _milliseconds(seconds: float) -> str:
    milliseconds = 1e3 * seconds
    return f"{milliseconds:.3f}" if milliseconds < 1 else f"{milliseconds:.1f}"


def _ratio(value: float) -> str:
    return f"{value:.3f}" if round(value, 3) >= 0.1 else f"{value:.4f}"  # noqa: PLR2004 - three figures


def _memory_cells(report: Report) -> Iterator[list[str]]:
    """Yield the cells of the table of memory, heading first."""
    yield [
        *("place", "MB at peak", "embedded", "idle", "reads it all", "warm start", "extraction", "above reading it"),
        *("the same for 16 processors", "target"),
    ]
    for place, programs in report.memory.items():
        for name, memory in programs.items():
            many = memory.extraction_many - memory.read
            sizes = (
                report.embedded[name],
                memory.idle,
                memory.read,
                memory.warm,
                memory.extraction,
                memory.above,
                many,
            )
            judged = "" if name == PEER else f"≤ {MEMORY_TARGET / 1e6:.0f} {_verdict(memory.above, MEMORY_TARGET)}"
            yield [place, name, *(f"{size / 1e6:.1f}" for size in sizes), judged]


def _notes(report: Report) -> list[str]:
    counts = ", ".join(f"{name} {count}" for name, count in report.bytecode.items())
    notes = [f"Files of bytecode that the script's first run leaves in the tree: {counts}."]
    if report.conditions.load >= BUSY:
        notes.append("The machine was busy with other work, which costs our extraction more: it runs in parallel.")
    if report.conditions.missing:
        notes.append(f"{report.conditions.missing[0].upper()}{report.conditions.missing[1:]}.")
    return notes


def table(report: Report) -> str:
    """Return the tables for a terminal."""
    tables = [_aligned([*_cells(report)]), _aligned([*_memory_cells(report)])]
    return "\n\n".join([*tables, "\n".join([*_notes(report), summary(report)])])


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Align columns: the first two and the last to the left, figures to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    text = []
    for line in lines:
        cells = [
            cell.ljust(width) if index in {0, 1, len(line) - 1} else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def _markdown_table(lines: Sequence[Sequence[str]]) -> str:
    marks = ["---" if index in {0, 1, len(lines[0]) - 1} else "--:" for index in range(len(lines[0]))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], marks, *lines[1:]))


def markdown(report: Report) -> str:
    """Return the document for docs/, which shows the plot that lies beside it."""
    facts = report.conditions
    places = f"{facts.disk} and tmpfs" if "tmpfs" in report.rounds else facts.disk
    rounds = max(len(one) for one in report.rounds.values())
    return f"""# The runtime's speed

pyembed's runtime beside go-embed-python's, both with CPython {facts.python} for linux/amd64, in one run. This file
and the plot are made by a command that anyone can run (bench/README.md says what it does):

    .venv/bin/python bench/mirror.py /tmp/mirror --platform linux/amd64
    .venv/bin/python bench/runtime.py /tmp/mirror --docs docs

![Our time by go-embed-python's](runtime-performance.svg)

| | |
|---|---|
| date | {facts.date} |
| rounds | {rounds} |
| machine | {facts.cpu}, load average {facts.load:.1f} before the start |
| system | {facts.kernel} |
| file systems | {places} |
| Go | {facts.go} |
| go-embed-python | {facts.peer} |

{summary(report)}

## Time

{_markdown_table([*_cells(report)])}

Times are medians of the rounds. Each ratio is taken within a round, ours by the peer's, and a target is held against
the median for gzip, the default codec. *Whole process* is seen from outside, with the start of the Go program; the
other times are of the call alone or, for the script, of the interpreter alone. The script is
`import asyncio, http.client, ssl, sqlite3, urllib.request`. *At once* is 64 processes, from the first start until the
last has run `print(1)` and ended.

## Memory

{_markdown_table([*_memory_cells(report)])}

MB are the largest resident set (VmHWM) of a process. Embedded data are pages of the program's file, which count once
they are touched: so an extraction is compared with a process that does no more than read all of them.

{chr(10).join(_notes(report))}
"""


def summary(report: Report) -> str:
    """Say in a sentence how many targets were met, and which were not."""
    judged = {f"{row.what} ({row.place})": row.verdict for row in rows(report) if row.verdict}
    judged |= {f"memory, {name} ({place})": verdict for place, name, verdict in _memory_verdicts(report)}
    missed = [name for name, verdict in judged.items() if verdict != "met"]
    return f"{len(judged) - len(missed)} of {len(judged)} targets met; missed: {', '.join(missed) or 'none'}."


def _memory_verdicts(report: Report) -> Iterator[tuple[str, str, str]]:
    for place, programs in report.memory.items():
        for name, memory in programs.items():
            if name != PEER:
                yield place, name, _verdict(memory.above, MEMORY_TARGET)


_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .small { font-size: 11px; }
  .heading { font-weight: 600; }
  .axis { stroke: #8c959f; }
  .peer { stroke: #24292f; stroke-width: 2; }
  .target { stroke: #cf222e; stroke-width: 3; }
  .codec-0 { fill: #0969da; }
  .codec-1 { fill: #8ab9ee; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .axis { stroke: #6e7681; }
    .peer { stroke: #e6edf3; }
    .target { stroke: #ff7b72; }
    .codec-0 { fill: #58a6ff; }
    .codec-1 { fill: #1f4f88; }
  }
"""
_LEFT, _WIDTH, _RIGHT, _BAR, _GAP = 230, 480, 70, 12, 12  # pixels


def plot(report: Report) -> str:
    """Return an SVG picture: a bar for each ratio, a line for the peer, a mark for each target."""
    shown = [row for row in rows(report) if not row.what.endswith(WHOLE)]
    codecs = [name for name in report.embedded if name != PEER]
    longest = max(1.0, *(row.ratios[codec]["median"] for row in shown for codec in codecs))
    scale = _WIDTH / (1.05 * longest)
    parts, y, place = [*_legend(codecs)], 62, ""
    top = y
    for row in shown:
        if row.place != place:
            place = row.place
            y += 26
            parts.append(f'<text class="heading" x="12" y="{y}">{escape(place)}</text>')
            y += 10
        parts += _bars(row, codecs, scale, y)
        y += len(codecs) * _BAR + _GAP
    for kind, x in (("axis", float(_LEFT)), ("peer", _LEFT + scale)):
        parts.append(f'<line class="{kind}" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{y}"/>')
    width, height = _LEFT + _WIDTH + _RIGHT, y + 14
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="Our time by go-embed-python\'s">',
            f"<style>{_STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def _legend(codecs: Sequence[str]) -> Iterator[str]:
    yield '<text class="heading" x="12" y="22">Our time by go-embed-python\'s (shorter is faster)</text>'
    x = 12
    for index, codec in enumerate(codecs):
        yield f'<rect class="codec-{index}" x="{x}" y="36" width="12" height="12"/>'
        yield f'<text x="{x + 18}" y="47">{escape(codec)}</text>'
        x += 80
    for kind, words in (("peer", "go-embed-python = 1"), ("target", f"target for {JUDGED}")):
        yield f'<line class="{kind}" x1="{x + 6}" y1="35" x2="{x + 6}" y2="49"/>'
        yield f'<text x="{x + 18}" y="47">{escape(words)}</text>'
        x += 170


def _bars(row: Row, codecs: Sequence[str], scale: float, y: int) -> Iterator[str]:
    height = len(codecs) * _BAR
    yield f'<text x="{_LEFT - 8}" y="{y + height / 2 + 5:.0f}" text-anchor="end">{escape(row.what)}</text>'
    for index, codec in enumerate(codecs):
        ratio, top = row.ratios[codec]["median"], y + index * _BAR
        yield f'<rect class="codec-{index}" x="{_LEFT}" y="{top}" width="{ratio * scale:.1f}" height="{_BAR - 1}"/>'
        yield f'<text class="small" x="{_LEFT + _WIDTH + 8}" y="{top + _BAR - 2}">{_ratio(ratio)}</text>'
    if row.target is not None:
        x = _LEFT + row.target * scale
        yield f'<line class="target" x1="{x:.1f}" y1="{y - 3}" x2="{x:.1f}" y2="{y + height + 2}"/>'
