"""The command line: parses, calls the pipeline, prints. Errors are one line and an exit code."""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pyembed_gen import cache as cache_
from pyembed_gen import matrix as matrix_
from pyembed_gen import pipeline, terminal, workspace
from pyembed_gen.cache import Cache
from pyembed_gen.download import Policy
from pyembed_gen.errors import ArchiveError, PyembedError, UsageError, WriteError
from pyembed_gen.pipeline import Preview, Result, Settings
from pyembed_gen.plan import Job, Request
from pyembed_gen.terminal import human_bytes

if TYPE_CHECKING:
    from pyembed_gen import packages
    from pyembed_gen.packages import Package

__all__ = ["main"]

_INTERRUPTED = 130
_Command = TypeVar("_Command", bound=Callable[..., Any])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 2 usage or matrix, 3 fetch, 4 archive or manifest, 5 write, 6 pip, 130 interrupted. A bug raises.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_missing_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli.main(args=arguments, prog_name="pyembed-gen", standalone_mode=False)
        sys.stdout.flush()
    except (PyembedError, click.ClickException, click.Abort, KeyboardInterrupt, OSError) as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return _explain(error)
    return 0


def _open_missing_streams() -> None:
    """Give a process that was started with closed streams something to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for the process's life


def _explain(error: BaseException) -> int:
    """Print what a user needs to know of an error, and return the exit code."""
    match error:
        case PyembedError():
            message, code = str(error), error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return UsageError.exit_code
        case click.ClickException():
            context = error.ctx if isinstance(error, click.UsageError) else None
            command = context.command_path if context else "pyembed-gen"
            message, code = f"{error.format_message()} Try '{command} --help'.", UsageError.exit_code
        case BrokenPipeError():
            # Whoever read our output has gone; Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        case OSError():
            where = f"{error.filename}: " if error.filename else "writing the output: "
            message, code = f"{where}{error.strerror}; check the disk and your permissions", WriteError.exit_code
        case _:
            message, code = "interrupted; what was there before is unchanged", _INTERRUPTED
    click.echo(f"pyembed-gen: error: {' '.join(message.split())}", err=True)
    return code


def _terminate(_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


class _DefaultToGenerate(click.Group):
    """A group that takes ``pyembed-gen --option`` for ``pyembed-gen generate --option``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "--version", "-h")):
            args = ["generate", *args]
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True)
class _Common:
    config: Path | None
    cache_dir: Path | None
    quiet: bool
    verbose: int
    as_json: bool

    @property
    def cache(self) -> Cache:
        return Cache(self.cache_dir or cache_.default_root(os.environ))

    def matrix(self) -> matrix_.Matrix:
        return matrix_.load(self.config or matrix_.find(Path.cwd(), _passed_over))

    def settings(self, jobs: int | None, *, offline: bool, force: bool, insecure: bool = False) -> Settings:
        policy = Policy.from_environ(os.environ)
        return Settings(self.cache, policy, jobs or _processors(), offline, insecure, force)


def _passed_over(path: Path) -> None:
    click.echo(f"passing over {path}: it belongs to somebody else; name it with --config if you trust it", err=True)


