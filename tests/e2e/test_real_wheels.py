"""Real wheels, taken from the package index by pip, are unpacked and work."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pyembed_gen import matrix
from pyembed_gen.blobs import Blobs
from pyembed_gen.sitedir import foreign_native, site_directory
from pyembed_gen.tree import Tree
from pyembed_gen.wheel import Wheel

MATRIX = matrix.load(None)
PLATFORMS = {
    "linux/amd64": ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64"),
    "linux/arm64": ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_28_aarch64"),
    "darwin/amd64": ("macosx_11_0_x86_64",),
    "darwin/arm64": ("macosx_11_0_arm64",),
    "windows/amd64": ("win_amd64",),
    "windows/arm64": ("win_arm64",),
}
HERE = "here"
"""The running interpreter and its machine."""
Fetch = Callable[..., list[Wheel]]


@pytest.fixture(scope="session")
def fetch(tmp_path_factory: pytest.TempPathFactory) -> Fetch:
    """Download wheels for a platform and CPython 3.11, or for the running interpreter, once."""
    root = tmp_path_factory.mktemp("wheels")
    known: dict[tuple[str, tuple[str, ...]], list[Wheel]] = {}

    def download(platform: str, *requirements: str) -> list[Wheel]:
        if (platform, requirements) not in known:
            folder = root / str(len(known))
            known[platform, requirements] = _download(folder, platform, requirements)
        return known[platform, requirements]

    return download


def _download(folder: Path, platform: str, requirements: Sequence[str]) -> list[Wheel]:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        str(folder),
    ]
    if platform != HERE:
        command += ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3"]
        command += ["--abi", "none", *(option for tag in PLATFORMS[platform] for option in ("--platform", tag))]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    found = [Wheel(path, path.name, *path.name.split("-")[:2]) for path in sorted(folder.iterdir())]
    assert len(found) == len(requirements)
    return found


def unpacked(folder: Path, wheels: Sequence[Wheel], platform: str) -> tuple[Tree, Blobs]:
    """Return the site directory of wheels for a platform, and its store."""
    blobs = Blobs(folder / "blobs")
    blobs.root.mkdir()
    row = None if platform == HERE else MATRIX.platform(platform)
    return site_directory(wheels, blobs, platform=row), blobs


def write(tree: Tree, blobs: Blobs, root: Path) -> None:
    """Write a tree out as the runtime does."""
    for file in tree.files:
        path = root / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blobs.path(file.sha256).read_bytes())
        path.chmod(0o755 if file.executable else 0o644)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_native_wheels_fit_their_platform_alone(platform: str, fetch: Fetch, tmp_path: Path) -> None:
    """MarkupSafe's extension module fits the platform that it was chosen for, and no other."""
    tree, blobs = unpacked(tmp_path, fetch(platform, "jinja2==3.1.4", "markupsafe==3.0.4"), platform)
    (module,) = [file.name for file in tree.files if file.native]
    assert module.startswith("markupsafe/_speedups.")
    for other in PLATFORMS:
        found = [item.name for item in foreign_native(tree, blobs, MATRIX.platform(other)) if item.fatal]
        assert found == ([] if other == platform else [module])


def test_large_packages_are_whole(fetch: Fetch, tmp_path: Path) -> None:
    """NumPy has libraries beside its package, and its own command."""
    tree, blobs = unpacked(tmp_path, fetch("linux/amd64", "numpy==2.4.6"), "linux/amd64")
    names = [file.name for file in tree.files]
    assert len(names) > 900
    assert any(name.startswith("numpy.libs/") for name in names)
    assert foreign_native(tree, blobs, MATRIX.platform("linux/amd64")) == []
    assert len(foreign_native(tree, blobs, MATRIX.platform("linux/arm64"))) > 15


@pytest.mark.parametrize(("platform", "program"), [("linux/amd64", "bin/ruff"), ("windows/amd64", "bin/ruff.exe")])
def test_programs_lie_below_bin(platform: str, program: str, fetch: Fetch, tmp_path: Path) -> None:
    """Ruff is one program, which is executable and of the platform."""
    tree, blobs = unpacked(tmp_path, fetch(platform, "ruff==0.17.6"), platform)
    assert [file.name for file in tree.files if file.executable] == [program]
    assert foreign_native(tree, blobs, MATRIX.platform(platform)) == []
    other = "linux/arm64" if platform.startswith("linux") else "windows/arm64"
    assert [(item.name, item.fatal) for item in foreign_native(tree, blobs, MATRIX.platform(other))] == [
        (program, True)
    ]


def test_path_files_are_kept(fetch: Fetch, tmp_path: Path) -> None:
    """pywin32 cannot be imported without its .pth file; its scripts would need a shebang."""
    tree, blobs = unpacked(tmp_path, fetch("windows/amd64", "pywin32==312"), "windows/amd64")
    names = {file.name for file in tree.files}
    assert {"pywin32.pth", "win32/win32api.pyd", "pywin32_system32/pywintypes311.dll"} <= names
    assert [item for item in foreign_native(tree, blobs, MATRIX.platform("windows/amd64")) if item.fatal] == []


USES = """
import importlib.metadata as metadata, importlib.resources as resources, json, site, sys
site.addsitedir(sys.argv[1])
import google.protobuf, google.api.annotations_pb2, google.rpc.status_pb2, jinja2, markupsafe._speedups, tzdata
print(json.dumps([
    jinja2.Template("{{ x|e }}").render(x="<"),
    google.rpc.status_pb2.Status(code=3).code,
    len((resources.files("tzdata") / "zoneinfo" / "Europe" / "Berlin").read_bytes()) > 500,
    metadata.version("jinja2"),
    [point.value for point in metadata.entry_points(group="babel.extractors")],
    [each for each in metadata.distributions() if not all(file.locate().is_file() for file in each.files)],
    sorted(each.name.lower() for each in metadata.distributions()),
    sorted({module.split(".")[0] for module, found in sys.modules.items()
            if (getattr(found, "__file__", "") or "").startswith(sys.argv[1])}),
]))
"""


def test_the_running_interpreter_imports_what_is_unpacked(fetch: Fetch, tmp_path: Path) -> None:
    """Native code, a namespace package of two wheels, a data file, metadata and entry points; the same either way."""
    requirements = ("jinja2==3.1.4", "markupsafe", "tzdata", "protobuf==7.36.2", "googleapis-common-protos==1.76.0")
    wheels = fetch(HERE, *requirements)
    tree, blobs = unpacked(tmp_path, wheels, HERE)
    assert site_directory(wheels[::-1], blobs) == tree
    root = tmp_path / "site"
    write(tree, blobs, root)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", USES, root], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    names = ["googleapis-common-protos", "jinja2", "markupsafe", "protobuf", "tzdata"]
    extractors = ["jinja2.ext:babel_extract[i18n]"]
    modules = ["google", "jinja2", "markupsafe", "tzdata"]
    assert json.loads(done.stdout) == ["&lt;", 3, True, "3.1.4", extractors, [], names, modules]
