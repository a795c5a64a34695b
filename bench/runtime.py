"""Time the peer's runtime against ours on the same CPython: extraction, warm starts, many starts at once, memory.

    python bench/runtime.py MIRROR [--runs 5] [--json FILE] [--docs DIR]

MIRROR comes from mirror.py and has 3.14.6 for linux/amd64, which is what this runs on. Two small Go programs
(bench/runtime/) embed the peer's bundle and ours. They are started as fresh processes and say how long
the one call took that extracts the interpreter or finds it extracted. Every round does everything once with
each program, in an order that changes; ratios are taken within a round.
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generate import SIZED, VERSION, Bench, run_ours
from measuring import measure, which
from peer import MODULE, VERSIONS, data_dir, peer_module
from runtime_report import PEER, Conditions, Memory, Report, markdown, plot, table

__all__ = ["Program", "main"]

SOURCES = Path(__file__).with_suffix("")
RUNTIME = SOURCES.parents[1] / "runtime"
CODECS = ("gzip", "zstd")
AT_ONCE = 64
FIRST_EXTRACTIONS = 3
WARM_STARTS = 15
SCRIPT = "import asyncio, http.client, ssl, sqlite3, urllib.request"
SHORTEST = "print(1)"
MANY_PROCESSORS = 16


@dataclass(frozen=True, slots=True)
class Program:
    """One of the programs that are compared: its ``name``, its file, and the directory with its bundle."""

    name: str
    path: Path
    bundle: Path

    @property
    def embedded(self) -> int:
        """Bytes that ``//go:embed`` takes into the program."""
        return sum(path.stat().st_size for path in self.bundle.rglob("*") if path.is_file())


@dataclass(frozen=True, slots=True)
class Start:
    """What one process took.

    ``call`` (the runtime's call alone), ``run`` (the interpreter, from start to end) and ``wall`` (the whole process,
    seen from outside) in seconds; ``peak``, its largest resident set, in bytes.
    """

    call: float
    run: float
    wall: float
    peak: int


@dataclass(frozen=True, slots=True)
class Place:
    """A directory on the file system that is extracted to, and a working directory that keeps the answers."""

    name: str
    base: Path
    work: Path

    def of(self, program: str) -> Path:
        """Return the directory that a program, given by its name, extracts below."""
        return self.base / program

    def clear(self, program: str) -> None:
        """Remove what a program extracted, and have everything that waits to be written written now."""
        if self.of(program).exists():
            shutil.rmtree(self.of(program))
        os.sync()

    def start(self, program: Program, mode: str, *words: str, processors: int | None = None) -> Start:
        """Run a program in a mode of bench/runtime/common.go; the base is this place's."""
        base = [words[0], str(self.of(program.name)), *words[1:]] if words else []
        env = {**_environ(), **({"GOMAXPROCS": str(processors)} if processors else {})}
        log = self.work / "answer"
        log.unlink(missing_ok=True)
        cost = measure([str(program.path), mode, *base], log, self.work, env)
        answer = json.loads(log.read_text(encoding="utf-8"))
        return Start(answer["call"] / 1e9, answer["run"] / 1e9, cost.wall, answer["peak"])

    def start_many(self, program: Program) -> float:
        """Run a program 64 times at once and return the seconds until the last has run Python and ended."""
        command = [str(program.path), "run", "stat", str(self.of(program.name)), "-c", SHORTEST]
        started = time.perf_counter()
        processes = [subprocess.Popen(command, env=_environ(), stdout=subprocess.PIPE) for _ in range(AT_ONCE)]
        answers = [process.communicate()[0] for process in processes]
        wall = time.perf_counter() - started
        bad = [process.returncode for process in processes if process.returncode]
        if bad or any(json.loads(answer)["output"] != "1\n" for answer in answers):
            raise RuntimeError(f"{program.name}: of {AT_ONCE} starts at once some failed: {bad}")
        return wall


