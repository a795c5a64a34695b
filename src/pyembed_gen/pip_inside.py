"""Runs pip for a target that is not this machine: the program of the process that :mod:`piprun` starts.

    python -I pip_inside.py JOB PROOF

JOB is a JSON file that says where pip is, which version it must be, what markers must see, and which commands to run;
PROOF is the JSON file that says what came of it. Of pip one function is replaced, before anything that uses it is
loaded, and two are listened to. A pip in which that has no effect is not run. Only the standard library is used
beside pip: this file runs without its package.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

# Where pip looks and how it connects: the settings of the machine that are its owner's business. All others decide
# what is chosen or done, and are this program's. The last two can only make pip refuse more.
HONOURED = frozenset(
    {
        *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host"),
        *("proxy", "no-proxy-env", "cert", "client-cert", "keyring-provider"),
        *("cache-dir", "no-cache-dir", "timeout", "retries", "resume-retries"),
        *("require-hashes", "uploaded-prior-to"),
    }
)
ALIASES = {"pypi-url": "index-url", "default-timeout": "timeout"}
STARTING = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile"})
"""Audit events of a program being started."""
REFUSED = 3
"""The exit status if this pip cannot be steered."""


class UnfitError(Exception):
    """This pip is not the one that was reckoned with."""


class _Finder:
    """Finds pip in one folder, whatever else is on the path."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find the package itself; its modules are then where it is."""
        del path, target
        return PathFinder.find_spec(name, [self._folder]) if name == "pip" else None


class Unread(logging.Handler):
    """Collects what pip only tells those who debug it: pages of an index that could not be had."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message of the one kind."""
        if str(record.msg).startswith("Could not fetch URL"):
            self.messages.append(record.getMessage())

    def listen(self) -> None:
        """Begin."""
        logger = logging.getLogger("pip._internal.index.collector")
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)


class Asked:
    """Keeps what pip takes its arguments and files to ask for, before it looks for any of it."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] | None = None

    def listen(self, *, alone: bool) -> None:
        """Begin. ``alone``: pip then believes that it was asked for nothing, and has nothing to look for."""
        from pip._internal.cli.req_command import RequirementCommand  # noqa: PLC0415

        original = RequirementCommand.get_requirements

        def get_requirements(command: Any, *arguments: Any, **more: Any) -> Any:
            found = original(command, *arguments, **more)
            self.lines = {
                "requirements": [spelled(each) for each in found if not each.constraint],
                "constraints": [spelled(each) for each in found if each.constraint],
            }
            return [] if alone else found

        RequirementCommand.get_requirements = get_requirements  # type: ignore[method-assign,assignment]


class Found:
    """Keeps the files that indexes and folders have of each project that pip looked for, whether they fit or not."""

    def __init__(self) -> None:
        self._links: dict[str, dict[str, Any]] = {}

    def listen(self) -> None:
        """Begin."""
        from pip._internal.index.package_finder import PackageFinder  # noqa: PLC0415

        original = PackageFinder.evaluate_links

        def evaluate_links(finder: Any, link_evaluator: Any, links: Any) -> Any:
            links = list(links)
            self._links.setdefault(link_evaluator.project_name, {}).update((link.filename, link) for link in links)
            return original(finder, link_evaluator, links)

        PackageFinder.evaluate_links = evaluate_links  # type: ignore[method-assign,assignment]

    def told(self) -> dict[str, list[tuple[str, str, bool]]]:
        """Return by name: names of files, their Requires-Python, whether they were yanked."""
        return {
            name: [(filename, link.requires_python or "", link.is_yanked) for filename, link in links.items()]
            for name, links in self._links.items()
        }


def spelled(requirement: Any) -> str:
    """Return an InstallRequirement of pip as PEP 508 has it; one without a name (no wheel has none) as its URL."""
    link, named = requirement.original_link, requirement.req
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    if named is None:
        return str(link)
    what = f" @ {link.url}" if link else str(named.specifier)
    marker = f" ; {requirement.markers}" if requirement.markers else ""
    return f"{named.name}{extras}{what}{marker}"


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Let pip start no program: neither what builds a package nor what fetches a repository. A keyring may answer."""
    if event in STARTING:
        program = Path(os.fsdecode(arguments[0]))
        if event != "subprocess.Popen" or program.stem != "keyring":
            raise PermissionError(f"pyembed-gen: pip may not run {program.name}")


