"""People see bars where there is a terminal, lines where there is a log, and nothing if they want so."""

import fcntl
import io
import os
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pyembed_gen.progress import Progress, Silent
from pyembed_gen.terminal import Lines, human_bytes, watching

ERASE_LINE = "\x1b[2K"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1049, "1.0 kB"),
        (14_800_000, "14.8 MB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (999_999_999, "1.0 GB"),
        (5_000_000_000_000, "5000.0 GB"),
        (0.4, "0 B"),
    ],
)
def test_sizes_for_people(size: float, text: str) -> None:
    """Sizes are decimal, with one digit after the point, and never 1000.0 of a unit that has a larger one."""
    assert human_bytes(size) == text


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_a_log_gets_a_line_every_five_seconds_and_one_at_the_end() -> None:
    """A task that goes on says how far it is; a short one says nothing before it ends."""
    stream, clock = io.StringIO(), Clock()
    task = Lines(stream, clock).task("fetching x", 4_000_000)
    for second in (1.0, 4.9, 5.0, 9.9, 10.1):
        clock.now = second
        task.advance(500_000)
    task.done()
    assert stream.getvalue().splitlines() == [
        "fetching x: 1.5 MB of 4.0 MB",
        "fetching x: 2.5 MB of 4.0 MB",
        "fetching x: 2.5 MB",
    ]


def test_a_task_ends_with_what_it_came_to() -> None:
    """A note at the end takes the place of the amount; a total that is not known is not shown; units are shown."""
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, clock)
    task = lines.task("checking", unit="files")
    clock.now = 6
    task.advance(3)
    task.done()
    lines.task("fetching", 10).done("cached")
    lines.note("retrying")
    assert stream.getvalue().splitlines() == ["checking: 3 files", "checking: 3 files", "fetching: cached", "retrying"]


def test_lines_of_threads_are_not_mixed() -> None:
    """Every line is whole, and no amount is lost, however many threads advance a task."""
    stream = io.StringIO()
    lines = Lines(stream)
    task = lines.task("packing", unit="files")

    def work() -> None:
        for _ in range(1000):
            task.advance(1)
        lines.note("x" * 100)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    task.done()
    assert stream.getvalue().splitlines() == ["x" * 100] * 8 + ["packing: 8000 files"]


def test_quiet_is_silent() -> None:
    """With -q nothing is written, whatever the stream is."""
    stream = io.StringIO()
    with watching(quiet=True, stream=stream) as progress:
        assert isinstance(progress, Silent)
        progress.note("hidden")
    assert stream.getvalue() == ""


def test_a_pipe_gets_lines() -> None:
    """What is not a terminal gets plain lines, without escape sequences."""
    stream = io.StringIO()
    with watching(quiet=False, stream=stream) as progress:
        progress.task("packing [x]").done("done")
    assert stream.getvalue() == "packing [x]: done\n"


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Progress never gets into what --json prints on standard output."""
    with watching(quiet=False) as progress:
        progress.note("said")
    assert capsys.readouterr() == ("", "said\n")


@contextmanager
def terminal(width: int = 80) -> Iterator[tuple[io.TextIOWrapper, Callable[[], str]]]:
    """Yield the writing end of a real terminal, and what has appeared on it when that is closed."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                block = os.read(master, 4096)
            except OSError:  # EIO: nobody has it open any more (Linux)
                return
            if not block:
                return
            seen.extend(block)

    reader = threading.Thread(target=read)
    reader.start()
    stream = os.fdopen(slave, "w", encoding="utf-8")

    def text() -> str:
        stream.close()
        reader.join()
        return seen.decode()

    try:
        yield stream, text
    finally:
        text()
        os.close(master)


def shown(work: Callable[[Progress], None], monkeypatch: pytest.MonkeyPatch, width: int = 80) -> str:
    """Return all that some work shows on a terminal, escape sequences included."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    with terminal(width) as (stream, text):
        with watching(quiet=False, stream=stream) as progress:
            work(progress)
        return text()


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task is a bar with its label and how much of it is done, and the cursor comes back in the end."""

    def work(progress: Progress) -> None:
        task = progress.task("unpacking cpython", 200)
        task.advance(100)
        progress.note("retrying")
        time.sleep(0.3)  # bars are drawn ten times a second
        task.done()

    everything = shown(work, monkeypatch)
    assert "unpacking cpython" in everything
    assert "50%" in everything
    assert "retrying" in everything
    assert everything.rindex("\x1b[?25h") > everything.rindex("\x1b[?25l")


def test_notes_stay_and_bars_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a task came to stays on the terminal when its bar is gone."""

    def work(progress: Progress) -> None:
        progress.task("fetching a").done("14.8 MB")
        progress.task("fetching b").done()

    everything = shown(work, monkeypatch)
    assert "fetching a: 14.8 MB" in everything
    assert "fetching b:" not in everything
    assert "━" not in everything.rpartition(ERASE_LINE)[2]


def test_labels_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's name may hold brackets, which rich would take for markup or fail at."""
    name = "unpacking [/x] and [bold]b[/bold]"

    def work(progress: Progress) -> None:
        task = progress.task(name, 10)
        task.advance(5)
        progress.note(f"note [/x] {name}")
        task.done("[/done]")

    everything = shown(work, monkeypatch, width=120)
    assert everything.count(name) >= 3
    assert "note [/x]" in everything
    assert f"{name}: [/done]" in everything


def test_long_notes_are_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL can be copied from a narrow terminal."""
    url = "https://example.invalid/" + "x" * 100
    everything = shown(lambda progress: progress.note(url), monkeypatch, width=40)
    assert url in everything


def test_an_error_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a task leaves no bar and no hidden cursor."""

    def work(progress: Progress) -> None:
        progress.task("packing", 10).advance(1)
        raise KeyboardInterrupt

    monkeypatch.setenv("TERM", "xterm")
    with terminal() as (stream, text):
        with pytest.raises(KeyboardInterrupt), watching(quiet=False, stream=stream) as progress:
            work(progress)
        everything = text()
    assert everything.rindex("\x1b[?25h") > everything.rindex("\x1b[?25l")


def test_rich_is_not_loaded_for_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading it takes longer than an unchanged run."""
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with watching(quiet=False, stream=io.StringIO()) as progress:
        progress.note("fine")