def _environ() -> dict[str, str]:
    """Return an environment without settings of Python's or of a runtime's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYEMBED_", "GO"))}


def build_ours(bench: Bench, runtime: Path, codec: str) -> Program:
    """Make our bundle, write a module around it, and build it."""
    module = bench.work / codec
    module.mkdir()
    run_ours(bench, f"{codec}/data", VERSION, [SIZED], codec)
    for name in ("common.go", "ours.go"):
        shutil.copy(SOURCES / name, module)
    shutil.copy(runtime / "go.sum", module)
    required = (runtime / "go.mod").read_text(encoding="utf-8").partition("require")
    lines = [
        *("module bench.invalid/ours", "", "go 1.26", ""),
        "require pyembed.invalid/runtime v0.0.0",
        f"replace pyembed.invalid/runtime => {runtime.resolve()}",
        "".join(required[1:]),
    ]
    (module / "go.mod").write_text("\n".join(lines), encoding="utf-8")
    return Program(codec, _build(bench, module, "."), module / "data" / SIZED.replace("/", "-"))


def build_peer(bench: Bench) -> Program:
    """Build the program for the peer in a copy of its module: only a package in there can read its data."""
    module = bench.work / "peer"
    shutil.copytree(peer_module(VERSIONS[VERSION]), module)
    for path in (module, *module.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    program = module / "python" / "bench"
    program.mkdir()
    for name in ("common.go", "peer.go"):
        shutil.copy(SOURCES / name, program)
    return Program(PEER, _build(bench, module, f"{MODULE}/python/bench"), data_dir(module, SIZED))


def _build(bench: Bench, module: Path, package: str) -> Path:
    path = bench.work / f"{module.name}.exe"
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
    measure([which("go"), "build", "-o", str(path), package], bench.work / "go.log", module, env)
    return path


Figures = dict[str, dict[str, float]]


def run_round(place: Place, programs: Sequence[Program]) -> Figures:
    """Do everything once with each program, in the given order: seconds by what was done and by program."""
    figures: Figures = {}

    def note(what: str, program: Program, seconds: float) -> None:
        figures.setdefault(what, {})[program.name] = seconds

    steps = [("first extraction", _first_extractions(place, programs))]
    steps += [(f"warm start, {level}", _warm_starts(place, programs, level)) for level in ("stat", "stamp")]
    for what, found in steps:
        for program, starts in found.items():
            note(what, program, statistics.median(one.call for one in starts))
            note(f"{what}, whole process", program, statistics.median(one.wall for one in starts))
    for program in programs:
        for what in ("first run of a script", "second run of a script"):
            note(what, program, place.start(program, "run", "stat", "-c", SCRIPT).run)
        os.sync()
    for program in programs:
        note(f"{AT_ONCE} warm starts at once", program, place.start_many(program))
    for program in programs:
        place.clear(program.name)
        note(f"{AT_ONCE} first starts at once", program, place.start_many(program))
        place.clear(program.name)
    return figures


def _first_extractions(place: Place, programs: Sequence[Program]) -> dict[Program, list[Start]]:
    """Extract with each program in turn, a few times, each time into a directory that is not there."""
    found: dict[Program, list[Start]] = {program: [] for program in programs}
    for _ in range(FIRST_EXTRACTIONS):
        for program in programs:
            place.clear(program.name)
            found[program].append(place.start(program, "open", "stat"))
            os.sync()
    return found


def _warm_starts(place: Place, programs: Sequence[Program], level: str) -> dict[Program, list[Start]]:
    """Start each program in turn, many times; the first time does not count."""
    found: dict[Program, list[Start]] = {program: [] for program in programs}
    for number in range(WARM_STARTS + 1):
        for program in programs:
            start = place.start(program, "open", level)
            if number:
                found[program].append(start)
    return found


def count_bytecode(place: Place, program: Program) -> int:
    """Return how many .pyc files the script leaves in the tree that a program extracted."""
    place.clear(program.name)
    place.start(program, "run", "stat", "-c", SCRIPT)
    count = len([*place.of(program.name).rglob("*.pyc")])
    place.clear(program.name)
    return count


def measure_memory(place: Place, program: Program) -> Memory:
    """Compare the peak of an extraction with that of a process which does no more than read the data."""

    def extraction(processors: int | None = None) -> int:
        place.clear(program.name)
        return place.start(program, "open", "stat", processors=processors).peak

    found = Memory(
        idle=place.start(program, "idle").peak,
        read=place.start(program, "read").peak,
        extraction=max(extraction() for _ in range(3)),
        extraction_many=max(extraction(MANY_PROCESSORS) for _ in range(3)),
        warm=place.start(program, "open", "stat").peak,
    )
    place.clear(program.name)
    return found


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: where, its type, and its options."""

    point: Path
    type: str
    options: frozenset[str]


def mount_of(path: Path, mounts: str) -> Mount:
    """Return the file system that holds an absolute path, from the text of /proc/mounts (proc_pid_mounts(5))."""
    found = Mount(Path("/"), "unknown", frozenset())
    for line in mounts.splitlines():
        _, point, kind, options, *_ = line.split(" ")
        for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            point = point.replace(escape, character)
        if path.is_relative_to(point) and len(Path(point).parts) >= len(found.point.parts):
            found = Mount(Path(point), kind, frozenset(options.split(",")))
    return found


