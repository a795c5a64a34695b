"""Progress for people: bars where there is a terminal, plain lines on standard error elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from pyembed_gen.progress import Progress, Silent, Task

if TYPE_CHECKING:
    from rich.progress import Progress as Display
    from rich.progress import TaskID

__all__ = ["human_bytes", "watching"]

_LINE_SECONDS = 5.0  # a log gets a line this often from a task that goes on
_UNITS = ("B", "kB", "MB", "GB")
_THOUSAND = 1000


def human_bytes(size: float) -> str:
    """Return a size for people, in decimal units: 14.8 MB."""
    unit = 0
    while round(size, 1) >= _THOUSAND and unit < len(_UNITS) - 1:
        size /= _THOUSAND
        unit += 1
    return f"{size:.0f} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


@contextmanager
def watching(*, quiet: bool, stream: TextIO | None = None) -> Iterator[Progress]:
    """Yield the progress that fits where standard error leads to."""
    where = stream or sys.stderr
    if quiet:
        yield Silent()
    elif where.isatty():
        with _bars(where) as progress:
            yield progress
    else:
        yield Lines(where)


class Lines:
    """Progress as lines: one at a task's end, and one every few seconds while it goes on."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()

    def task(self, label: str, total: int | None = None, *, unit: str = "bytes") -> Task:
        """Announce a task; nothing is printed before it ends or takes long."""
        return _LineTask(self, label, total, unit, self._clock)

    def note(self, message: str) -> None:
        """Print one line."""
        with self._lock:
            self._stream.write(f"{message}\n")
            self._stream.flush()


class _LineTask:
    def __init__(self, lines: Lines, label: str, total: int | None, unit: str, clock: Callable[[], float]) -> None:
        self._lines = lines
        self._label = label
        self._total = total
        self._unit = unit
        self._clock = clock
        self._lock = threading.Lock()
        self._amount = 0
        self._printed = clock()

    def advance(self, amount: int) -> None:
        with self._lock:
            self._amount += amount
            now = self._clock()
            if now - self._printed < _LINE_SECONDS:
                return
            self._printed = now
        self._lines.note(f"{self._label}: {self._progress()}")

    def done(self, note: str = "") -> None:
        self._lines.note(f"{self._label}: {note or self._figure(self._amount)}")

    def _progress(self) -> str:
        if not self._total:
            return self._figure(self._amount)
        return f"{self._figure(self._amount)} of {self._figure(self._total)}"

    def _figure(self, amount: int) -> str:
        return human_bytes(amount) if self._unit == "bytes" else f"{amount} {self._unit}"


@contextmanager
def _bars(stream: TextIO) -> Iterator[Progress]:
    from rich import progress as rich_progress  # noqa: PLC0415 - takes 60 ms, for terminals alone
    from rich.console import Console  # noqa: PLC0415

    columns = (
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TimeRemainingColumn(compact=True),
    )
    with rich_progress.Progress(*columns, console=Console(file=stream), transient=True) as display:
        yield _Bars(display)


class _Bars:
    def __init__(self, display: "Display") -> None:
        self._display = display

    def task(self, label: str, total: int | None = None, *, unit: str = "bytes") -> Task:
        del unit
        return _Bar(self, self._display, self._display.add_task(label, total=total), label)

    def note(self, message: str) -> None:
        self._display.console.print(message, highlight=False, markup=False, soft_wrap=True)


class _Bar:
    def __init__(self, bars: _Bars, display: "Display", number: "TaskID", label: str) -> None:
        self._bars = bars
        self._display = display
        self._number = number
        self._label = label

    def advance(self, amount: int) -> None:
        self._display.advance(self._number, amount)

    def done(self, note: str = "") -> None:
        self._display.remove_task(self._number)
        if note:
            self._bars.note(f"{self._label}: {note}")