def _options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_PATH = click.Path(path_type=Path)
_DEBUG = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
_CACHE_DIR = click.option(
    "--cache-dir", type=_PATH, metavar="DIR", help="Cache folder.  [default: $PYEMBED_CACHE or the system's]"
)
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and what --json asks for.")
_ONLY_PLATFORMS = click.option(
    "--only-platforms",
    "platforms",
    multiple=True,
    metavar="LIST",
    help="goos/goarch[/variant], comma separated or repeated.  [default: all in matrix.toml]",
)
_PYTHON = click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="VERSION",
    help="3.14 or 3.14.9, repeatable.  [default: the line in PRIMARY_PYTHON]",
)
_OUTPUT = _options(
    click.option(
        "--out",
        type=_PATH,
        metavar="DIR",
        help="Where bundles go.  [default: [output] in matrix.toml; under go generate ./data]",
    ),
    click.option("--package", default="", metavar="NAME", help="Go package of the stubs.  [default: data]"),
    click.option("--codec", type=click.Choice(matrix_.CODECS), help="How payloads are compressed.  [default: gzip]"),
    click.option("--level", type=int, metavar="N", help="Level of the codec.  [default: gzip 10, zstd 22]"),
    click.option("--config", type=_PATH, metavar="FILE", help="matrix.toml.  [default: nearest upwards, or shipped]"),
    _CACHE_DIR,
    click.option("--jobs", type=click.IntRange(1, 256), metavar="N", help="Threads.  [default: one per processor]"),
    click.option("--force", is_flag=True, help="Make bundles that are up to date again."),
    click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing."),
    _JSON,
    _QUIET,
    _DEBUG,
)
_GENERATE = _options(
    _ONLY_PLATFORMS,
    _PYTHON,
    click.option("--pbs", default="", metavar="TAG", help="python-build-standalone release, such as 20261021."),
    click.option(
        "--source",
        default="pbs",
        show_default=True,
        metavar="SOURCE",
        help="pbs, host (the CPython that runs this command), an archive, or a folder with an unpacked one.",
    ),
    click.option(
        "--mirror",
        envvar="PYEMBED_MIRROR",
        default="",
        metavar="URL",
        help="URL (https, http, file) or folder with <tag>/<asset> and <tag>/SHA256SUMS.  [env: PYEMBED_MIRROR]",
    ),
    click.option("--offline", is_flag=True, help="Use only the cache and file: URLs."),
    click.option("--insecure", is_flag=True, help="Take an archive that no lock and no release has a sum for."),
    click.option(
        "-v", "--verbose", count=True, help="Say what each rule drops; twice, with --dry-run: each file that it drops."
    ),
    _OUTPUT,
)
_PIP = _options(
    click.argument("strings", nargs=-1, metavar="[REQUIREMENT]..."),
    click.option(
        "-r", "--requirement", "files", multiple=True, metavar="FILE", help="Requirement file, or its URL; repeatable."
    ),
    click.option(
        "-c", "--constraint", "constraints", multiple=True, metavar="FILE", help="Constraint file, or its URL."
    ),
    _ONLY_PLATFORMS,
    _PYTHON,
    click.option("--glibc", metavar="VERSION", help="Oldest glibc of Linux that wheels may need, such as 2.28."),
    click.option("--musl", metavar="VERSION", help="Oldest musl of Linux that wheels may need, such as 1.2."),
    click.option("--macos", metavar="VERSION", help="Oldest macOS that wheels may need, such as 12.0."),
    click.option("-i", "--index-url", default="", metavar="URL", help="As for pip."),
    click.option("--extra-index-url", "extra_index_urls", multiple=True, metavar="URL", help="As for pip."),
    click.option("-f", "--find-links", multiple=True, metavar="PLACE", help="As for pip: a folder or page of wheels."),
    click.option("--no-index", is_flag=True, help="As for pip: look only at --find-links."),
    click.option("--trusted-host", "trusted_hosts", multiple=True, metavar="HOST", help="As for pip."),
    click.option("--pre", is_flag=True, help="As for pip: take pre-releases too."),
    click.option("--require-hashes", is_flag=True, help="As for pip: every requirement must have a hash."),
    click.option("--allow-skew", is_flag=True, help="Let platforms get different versions of a package."),
    click.option("--upgrade", is_flag=True, help="Ask the index again, even if nothing has changed here."),
    click.option("--lock", is_flag=True, help="Write pylock files beside the first -r FILE; later runs keep to them."),
    click.option("--offline", is_flag=True, help="Use only the cache and wheels on this machine."),
    click.option("-v", "--verbose", count=True, help="Say what each rule drops."),
    _OUTPUT,
)


