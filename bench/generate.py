"""Time the peer's generator against pyembed-gen on the same archives, and compare what they make.

    python bench/generate.py MIRROR [--runs 3] [--json FILE]

MIRROR comes from mirror.py and has 3.14.6 for five platforms. In every round each generator makes all
five bundles from archives that are on disk already: the peer into an empty directory with its strip step
(Docker) replaced by a program that does nothing, pyembed-gen with an empty cache of packed files, so that
it compresses everything, and then once more with nothing to do. The order changes from round to round.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measuring import Cost, least_and_median, measure, which
from peer import VERSIONS, bundle_files, data_dir, peer_module, python_release

__all__ = ["Bench", "Sizes", "main"]

VERSION = "3.14.6"
PLATFORMS = ("linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64")
SIZED = "linux/amd64"

# DESIGN section 9: the most that our figure may be of the peer's, and the longest unchanged run.
TARGETS = {
    "generate, wall": 0.5,
    "embedded bytes, 3.14.6, gzip": 0.43,
    "embedded bytes, 3.14.6, zstd": 0.35,
    "embedded bytes, 3.13.1, gzip": 0.25,
    "extracted bytes, 3.14.6": 0.30,
}
UNCHANGED_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes that ``//go:embed`` takes into the Go program, and bytes that its first start writes."""

    embedded: int
    extracted: int


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a benchmark's inputs and working files are."""

    mirror: Path
    work: Path
    ours: str

    @property
    def cache(self) -> Path:
        """Our cache, whose archives stay and whose packs are deleted before each run."""
        return self.work / "cache"


@dataclass(frozen=True, slots=True)
class Round:
    """One paired run: the peer, us from nothing, us with nothing to do."""

    peer: Cost
    ours: Cost
    unchanged: Cost


