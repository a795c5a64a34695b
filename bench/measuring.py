"""What the benchmarks share: the cost of a command, and the least and the median of some figures."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cost", "least_and_median", "measure", "which"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took, children that it waited for included.

    ``wall`` and ``cpu`` (user and system) in seconds; ``peak`` is the largest resident set of one process
    in bytes, and at least that of this one, which it was forked from.
    """

    wall: float
    cpu: float
    peak: int


def measure(command: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command, append what it prints to ``log``, and return what it took (Unix only).

    Raises RuntimeError with the end of the log if the command fails.
    """
    with log.open("ab") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        raise RuntimeError(f"{command[0]} exited with {process.returncode}; the end of {log}:\n{tail}")
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) counts in bytes there, else in KiB
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def least_and_median(values: Sequence[float]) -> dict[str, float]:
    """Return ``min`` and ``median`` of at least one value."""
    return {"min": min(values), "median": statistics.median(values)}


def which(program: str) -> str:
    """Return the path of a program on PATH. Raises RuntimeError if there is none."""
    path = shutil.which(program)
    if path is None:
        raise RuntimeError(f"{program} is not on PATH")
    return path