def _mounts() -> str:
    return Path("/proc/mounts").read_text(encoding="utf-8")


def why_no_tmpfs(path: Path, mounts: str) -> str:
    """Say why a directory can't stand for tmpfs, or ""; ``mounts`` is the text of /proc/mounts."""
    if not path.is_dir():
        return f"{path} is not a directory"
    mount = mount_of(path.resolve(), mounts)
    if mount.type != "tmpfs":
        return f"{path} is on {mount.type}"
    return f"{path} is mounted noexec" if "noexec" in mount.options else ""


@contextlib.contextmanager
def places(work: Path, disk: Path | None, tmpfs: Path) -> Iterator[tuple[list[Place], str]]:
    """Make a directory on disk and one on tmpfs; with them, what was left out and why, or ""."""
    with contextlib.ExitStack() as stack:

        def make(name: str, parent: Path | None) -> Place:
            base = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-runtime-", dir=parent))
            return Place(name, Path(base), work)

        why = why_no_tmpfs(tmpfs, _mounts())
        found = [make("disk", disk), *([] if why else [make("tmpfs", tmpfs)])]
        yield found, f"tmpfs was not measured: {why}" if why else ""


def conditions(place: Place, missing: str, load: float) -> Conditions:
    """Find out about the machine and the tools."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in cpus if line.startswith("model name")]
    go = subprocess.run([which("go"), "env", "GOVERSION"], capture_output=True, text=True, check=True)
    return Conditions(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        cpu=f"{len(os.sched_getaffinity(0))} x {models[0] if models else platform.machine()}",
        kernel=f"{platform.system()} {platform.release()}",
        disk=mount_of(place.base.resolve(), _mounts()).type,
        go=go.stdout.strip().removeprefix("go"),
        python=VERSION,
        peer=VERSIONS[VERSION],
        load=load,
        missing=missing,
    )


def run_all(all_places: Sequence[Place], programs: Sequence[Program], runs: int, facts: Conditions) -> Report:
    """Run the rounds, with progress on the standard error output, then measure memory."""
    rounds: dict[str, list[Figures]] = {place.name: [] for place in all_places}
    for number in range(runs):
        order = programs if number % 2 == 0 else list(reversed(programs))
        for place in all_places:
            figures = run_round(place, order)
            rounds[place.name].append(figures)
            said = ", ".join(f"{name} {1e3 * value:.0f} ms" for name, value in figures["first extraction"].items())
            print(f"round {number + 1}, {place.name}: first extraction {said}", file=sys.stderr, flush=True)
    return Report(
        conditions=facts,
        rounds=rounds,
        memory={
            place.name: {program.name: measure_memory(place, program) for program in programs} for place in all_places
        },
        embedded={program.name: program.embedded for program in programs},
        bytecode={program.name: count_bytecode(all_places[0], program) for program in programs},
    )


def main() -> None:
    """Read the command line, build the programs, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("mirror", type=Path, help="directory made by mirror.py")
    parser.add_argument("--runs", type=int, default=5, help="rounds")
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    parser.add_argument("--docs", type=Path, help="directory for runtime-performance.md and .svg")
    parser.add_argument("--disk", type=Path, help="directory on a disk to extract below; default: the system's")
    parser.add_argument("--tmpfs", type=Path, default=Path("/dev/shm"), help="directory on tmpfs")  # noqa: S108
    parser.add_argument("--runtime", type=Path, default=RUNTIME, help="Go module to measure; default: this checkout's")
    beside = str(Path(sys.executable).with_name("pyembed-gen"))
    parser.add_argument("--ours", default=beside, help="pyembed-gen that makes the bundle; default: this Python's")
    parser.add_argument("--work", type=Path, help="parent of the working directory; default: the system's")
    options = parser.parse_args()
    load, *_ = os.getloadavg()
    with (
        tempfile.TemporaryDirectory(prefix="bench-runtime-", dir=options.work) as work,
        places(Path(work), options.disk, options.tmpfs) as (all_places, missing),
    ):
        if missing:
            print(missing, file=sys.stderr, flush=True)
        bench = Bench(options.mirror.resolve(), Path(work), options.ours)
        programs = [build_peer(bench), *(build_ours(bench, options.runtime, codec) for codec in CODECS)]
        report = run_all(all_places, programs, options.runs, conditions(all_places[0], missing, load))
    print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report.document(), indent=2) + "\n", encoding="utf-8")
    if options.docs:
        (options.docs / "runtime-performance.md").write_text(markdown(report), encoding="utf-8")
        (options.docs / "runtime-performance.svg").write_text(plot(report), encoding="utf-8")


if __name__ == "__main__":
    main()
