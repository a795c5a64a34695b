"""How the stages tell a waiting person what is going on, without knowing about terminals."""

from typing import Protocol

__all__ = ["Progress", "Silent", "Task"]


class Task(Protocol):
    """One thing that takes a while: a download, an archive being unpacked, files being compressed."""

    def advance(self, amount: int) -> None:
        """Say that ``amount`` more units (bytes, or files) are done. May be called from any thread."""

    def done(self, note: str = "") -> None:
        """Say that the task has ended, with what it came to."""


class Progress(Protocol):
    """Where tasks are announced."""

    def task(self, label: str, total: int | None = None, *, unit: str = "bytes") -> Task:
        """Announce a task of ``total`` units (None: not known)."""

    def note(self, message: str) -> None:
        """Say one thing that a person may want to know, such as a retry."""


class _SilentTask:
    def advance(self, amount: int) -> None:
        pass

    def done(self, note: str = "") -> None:
        pass


class Silent:
    """Progress that nobody watches."""

    def task(self, label: str, total: int | None = None, *, unit: str = "bytes") -> Task:
        """Announce nothing."""
        del label, total, unit
        return _SilentTask()

    def note(self, message: str) -> None:
        """Say nothing."""
