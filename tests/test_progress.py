"""Stages can say what they do although nobody watches."""

from pyembed_gen.progress import Progress, Silent, Task


def test_silent_says_nothing(capfd: object) -> None:
    """Silent is a progress like any other, and prints nothing."""
    progress: Progress = Silent()
    task: Task = progress.task("fetching", 100, unit="files")
    task.advance(50)
    task.done("quick")
    progress.note("retrying")
    assert capfd.readouterr() == ("", "")  # type: ignore[attr-defined]
