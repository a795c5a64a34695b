"""Runs pip as another program, for a target instead of for this machine; what runs there is pip_inside.py.

pip has no interface for programs but its command line. It is given a job in a file, so that no credentials show in
a list of processes, and a group of processes of its own, which ends with this one. Of its settings those are honoured
that say where it looks and how it connects; see :data:`pip_inside.HONOURED`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pyembed_gen.errors import PipError
from pyembed_gen.refusal import IndexFile
from pyembed_gen.target import Target
from pyembed_gen.url import shown

__all__ = ["VERSION", "Asked", "Command", "Outcome", "Pip", "warning"]

VERSION = "26.3"
"""The pip whose insides are known. pyproject.toml asks for exactly this one."""

_GRACE = 2.0  # seconds in which an interrupted pip may tidy up
_STEERED = "install pyembed-gen into a virtual environment of its own, which brings the right pip"
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of pip: its name and arguments. ``settings``: those of the machine count, as far as honoured.

    ``telling``: it is to tell what it was asked for, and do it (``also``) or do nothing (``only``). It is the last
    command of a run.
    """

    arguments: tuple[str, ...] = field(repr=False)
    settings: bool = True
    telling: Literal["", "also", "only"] = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """Requirements and constraints, as pip understood its arguments and files: PEP 508, credentials and all."""

    requirements: tuple[str, ...] = field(repr=False)
    constraints: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some commands: their exit statuses, up to the first that failed, and what pip said, line by line.

    None of that holds credentials of URLs. ``looks`` is how often markers were evaluated, ``unread`` what pip says of
    pages of an index that it could not have. ``asked`` is None if no command was to tell, or came as far.
    ``files`` are those that there are of each project that pip looked for, if it then failed.
    """

    codes: tuple[int, ...]
    lines: tuple[str, ...]
    looks: int
    unread: tuple[str, ...] = ()
    asked: Asked | None = None
    files: Mapping[str, tuple[IndexFile, ...]] = field(default_factory=dict, repr=False)


class Pip:
    """pip, for the length of a ``with`` block, which ends what still runs. To be used from any thread.

    ``folder`` is where files of a run may lie; what is made there is gone when the run is. ``location`` is where the
    package pip is, by default where this program would import it from.
    """

    def __init__(self, folder: Path, *, location: Path | None = None) -> None:
        self._folder = folder
        self._location = location or _location()
        self._running: set[subprocess.Popen[str]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run(
        self,
        commands: Sequence[Command],
        target: Target,
        *,
        cwd: Path,
        watch: Callable[[str], None] | None = None,
    ) -> Outcome:
        """Run commands one after the other until one fails, with markers that see the target.

        ``watch`` is told every line as it comes. Raises PipError if this pip is another one, or if it died.
        """
        with tempfile.TemporaryDirectory(prefix="pip-", dir=self._folder, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            job, proof = folder / "job.json", folder / "proof.json"
            values = {
                "pip": str(self._location),
                "version": VERSION,
                "environment": dict(target.environment),
                "commands": [asdict(each) for each in commands],
            }
            job.write_text(json.dumps(values), "utf-8")
            with as_file(files("pyembed_gen") / "pip_inside.py") as program:
                arguments = [sys.executable, "-I", *_flags(), str(program), str(job), str(proof)]
                code, lines = self._talk(arguments, _environ(folder), cwd, watch)
            return _outcome(proof, code, lines, target)

    def stop(self) -> None:
        """End everything that runs; nothing can be run any more."""
        with self._guard:
            self._stopped = True
            running = [*self._running]
        for process in running:
            _end(process)

    def _talk(
        self, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, watch: Callable[[str], None] | None
    ) -> tuple[int, list[str]]:
        process = self._start(arguments, environ, cwd)
        lines: list[str] = []
        with process:
            try:
                for text in process.stdout or ():
                    line = shown(text.rstrip("\r\n"))
                    lines.append(line)
                    if watch is not None:
                        watch(line)
                return process.wait(), lines
            finally:
                _end(process)
                with self._guard:
                    self._running.discard(process)

    def _start(self, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path) -> "subprocess.Popen[str]":
        with self._guard:
            if self._stopped:
                raise PipError("running pip: the run is being ended")
            try:
                process = subprocess.Popen(
                    arguments,
                    cwd=cwd,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                    errors="replace",
                    **_own_group(),
                )
            except OSError as error:
                raise PipError(f"running pip with {sys.executable} in {cwd}: {error.strerror or error}") from error
            self._running.add(process)
            return process


def warning(line: str) -> str:
    """Return what a line of pip warns of, empty if it does not warn."""
    before, _, text = line.partition("WARNING: ")
    return "" if before.strip() else text


def _location() -> Path:
    """Return the folder that has the package pip, without importing it."""
    spec = find_spec("pip")
    if spec is None or not spec.submodule_search_locations:
        raise PipError(f"looking for pip {VERSION}: there is none", hint=_STEERED)
    return Path(spec.submodule_search_locations[0]).parent


def _flags() -> list[str]:
    """Return what the child does with compiled modules: what this process does, which ``-I`` would forget."""
    flags = ["-B"] if sys.dont_write_bytecode else []
    return [*flags, "-X", f"pycache_prefix={sys.pycache_prefix}"] if sys.pycache_prefix else flags


def _environ(temporary: Path) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**environ, **dict.fromkeys(_TEMPORARY, str(temporary))}


def _own_group() -> dict[str, Any]:
    """Return what keeps Ctrl-C at a terminal from the child: this process ends it, and tells of it once."""
    if sys.platform == "win32":  # pragma: no cover
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}


def _end(process: "subprocess.Popen[str]") -> None:
    """End a process and its group, if it runs: with a chance to tidy up, then without."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        if sys.platform == "win32":  # pragma: no cover
            process.kill()
            return
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _outcome(proof: Path, code: int, lines: list[str], target: Target) -> Outcome:
    try:
        told = json.loads(proof.read_text("utf-8"))
    except (OSError, ValueError):
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        raise PipError(f"running pip for {target.label}: it ended with status {code}: {last}") from None
    if "unfit" in told:
        raise PipError(f"steering pip {VERSION} for {target.label}: {told['unfit']}", hint=_STEERED)
    asked = told["asked"] and Asked(tuple(told["asked"]["requirements"]), tuple(told["asked"]["constraints"]))
    found = {name: tuple(IndexFile(*each) for each in rows) for name, rows in told["files"].items()}
    return Outcome(tuple(told["codes"]), tuple(lines), told["looks"], tuple(map(shown, told["unread"])), asked, found)