@click.group(cls=_DefaultToGenerate, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pyembed-gen", prog_name="pyembed-gen")
def cli() -> None:
    """Turn a relocatable CPython into Go packages that embed it.

    Without a command it generates: see `pyembed-gen generate --help` for the options of that.
    """


@cli.command()
@_GENERATE
def generate(
    platforms: tuple[str, ...],
    pythons: tuple[str, ...],
    pbs: str,
    source: str,
    mirror: str,
    offline: bool,
    insecure: bool,
    out: Path | None,
    package: str,
    codec: str | None,
    level: int | None,
    config: Path | None,
    cache_dir: Path | None,
    jobs: int | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: int,
    debug: bool,
) -> None:
    """Make bundles and their Go stubs."""
    del debug
    common = _Common(config, cache_dir, quiet, verbose, as_json)
    request = Request(
        platforms=_split(platforms, "--only-platforms"),
        pythons=_split(pythons, "--python"),
        pbs=pbs,
        mirror=mirror,
        out=_out(out),
        package=package,
        codec=codec or "",
        level=level,
    )
    settings = common.settings(jobs, offline=offline, force=force, insecure=insecure)
    matrix = common.matrix()
    with terminal.watching(quiet=quiet) as progress:
        if dry_run:
            previews = pipeline.preview(matrix, request, source, settings, progress, deep=verbose > 0)
        else:
            since = time.monotonic()
            results = pipeline.generate(matrix, request, source, settings, progress)
            seconds = time.monotonic() - since
    if dry_run:
        _print_previews(previews, common)
    else:
        _print_results(results, seconds, common)


@cli.command()
@_PIP
def pip(
    strings: tuple[str, ...],
    files: tuple[str, ...],
    constraints: tuple[str, ...],
    platforms: tuple[str, ...],
    pythons: tuple[str, ...],
    glibc: str | None,
    musl: str | None,
    macos: str | None,
    index_url: str,
    extra_index_urls: tuple[str, ...],
    find_links: tuple[str, ...],
    no_index: bool,
    trusted_hosts: tuple[str, ...],
    pre: bool,
    require_hashes: bool,
    allow_skew: bool,
    upgrade: bool,
    lock: bool,
    offline: bool,
    out: Path | None,
    package: str,
    codec: str | None,
    level: int | None,
    config: Path | None,
    cache_dir: Path | None,
    jobs: int | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: int,
    debug: bool,
) -> None:
    """Make bundles of pip packages and their Go stubs.

    Wheels are chosen for each platform as pip would choose them there, whatever machine this is.
    """
    from pyembed_gen import packages  # noqa: PLC0415
    from pyembed_gen.requirements import Requirements  # noqa: PLC0415
    from pyembed_gen.resolve import Options  # noqa: PLC0415
    from pyembed_gen.skew import SkewError  # noqa: PLC0415

    del debug
    if not (strings or files):
        raise UsageError("pip: there is nothing to pack", hint="name packages, or a file of them: -r requirements.txt")
    common = _Common(config, cache_dir, quiet, verbose, as_json)
    floors = {"glibc": glibc, "musl": musl, "macos": macos}
    request = packages.Request(
        bundles=Request(
            platforms=_split(platforms, "--only-platforms"),
            pythons=_split(pythons, "--python"),
            out=_out(out),
            package=package,
            codec=codec or "",
            level=level,
        ),
        requirements=Requirements(strings, files, constraints),
        options=Options(
            index_url=index_url,
            extra_index_urls=extra_index_urls,
            find_links=find_links,
            no_index=no_index,
            trusted_hosts=trusted_hosts,
            pre=pre,
            require_hashes=require_hashes,
        ),
        floors={library: floor for library, floor in floors.items() if floor is not None},
        allow_skew=allow_skew,
        upgrade=upgrade,
        lock=lock,
    )
    settings = common.settings(jobs, offline=offline, force=force)
    matrix = common.matrix()
    since = time.monotonic()
    try:
        with terminal.watching(quiet=quiet) as progress:
            if dry_run:
                previews = packages.preview(matrix, request, settings, progress)
            else:
                results = packages.generate(matrix, request, settings, progress)
    except SkewError as error:
        for table in error.skews:
            click.echo(table.text(), err=True)
        raise
    if dry_run:
        _print_packages(previews, common)
    else:
        listed = {result.job: packages.packages_of(result.manifest) for result in results}
        _print_results(results, time.monotonic() - since, common, listed)


@cli.command()
@click.argument("directory", type=_PATH, metavar="DIR")
@_JSON
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@_DEBUG
def verify(directory: Path, as_json: bool, quiet: bool, debug: bool) -> None:
    """Check every payload byte of a bundle against its manifest.

    DIR is a bundle, or a folder of bundles. Exit code 4 and a list of what differs if anything does.
    """
    from pyembed_gen import verify as verify_  # noqa: PLC0415 - each command loads what it needs

    del debug
    documents = []
    damaged = 0
    for path in verify_.bundles(directory):
        manifest, differences = verify_.verify(path)
        damaged += len(differences)
        documents.append(
            {
                "directory": str(path),
                "contentHash": manifest.content_hash,
                "files": len(manifest.files),
                "differences": [{"path": item.path, "problem": item.problem} for item in differences],
            }
        )
        if not as_json:
            for item in differences:
                click.echo(f"{path / item.path}: {item.problem}")
            if not quiet and not differences:
                click.echo(f"{path}: {len(manifest.files)} files are what the manifest says")
    if as_json:
        _print_json({"bundles": documents})
    if damaged:
        count = "1 difference" if damaged == 1 else f"{damaged} differences"
        raise ArchiveError(f"verifying {directory}: {count}", hint="generate it again with --force")


@cli.command()
@click.argument("directory", type=_PATH, metavar="DIR")
@_JSON
@_DEBUG
def inspect(directory: Path, as_json: bool, debug: bool) -> None:
    """Show what is in a bundle, what takes the space, and what was left out by which rule."""
    from pyembed_gen import inspect as inspect_  # noqa: PLC0415
    from pyembed_gen import verify as verify_  # noqa: PLC0415

    del debug
    reports = [inspect_.inspect(path) for path in verify_.bundles(directory)]
    if as_json:
        _print_json({"bundles": [report.to_json() for report in reports]})
    else:
        click.echo("\n\n".join(report.to_text() for report in reports))


@cli.group()
def cache() -> None:
    """Look after the cache of archives and compressed files."""


@cache.command("dir")
@_CACHE_DIR
@_DEBUG
def cache_dir(cache_dir: Path | None, debug: bool) -> None:
    """Print the cache folder."""
    del debug
    click.echo(_Common(None, cache_dir, False, 0, False).cache.root)


@cache.command("size")
@_CACHE_DIR
@_JSON
@_DEBUG
def cache_size(cache_dir: Path | None, as_json: bool, debug: bool) -> None:
    """Print what the cache takes."""
    del debug
    usage = cache_.usage(_existing(cache_dir))
    if as_json:
        kinds = {kind: {"files": amount.files, "bytes": amount.bytes} for kind, amount in usage.kinds.items()}
        _print_json({"kinds": kinds, "files": usage.total.files, "bytes": usage.total.bytes})
        return
    for kind, amount in usage.kinds.items():
        click.echo(f"{kind}: {amount.files} files, {human_bytes(amount.bytes)}")
    click.echo(f"total: {usage.total.files} files, {human_bytes(usage.total.bytes)}")


@cache.command("prune")
@_CACHE_DIR
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="DAYS",
    help="Remove what was not used for so long.",
)
@_DEBUG
def cache_prune(cache_dir: Path | None, older_than: float, debug: bool) -> None:
    """Remove what was not used for a while."""
    del debug
    cache = _idle(cache_dir)
    _print_removed(cache_.prune(cache, timedelta(days=older_than), datetime.now(UTC)))


