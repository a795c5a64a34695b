"""pip packages from requirements to what a Go binary imports, offline and from the package index."""

import gzip
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from index import dist
from modules import fresh_module, start
from peer_fixtures import Go
from pyembed_gen import binary, emit, matrix
from pyembed_gen.cli import main
from pyembed_gen.manifest import Manifest
from setting import TRIPLES, Run

MATRIX = matrix.load(None)
REAL = ("jinja2==3.1.4", "PyYAML", "tzdata; sys_platform == 'win32'")
NATIVE = ("linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64")
FORMATS = {"linux": "elf", "darwin": "macho", "windows": "pe"}
TAGS = {
    "linux/amd64": "manylinux_2_17_x86_64",
    "linux/arm64": "manylinux_2_17_aarch64",
    "darwin/amd64": "macosx_11_0_x86_64",
    "darwin/arm64": "macosx_11_0_arm64",
    "windows/amd64": "win_amd64",
    "windows/arm64": "win_arm64",
}


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the only wheels there are: one for all platforms, one for Windows, one for each."""
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    dist("app", requires=("winonly; sys_platform == 'win32'", "fast")).write(folder)
    dist("winonly").write(folder)
    for key, tag in TAGS.items():
        dist("fast", tag=f"cp314-cp314-{tag}", files={"fast/platform.txt": key.encode()}).write(folder)
    return folder


def files(folder: Path) -> Mapping[str, bytes]:
    """Return the contents below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bundle(out: Path, platform: str) -> Manifest:
    """Return the manifest of a platform's bundle."""
    return emit.read_bundle(out / platform.replace("/", "-"))


def test_six_platforms_without_a_network(
    links: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each platform has its own wheel; what changes is made anew, what does not is left, and a failure is no change."""
    (tmp_path / "requirements.txt").write_text("app\n")
    options = ("--no-index", "--find-links", links, "-r", tmp_path / "requirements.txt", "-q")
    done = run("pip", *options, "--out", "o", "--json")
    assert done.code == 0, done.err
    bundles = json.loads(done.out)["bundles"]
    assert sorted(each["platform"] for each in bundles) == sorted(TRIPLES)
    for each in bundles:
        windows = each["platform"].startswith("windows/")
        assert [package["name"] for package in each["packages"]] == ["app", "fast", *(["winonly"] if windows else [])]
    assert len({each["contentHash"] for each in bundles}) == 6
    for key in TAGS:
        assert content(Path("o") / key.replace("/", "-"), "fast/platform.txt") == key.encode()
    first = files(Path("o"))

    assert run("pip", *options, "--out", "p", "--cache-dir", tmp_path / "other-cache").code == 0
    assert files(Path("p")) == first

    with monkeypatch.context() as patch:
        patch.setattr("pyembed_gen.piprun.subprocess.Popen", lambda *_, **__: pytest.fail("pip was started"))
        assert run("pip", *options, "--out", "o").code == 0

    (tmp_path / "requirements.txt").write_text("app\nabsent\n")
    assert run("pip", *options, "--out", "o").code == 6
    assert files(Path("o")) == first
    (tmp_path / "requirements.txt").write_text("fast\n")
    assert run("pip", *options, "--out", "o").code == 0
    names = {entry.name for entry in bundle(Path("o"), "windows/arm64").entries if entry.kind == "dir"}
    assert names == {"fast", "fast-1.0.dist-info"}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return bundles of real packages for four platforms."""
    folder = tmp_path_factory.mktemp("real")
    options = ("--only-platforms", ",".join(NATIVE), "--cache-dir", str(folder / "cache"), "-q")
    assert main(["pip", *REAL, "--python", "3.14", "--out", str(folder / "o"), *options]) == 0
    return folder / "o"


@pytest.mark.parametrize("platform", NATIVE)
def test_real_packages_are_those_of_the_platform(real: Path, platform: str) -> None:
    """Markers see the target; each native file has its format and machine."""
    manifest = bundle(real, platform)
    row = MATRIX.platform(platform)
    names = {entry.name for entry in manifest.entries if entry.kind == "dir" and "/" not in entry.name}
    assert ("tzdata" in names) == (row.goos == "windows")
    assert {"jinja2", "markupsafe", "yaml", "jinja2-3.1.4.dist-info"} <= names
    natives = [entry for entry in manifest.files if entry.name.endswith((".so", ".pyd"))]
    assert {entry.name.partition("/")[0] for entry in natives} == {"markupsafe", "yaml"}
    for entry in natives:
        facts = binary.read(content(real / row.directory, entry.payload(manifest.codec)))
        assert facts is not None
        assert (facts.format, row.machine in facts.machines) == (FORMATS[row.goos], True)


def content(folder: Path, payload: str) -> bytes:
    """Return the content of a gzip payload."""
    data = (folder / payload).read_bytes()
    return gzip.decompress(data) if payload.endswith(".gz") else data


USES = """
import importlib.metadata, json, jinja2, markupsafe._speedups, yaml
print(json.dumps([
    jinja2.Template("{{ x|e }}").render(x="<"),
    markupsafe._speedups.__spec__.origin.endswith(".so"),
    yaml.load("a: [1, 2]", Loader=yaml.CSafeLoader),
    importlib.metadata.version("jinja2"),
    sorted(each.name.lower() for each in importlib.metadata.distributions() if each.name.lower() in NAMES),
]))
""".replace("NAMES", repr(["jinja2", "markupsafe", "pyyaml", "tzdata"]))


@pytest.mark.skipif(sys.platform != "linux", reason="the interpreter of this machine is what runs")
def test_a_go_binary_imports_them(tmp_path: Path, run: Run, go: Go) -> None:
    """A program with this machine's interpreter and a bundle of packages: native code, and metadata."""
    module = fresh_module(tmp_path / "fresh")
    line = f"3.{sys.version_info.minor}"
    assert run("--source", "host", "--out", module / "data", "-q").code == 0
    goarch = go("env", "GOARCH").strip()
    options = ("--python", line, "--only-platforms", f"linux/{goarch}", "--out", module / "libs", "--package", "libs")
    done = run("pip", *REAL, *options, "-q")
    assert done.code == 0, done.err
    text = (module / "main.go").read_text()
    imports = '\t"example.com/fresh/data"\n'
    text = text.replace(imports, f'{imports}\t"example.com/fresh/libs"\n')
    (module / "main.go").write_text(text.replace("data.Data,", "data.Data, python.WithPackagesFS(libs.Data),"))
    go.at(module)("build", "-o", "fresh.exe", ".")
    done = start(module / "fresh.exe", "-c", USES, cache=tmp_path / "c")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == ["&lt;", True, {"a": [1, 2]}, "3.1.4", ["jinja2", "markupsafe", "pyyaml"]]
