"""A person is told each thing once in a run."""

import threading

from fetching import Heard
from pyembed_gen.notes import Notes


def test_a_note_is_passed_on_once() -> None:
    """From however many threads, and others in between."""
    heard = Heard()
    notes = Notes(heard)
    threads = [threading.Thread(target=notes.note, args=("host cannot be reached",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    notes.note("other")
    notes.note("host cannot be reached")
    assert heard.notes == ["host cannot be reached", "other"]


def test_each_run_has_its_own_memory() -> None:
    """What one run said, the next one may say again."""
    heard = Heard()
    for _ in range(2):
        Notes(heard).note("same")
    assert heard.notes == ["same", "same"]


def test_tasks_are_announced_each_time() -> None:
    """Two downloads may have one name."""
    heard = Heard()
    notes = Notes(heard)
    for _ in range(2):
        notes.task("fetching linux/amd64", 5).done()
    assert heard.tasks == ["fetching linux/amd64"] * 2


def test_control_characters_do_not_get_through() -> None:
    """What a server or an archive wrote into a message does not command the terminal."""
    heard = Heard()
    notes = Notes(heard)
    notes.note("500 Bad \x1b]0;pwn\x07\x9b31m\x7f über\n")
    notes.task("fetching \x1b[2J").done()
    assert heard.notes == ["500 Bad \ufffd]0;pwn\ufffd\ufffd31m\ufffd über\ufffd"]
    assert heard.tasks == ["fetching \ufffd[2J"]