@cache.command("clear")
@_CACHE_DIR
@_DEBUG
def cache_clear(cache_dir: Path | None, debug: bool) -> None:
    """Remove everything that the generator put into the cache."""
    del debug
    _print_removed(cache_.clear(_idle(cache_dir)))


@cli.command()
@click.option(
    "--source",
    default="",
    metavar="SOURCE",
    help="As for generate.  [default: PBS if it can be reached, otherwise host]",
)
@click.option("--pbs", default="", metavar="TAG", help="As for generate.")
@click.option("--mirror", envvar="PYEMBED_MIRROR", default="", metavar="URL", help="As for generate.")
@_CACHE_DIR
@_JSON
@_DEBUG
def demo(source: str, pbs: str, mirror: str, cache_dir: Path | None, as_json: bool, debug: bool) -> None:
    """Build a Go program with Python inside, run it without a PATH, and show what it took."""
    from pyembed_gen import demo as demo_  # noqa: PLC0415

    del debug
    common = _Common(None, cache_dir, False, 0, as_json)
    settings = Settings(cache=common.cache, policy=Policy.from_environ(os.environ), jobs=_processors())
    with terminal.watching(quiet=False) as progress:
        outcome = demo_.run(matrix_.load(None), source, settings, progress, pbs=pbs, mirror=mirror)
    if as_json:
        _print_json(outcome.to_json())
    else:
        click.echo(outcome.to_text())


def _existing(cache_dir: Path | None) -> Cache:
    """Return the cache; one that was named and is not there is a mistake."""
    cache = _Common(None, cache_dir, False, 0, False).cache
    if cache_dir is not None and not cache.exists():
        raise UsageError(f"there is no cache at {cache.root}", hint="see `pyembed-gen cache dir`")
    return cache


def _idle(cache_dir: Path | None) -> Cache:
    """Return the cache if no run is using it now; what a run has found there must not vanish under it."""
    cache = _existing(cache_dir)
    if workspace.in_use(cache):
        raise UsageError(f"a run is using the cache {cache.root}", hint="try again when it has ended")
    return cache


def _split(values: Sequence[str], option: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for value in values for part in value.split(","))
    if not all(parts):
        raise UsageError(f"{option} has an empty item", hint="separate items with single commas")
    return parts


def _out(out: Path | None) -> Path | None:
    """Return where bundles go, None if the matrix says so: under `go generate` it has no say."""
    return out or (Path("data") if os.environ.get("GOPACKAGE") else None)


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _print_removed(removed: cache_.Removed) -> None:
    busy = f", {removed.busy} in use were kept" if removed.busy else ""
    click.echo(f"removed {removed.files} files, {human_bytes(removed.bytes)}{busy}")