def prepare_peer(bench: Bench) -> None:
    """Copy and build the peer's generator, and put a docker that does nothing where it will find it."""
    source, copy = peer_module(VERSIONS[VERSION]), bench.work / "peer"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*-amd64", "*-arm64"))
    for path in (copy, *copy.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    _, tag = python_release(source)
    command = [which("go"), "build", "-o", str(bench.work / "peer-generate"), "./python/generate"]
    measure(command, bench.work / "go.log", copy, {**os.environ, "GOWORK": "off"})
    docker = bench.work / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\ncat >/dev/null\n", encoding="utf-8")
    docker.chmod(0o755)
    archives = list((bench.mirror / tag).glob(f"cpython-{VERSION}+*.tar.zst"))
    if len(archives) != len(PLATFORMS):
        raise RuntimeError(f"{bench.mirror / tag} has {len(archives)} archives of {VERSION}, not {len(PLATFORMS)}")


def run_peer(bench: Bench) -> Cost:
    """Make the peer's five bundles in an empty directory from archives that are downloaded already."""
    _, tag = python_release(peer_module(VERSIONS[VERSION]))
    downloads, copy = bench.work / "downloads", bench.work / "peer"
    for leftover in (downloads, copy / "python" / "internal" / "data"):
        shutil.rmtree(leftover, ignore_errors=True)
        leftover.mkdir()
    for archive in (bench.mirror / tag).glob(f"cpython-{VERSION}+*.tar.zst"):
        (downloads / archive.name).symlink_to(archive.resolve())
    names = {"-python-standalone-version": tag, "-python-version": VERSION, "-prepare-path": str(downloads)}
    options = [word for option in names.items() for word in option]
    env = {**os.environ, "PATH": f"{bench.work / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return measure([str(bench.work / "peer-generate"), *options], bench.work / "peer.log", copy, env)


def run_ours(
    bench: Bench, out: str, version: str = VERSION, platforms: Sequence[str] = PLATFORMS, codec: str = "gzip"
) -> Cost:
    """Make our bundles in ``out``, a name below the working directory."""
    _, tag = python_release(peer_module(VERSIONS[version]))
    names = {
        "--mirror": bench.mirror.resolve().as_uri(),
        "--pbs": tag,
        "--python": version,
        "--only-platforms": ",".join(platforms),
        "--codec": codec,
        "--out": str(bench.work / out),
        "--cache-dir": str(bench.cache),
    }
    options = [word for option in names.items() for word in option]
    return measure([bench.ours, *options], bench.work / "ours.log", bench.work)


def run_ours_fresh(bench: Bench) -> Cost:
    """Make our five bundles from cached archives, with nothing packed yet and no output."""
    shutil.rmtree(bench.work / "out", ignore_errors=True)
    shutil.rmtree(bench.cache / "packs", ignore_errors=True)
    return run_ours(bench, "out")


def run_round(bench: Bench, number: int) -> Round:
    """Run both generators once, the peer first in even rounds, and ours again after its own run."""
    steps: list[tuple[str, Callable[[Bench], Cost]]] = [("peer", run_peer), ("ours", run_ours_fresh)]
    costs: dict[str, Cost] = {}
    for name, step in steps if number % 2 == 0 else reversed(steps):
        costs[name] = step(bench)
        if name == "ours":
            costs["unchanged"] = run_ours(bench, "out")
    found = Round(**costs)
    print(
        f"round {number + 1}: peer {found.peer.wall:.2f} s, ours {found.ours.wall:.2f} s, "
        f"unchanged {found.unchanged.wall:.2f} s",
        file=sys.stderr,
        flush=True,
    )
    return found


def peer_sizes(version: str) -> Sizes:
    """Measure the peer's published bundle. Its runtime writes a copy of the target for every symlink."""
    directory = data_dir(peer_module(VERSIONS[version]), SIZED)
    files = {file.name: file for file in bundle_files(directory)}
    extracted = 0
    for file in files.values():
        target = file
        while target.link:
            target = files[f"{target.name.rpartition('/')[0]}/{target.link}"]
        extracted += len(target.content)
    return Sizes(_embedded(directory), extracted)


def our_sizes(bench: Bench, version: str, codec: str) -> Sizes:
    """Make and measure our bundle. Our runtime makes symlinks of symlinks."""
    out = f"sizes-{version}-{codec}"
    run_ours(bench, out, version, [SIZED], codec)
    directory = bench.work / out / SIZED.replace("/", "-")
    manifest = json.loads((directory / "files.json").read_text(encoding="utf-8"))
    regular = [entry for entry in manifest["files"] if "symlink" not in entry]
    return Sizes(_embedded(directory), sum(entry["size"] for entry in regular))


def _embedded(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def report(rounds: Sequence[Round], sizes: Mapping[str, Sizes]) -> dict[str, Any]:
    """Put figures and ratios together: one JSON document."""
    ratios = {
        "generate, wall": least_and_median([one.ours.wall / one.peer.wall for one in rounds]),
        "generate, CPU": least_and_median([one.ours.cpu / one.peer.cpu for one in rounds]),
        "generate, peak memory": least_and_median([one.ours.peak / one.peer.peak for one in rounds]),
    }
    for name, ours in sizes.items():
        version, _, codec = name.partition(" ours ")
        if codec:
            peer = sizes[f"{version} peer"]
            ratios[f"embedded bytes, {version}, {codec}"] = _same(ours.embedded / peer.embedded)
            ratios[f"extracted bytes, {version}"] = _same(ours.extracted / peer.extracted)
    costs = {
        who: {
            unit: least_and_median([getattr(getattr(one, who), unit) for one in rounds])
            for unit in ("wall", "cpu", "peak")
        }
        for who in ("peer", "ours", "unchanged")
    }
    return {
        "runs": [asdict(one) for one in rounds],
        "costs": costs,
        "sizes": {name: asdict(found) for name, found in sizes.items()},
        "ratios": ratios,
        "targets": {**TARGETS, "unchanged, seconds": UNCHANGED_SECONDS},
    }


def _same(value: float) -> dict[str, float]:
    return least_and_median([value])


def print_table(document: Mapping[str, Any]) -> None:
    """Print costs, sizes and ratios for a person to read."""
    print(f"{'five platforms':22} {'wall s: min':>12} {'median':>8} {'CPU s':>8} {'peak MB':>8}")
    for who, cost in document["costs"].items():
        wall, cpu, peak = cost["wall"], cost["cpu"]["median"], cost["peak"]["median"] / 1e6
        print(f"{who:22} {wall['min']:12.2f} {wall['median']:8.2f} {cpu:8.2f} {peak:8.0f}")
    print(f"\n{SIZED:22} {'embedded MB':>12} {'extracted MB':>13}")
    for name, size in document["sizes"].items():
        print(f"{name:22} {size['embedded'] / 1e6:12.2f} {size['extracted'] / 1e6:13.2f}")
    print(f"\n{'ours / peer':34} {'min':>6} {'median':>7}  target")
    for name, ratio in document["ratios"].items():
        print(f"{name:34} {ratio['min']:6.3f} {ratio['median']:7.3f}  {_verdict(name, ratio['median'])}")
    unchanged = document["costs"]["unchanged"]["wall"]["median"]
    met = "met" if unchanged <= UNCHANGED_SECONDS else "MISSED"
    print(f"{'unchanged run, seconds':34} {'':6} {unchanged:7.3f}  <= {UNCHANGED_SECONDS} {met}")


def _verdict(name: str, value: float) -> str:
    if name not in TARGETS:
        return ""
    return f"<= {TARGETS[name]} {'met' if value <= TARGETS[name] else 'MISSED'}"


def _all_sizes(bench: Bench) -> dict[str, Sizes]:
    sizes = {}
    for version, module in VERSIONS.items():
        _, tag = python_release(peer_module(module))
        if list((bench.mirror / tag).glob(f"cpython-{version}+{tag}-x86_64-unknown-linux-gnu-*")):
            sizes[f"{version} peer"] = peer_sizes(version)
            for codec in ("gzip", "zstd"):
                sizes[f"{version} ours {codec}"] = our_sizes(bench, version, codec)
    return sizes


def main() -> None:
    """Read the command line, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("mirror", type=Path, help="directory made by mirror.py")
    parser.add_argument("--runs", type=int, default=3, help="paired runs")
    parser.add_argument("--json", type=Path, help="file for the figures of every run")
    beside = str(Path(sys.executable).with_name("pyembed-gen"))
    parser.add_argument("--ours", default=beside, help="pyembed-gen to measure; default: this Python's")
    parser.add_argument("--work", type=Path, help="parent of the working directory; default: the system's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-generate-", dir=options.work) as work:
        bench = Bench(options.mirror.resolve(), Path(work), options.ours)
        prepare_peer(bench)
        run_ours(bench, "out")  # fills the archive cache
        rounds = [run_round(bench, number) for number in range(options.runs)]
        document = report(rounds, _all_sizes(bench))
    print_table(document)
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
