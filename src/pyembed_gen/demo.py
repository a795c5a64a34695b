"""Shows the whole thing on this machine: a bundle, a Go program with it inside, two starts without a PATH."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyembed_gen import matrix as matrix_
from pyembed_gen import pipeline
from pyembed_gen.errors import FetchError, UsageError, WriteError
from pyembed_gen.matrix import Matrix
from pyembed_gen.pipeline import Result, Settings
from pyembed_gen.plan import Request
from pyembed_gen.progress import Progress
from pyembed_gen.terminal import human_bytes
from pyembed_gen.workspace import workspace

__all__ = ["Outcome", "run"]

_ATTEMPTS = 1  # whether PBS can be reached is a question, not a download worth waiting for
_SECONDS = 600.0  # a build or a start that takes longer hangs


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demonstration showed; times are seconds of the whole process, the size is bytes."""

    result: Result
    said: str
    binary_size: int
    first_start: float
    second_start: float

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as values for JSON."""
        return {
            "platform": self.result.job.platform.key,
            "python": self.result.job.version,
            "portable": self.result.manifest.origin.portable,
            "said": self.said,
            "binary": self.binary_size,
            "embedded": self.result.embedded,
            "firstStart": round(self.first_start, 4),
            "secondStart": round(self.second_start, 4),
        }

    def to_text(self) -> str:
        """Return the outcome for people."""
        return "\n".join(
            [
                self.said.rstrip("\n"),
                "",
                f"binary        {human_bytes(self.binary_size)}, of that {human_bytes(self.result.embedded)} Python",
                f"first start   {self.first_start * 1000:.0f} ms (extracts Python once)",
                f"second start  {self.second_start * 1000:.0f} ms",
            ]
        )


def run(
    matrix: Matrix, source: str, settings: Settings, progress: Progress, *, pbs: str = "", mirror: str = ""
) -> Outcome:
    """Generate, build and run examples/hello in a temporary folder.

    Without ``source`` and ``mirror`` it is PBS, or the interpreter of this machine if PBS cannot be had. Raises
    UsageError if there is no Go, WriteError if the build or the program fails, and what generating raises.
    """
    go = shutil.which("go")
    if go is None:
        raise UsageError("looking for go: it is not on the PATH", hint="install Go 1.24 or newer from go.dev")
    with workspace(settings.cache) as folder:
        module = _lay_out(folder)
        request = Request(platforms=(_here(go),), pbs=pbs, mirror=mirror, out=module / "data")
        result = _generate(matrix, request, source, settings, progress)
        task = progress.task("building examples/hello with go build")
        binary = module / ("hello.exe" if os.name == "nt" else "hello")
        _call([go, "build", "-o", str(binary), "."], module, {**os.environ, "GOWORK": "off", "GOFLAGS": ""})
        task.done("done")
        environ = _without_path(folder)
        first, said = _timed(binary, environ)
        second, _ = _timed(binary, environ)
        return Outcome(result, said, binary.stat().st_size, first, second)


def _lay_out(folder: Path) -> Path:
    """Copy the example and the runtime as they lie in the repository, and return the example's folder."""
    defaults = matrix_.default_directory()
    shipped = (defaults / "hello").is_dir()
    hello = defaults / "hello" if shipped else defaults / "examples" / "hello"
    ignored = shutil.ignore_patterns("*_test.go", "testdata")
    shutil.copytree(defaults / "runtime", folder / "runtime", ignore=ignored)
    (folder / "examples" / "hello").mkdir(parents=True)
    for name in ("main.go", "go.mod", "go.sum"):
        shutil.copyfile(hello / name, folder / "examples" / "hello" / name)
    return folder / "examples" / "hello"


def _here(go: str) -> str:
    values = _call([go, "env", "GOOS", "GOARCH"], Path.cwd(), os.environ).split()
    return "/".join(values)


def _generate(matrix: Matrix, request: Request, source: str, settings: Settings, progress: Progress) -> Result:
    if source or request.mirror:
        asked = request if source in ("", "pbs") else replace(request, platforms=())
        return pipeline.generate(matrix, asked, source or "pbs", settings, progress)[0]
    hasty = replace(settings, policy=replace(settings.policy, attempts=_ATTEMPTS))
    try:
        return pipeline.generate(matrix, request, "pbs", hasty, progress)[0]
    except FetchError as error:
        progress.note(f"taking the interpreter of this machine, as PBS could not be had: {error.args[0]}")
        return pipeline.generate(matrix, replace(request, platforms=(), pbs=""), "host", settings, progress)[0]


def _without_path(folder: Path) -> Mapping[str, str]:
    """Return an environment in which no Python can be found, and where extraction starts from nothing."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LD_", "DYLD_"))}
    return {**kept, "PATH": "", "PYEMBED_CACHE_DIR": str(folder / "extracted")}


def _timed(binary: Path, environ: Mapping[str, str]) -> tuple[float, str]:
    since = time.perf_counter()
    said = _call([str(binary)], binary.parent, environ)
    return time.perf_counter() - since, said


def _call(command: list[str], where: Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=where, env=dict(environ), capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode != 0:
        last = done.stderr.strip() or f"exit code {done.returncode}"
        raise WriteError(f"running {Path(command[0]).name} {' '.join(command[1:])}: {last}", hint="see above")
    return done.stdout