def _print_results(
    results: Sequence[Result],
    seconds: float,
    common: _Common,
    packages: "Mapping[Job, Sequence[Package]] | None" = None,
) -> None:
    """Print results; ``packages`` are those of each job, if there are any."""
    listed = packages or {}
    if common.as_json:
        bundles = [{**_result_values(result), **_package_values(listed.get(result.job))} for result in results]
        _print_json({"bundles": bundles, "seconds": round(seconds, 3)})
    elif not common.quiet:
        for result in results:
            click.echo(_result_line(result, listed.get(result.job)))
            if common.verbose:
                _print_dropped({rule: (files, size) for rule, files, size in result.manifest.dropped})
        if len(results) > 1:
            total = human_bytes(sum(result.embedded for result in results))
            click.echo(f"{len(results)} bundles, {total}, {seconds:.1f} s")


def _print_dropped(rules: Mapping[str, tuple[int, int]]) -> None:
    for rule, (files, size) in rules.items():
        click.echo(f"  {rule} drops {files} files, {human_bytes(size)}")


def _result_values(result: Result) -> dict[str, Any]:
    return {
        "platform": result.job.platform.key,
        "python": result.job.version,
        "pbs": result.job.pbs,
        "directory": str(result.job.directory),
        "contentHash": result.manifest.content_hash,
        "recipe": result.manifest.recipe,
        "codec": result.manifest.codec,
        "portable": result.manifest.origin.portable,
        "files": len(result.manifest.files),
        "raw": result.manifest.raw,
        "embedded": result.embedded,
        "seconds": round(result.seconds, 3),
        "upToDate": result.up_to_date,
    }


def _package_values(packages: "Sequence[Package] | None") -> dict[str, Any]:
    if packages is None:
        return {}
    return {"packages": [{"name": each.name, "version": each.version} for each in packages]}


def _result_line(result: Result, packages: "Sequence[Package] | None" = None) -> str:
    manifest = result.manifest
    count = "" if packages is None else f"{len(packages)} package{'' if len(packages) == 1 else 's'}, "
    state = "up to date" if result.up_to_date else f"{result.seconds:.1f} s"
    only = "" if manifest.origin.portable else ", for this machine only"
    return (
        f"{result.job.directory}: Python {result.job.version}, {count}{len(manifest.files)} files, "
        f"{human_bytes(manifest.raw)} in {human_bytes(result.embedded)}, {state}{only}"
    )


def _print_packages(previews: "Sequence[packages.Preview]", common: _Common) -> None:
    if common.as_json:
        values = [
            {
                "platform": preview.job.platform.key,
                "python": preview.job.version,
                "directory": str(preview.job.directory),
                "upToDate": preview.up_to_date,
                **_package_values(preview.packages),
            }
            for preview in previews
        ]
        _print_json({"bundles": values})
    elif not common.quiet:
        for preview in previews:
            state = "up to date: " if preview.up_to_date else ""
            named = ", ".join(f"{each.name} {each.version}" for each in preview.packages)
            click.echo(f"{preview.job.directory}: {state}{named or 'no packages'}")


def _print_previews(previews: Sequence[Preview], common: _Common) -> None:
    if common.as_json:
        _print_json({"bundles": [_preview_values(preview) for preview in previews]})
    elif not common.quiet:
        for preview in previews:
            click.echo(_preview_line(preview))
            if preview.tree:
                _print_dropped(preview.tree.dropped_by_rule())
            for item in preview.tree.dropped if preview.tree and common.verbose > 1 else ():
                click.echo(f"  drop {item.name} ({item.rule})")


def _preview_values(preview: Preview) -> dict[str, Any]:
    values: dict[str, Any] = {
        "platform": preview.job.platform.key,
        "python": preview.job.version,
        "pbs": preview.job.pbs,
        "directory": str(preview.job.directory),
        "archive": preview.origin.archive or preview.job.asset,
        "sha256": preview.origin.sha256,
        "cached": preview.cached,
        "upToDate": preview.up_to_date,
    }
    if preview.tree:
        values["dropped"] = [{"name": item.name, "raw": item.size, "rule": item.rule} for item in preview.tree.dropped]
    return values


def _preview_line(preview: Preview) -> str:
    archive = preview.origin.archive or preview.job.asset
    if preview.up_to_date:
        return f"{preview.job.directory}: up to date ({archive})"
    where = "cached" if preview.cached else "to be fetched"
    if not preview.job.base:
        where = "on this machine"
    return f"{preview.job.directory}: from {archive} ({where})"
