"""What a person is told during a run, each thing once."""

import threading

from pyembed_gen.errors import printable
from pyembed_gen.progress import Progress, Task

__all__ = ["Notes"]


class Notes:
    """The ``progress`` of one run, without notes that it has had: a dead network is one piece of news, not twenty.

    Control characters do not get through: names and messages of others are in what is told.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def task(self, label: str, total: int | None = None, *, unit: str = "bytes") -> Task:
        """Announce a task, however often its like was announced."""
        return self._progress.task(printable(label), total, unit=unit)

    def note(self, message: str) -> None:
        """Pass on a message that is new. May be called from any thread."""
        with self._lock:
            if message in self._said:
                return
            self._said.add(message)
        self._progress.note(printable(message))