def steer(version: str, environment: Mapping[str, str]) -> Callable[[], int]:
    """Replace what markers see; return what counts how often they looked."""
    import pip  # noqa: PLC0415 - only now it is known where it is

    if pip.__version__ != version:
        raise UnfitError(f"it is pip {pip.__version__}, not {version}")
    from pip._vendor.packaging import markers  # noqa: PLC0415

    original = getattr(markers, "default_environment", None)
    if original is None or set(original()) != set(environment):
        raise UnfitError("its markers know other variables")
    holders = {name for name, module in sys.modules.items() if original in _functions(module)}
    if holders != {markers.__name__} or any(name.startswith("pip._internal") for name in sys.modules):
        raise UnfitError(f"its markers were loaded by {', '.join(sorted(holders))}")
    looks = 0

    def default_environment() -> dict[str, str]:
        nonlocal looks
        looks += 1
        return dict(environment)

    markers.default_environment = default_environment  # type: ignore[assignment]
    name, value = "python_full_version", environment["python_full_version"]
    if not markers.Marker(f"{name} == '{value}'").evaluate() or looks != 1:
        raise UnfitError("its markers look elsewhere")
    return lambda: looks


def _functions(module: object) -> list[object]:
    return [value for value in vars(module).values() if callable(value)] if hasattr(module, "__dict__") else []


def settings(command: str) -> dict[str, str]:
    """Return the settings of this machine that are honoured, as environment variables.

    Files and variables are found and read by pip itself, in its order: a section of a command over the global one,
    the environment over both.
    """
    from pip._internal.configuration import Configuration  # noqa: PLC0415

    configuration = Configuration(isolated=False)
    configuration.load()
    found: dict[str, str] = {}
    for wanted in ("global", command, ":env:"):
        for values in dict(configuration.items()).values():
            for key, value in values.items():
                section, name = key.split(".", 1)
                name = ALIASES.get(name, name)
                if section == wanted and value and name in HONOURED:
                    found[f"PIP_{name.replace('-', '_').upper()}"] = value
    return found


def run(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run one command of pip with these settings and no others, and return its exit status."""
    from pip._internal.cli.main import main  # noqa: PLC0415

    for name in [*os.environ]:
        if name.upper().startswith(("PIP_", "_PIP_")):
            del os.environ[name]
    os.environ.update(environ)
    os.environ["PIP_CONFIG_FILE"] = os.devnull
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def work(job: Mapping[str, Any]) -> dict[str, Any]:
    """Do a job: run its commands until one fails. Return what there is to tell."""
    sys.meta_path.insert(0, _Finder(job["pip"]))
    looks = steer(job["version"], job["environment"])
    sys.addaudithook(guard)
    sys.argv[:] = ["pip"]
    found = {name: settings(name) for name in ("install", "download")}
    unread = Unread()
    unread.listen()
    asked, files = Asked(), Found()
    codes: list[int] = []
    for command in job["commands"]:
        arguments = command["arguments"]
        if command["telling"]:
            asked.listen(alone=command["telling"] == "only")
            files.listen()
        codes.append(run(arguments, found[arguments[0]] if command["settings"] else {}))
        if codes[-1]:
            break
    return {
        "codes": codes,
        "looks": looks(),
        "unread": unread.messages,
        "asked": asked.lines,
        "files": files.told() if any(codes) else {},
    }


def _main(job: str, proof: str) -> int:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    code, told = 0, dict[str, Any]()
    try:
        told = work(json.loads(Path(job).read_text("utf-8")))
    except (UnfitError, ImportError, AttributeError, TypeError) as error:
        code, told = REFUSED, {"unfit": f"{error}"}
    Path(proof).write_text(json.dumps(told), "utf-8")
    return code or next((number for number in told["codes"] if number), 0)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
