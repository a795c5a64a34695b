"""The command line from its user's side: what is printed where, which exit code, what is on disk."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pbs
from index import dist
from pyembed_gen import cli, emit, errors, verify, workspace
from pyembed_gen.cache import Cache
from setting import ROOT, TAG, VERSION, Run
from web import Reply, Web


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return names, times and contents of everything below a folder."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def test_bare_command_generates(run: Run, tiny: list[str], tmp_path: Path) -> None:
    """`pyembed-gen --only-platforms darwin/arm64` makes that bundle, its stub, and the one for all others."""
    done = run(*tiny, "--only-platforms", "darwin/arm64", "--out", "o")
    assert (done.code, done.err.count("error")) == (0, 0)
    out = tmp_path / "work" / "o"
    assert sorted(path.name for path in out.iterdir()) == [
        "PYTHON_VERSION",
        "darwin-arm64",
        "embed_darwin_arm64.go",
        "embed_other.go",
    ]
    assert (out / "PYTHON_VERSION").read_text() == f'PYTHON_VERSION="{VERSION}"\nPYTHON_STANDALONE_VERSION="{TAG}"\n'
    assert done.out.startswith(f"o/darwin-arm64: Python {VERSION}, ")
    assert verify.verify(out / "darwin-arm64")[1] == ()


def test_bare_command_makes_all_platforms_of_the_matrix(run: Run, tiny: list[str]) -> None:
    """Without --only-platforms every platform of the matrix is made, and --json describes each."""
    done = run(*tiny, "--out", "o", "--json")
    assert done.code == 0
    bundles = json.loads(done.out)["bundles"]
    assert [bundle["platform"] for bundle in bundles] == [
        f"{goos}/{goarch}" for goos in ("darwin", "linux", "windows") for goarch in ("amd64", "arm64")
    ]
    for bundle in bundles:
        directory = Path(bundle["directory"])
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
        assert bundle["embedded"] == size
        assert bundle["contentHash"] == emit.read_bundle(directory).content_hash
        assert bundle["upToDate"] is False
        assert bundle["python"] == VERSION


def test_pruning_leaves_what_works(run: Run, tiny: list[str]) -> None:
    """Tests, caches, launchers without their library, unneeded libraries and dangling links are gone."""
    assert run(*tiny, "--only-platforms", "linux/amd64,windows/amd64", "--out", "o").code == 0
    linux = {entry.name for entry in emit.read_bundle(Path("o/linux-amd64")).entries}
    assert linux == {
        *("bin", "bin/python", "bin/python3", "bin/python3.14"),
        *("lib", "lib/python3.14", "lib/python3.14/LICENSE.txt", "lib/python3.14/encodings"),
        *("lib/python3.14/encodings/__init__.py", "lib/python3.14/lib-dynload", "lib/python3.14/os.py"),
        "lib/python3.14/lib-dynload/_ssl.cpython-314-x86_64-linux-gnu.so",
        *("lib/python3.14/unittest", "lib/python3.14/unittest/__init__.py"),
        *("licenses", "licenses/LICENSE.cpython.txt", "licenses/LICENSE.openssl-3.txt", "licenses/LICENSE.tcl.txt"),
        "licenses/licenses.json",
    }
    windows = {entry.name for entry in emit.read_bundle(Path("o/windows-amd64")).files}
    assert {name for name in windows if name.endswith((".dll", ".exe", ".pyd"))} == {
        *("python.exe", "pythonw.exe", "python314.dll", "python3.dll", "vcruntime140.dll"),
        *("DLLs/_ssl.pyd", "DLLs/libssl-3-x64.dll", "DLLs/libcrypto-3-x64.dll"),
    }


def test_unchanged_run_touches_nothing(run: Run, tiny: list[str], tmp_path: Path) -> None:
    """A second run says `up to date` and leaves every file and folder as it was, times included."""
    assert run(*tiny, "--out", "o").code == 0
    before = snapshot(tmp_path / "work")
    done = run(*tiny, "--out", "o")
    assert done.code == 0
    assert [line.rpartition(", ")[2] for line in done.out.splitlines()[:-1]] == ["up to date"] * 6
    assert done.out.splitlines()[-1].startswith("6 bundles, ")
    assert snapshot(tmp_path / "work") == before


def test_force_makes_it_again(run: Run, tiny: list[str]) -> None:
    """--force ignores that a bundle is up to date, and gives the same bytes."""
    arguments = (*tiny, "--only-platforms", "linux/arm64", "--out", "o", "--json")
    first = json.loads(run(*arguments).out)["bundles"][0]
    second = json.loads(run(*arguments, "--force").out)["bundles"][0]
    assert second["upToDate"] is False
    assert second["contentHash"] == first["contentHash"]


def test_damaged_bundle_is_made_again(run: Run, tiny: list[str]) -> None:
    """A missing payload, a truncated one or a stray file means that the bundle is not up to date."""
    arguments = (*tiny, "--only-platforms", "linux/arm64", "--out", "o")
    assert run(*arguments).code == 0
    bundle = Path("o/linux-arm64")
    for damage in (
        (bundle / "lib/python3.14/os.py.gz").unlink,
        lambda: (bundle / "lib/python3.14/os.py.gz").write_bytes(b""),
        (bundle / "stray").touch,
        lambda: (bundle / "files.json").write_text('{"contentHash": "", "files": []}'),
    ):
        damage()
        assert "up to date" not in run(*arguments).out
        assert verify.verify(bundle)[1] == ()
    assert "up to date" in run(*arguments).out


def test_several_lines_in_one_run(run: Run, tiny: list[str]) -> None:
    """Two lines go to py3.13 and py3.14, each with stubs and PYTHON_VERSION of its own."""
    done = run(*tiny, "--python", "3.14,3.13", "--only-platforms", "linux/amd64", "--out", "o")
    assert done.code == 0
    assert 'PYTHON_VERSION="3.13.17"' in Path("o/py3.13/PYTHON_VERSION").read_text()
    assert 'PYTHON_VERSION="3.14.9"' in Path("o/py3.14/PYTHON_VERSION").read_text()


def test_other_version_over_siblings_is_refused(run: Run, tiny: list[str]) -> None:
    """A bundle of another version beside those that would stay is exit 2 and changes nothing."""
    assert run(*tiny, "--out", "o", "--only-platforms", "linux/amd64").code == 0
    done = run(*tiny, "--out", "o", "--only-platforms", "linux/arm64", "--python", "3.13")
    assert done.code == 2
    assert "o holds Python 3.14.9 for linux/amd64, and Python 3.13.17 was asked for" in done.err
    assert not Path("o/linux-arm64").exists()
    assert run(*tiny, "--out", "o", "--only-platforms", "linux/amd64", "--python", "3.13").code == 0


def test_go_generate_writes_to_data(run: Run, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `go generate` the default output is ./data of the package, whatever the matrix says."""
    monkeypatch.setenv("GOPACKAGE", "main")
    assert run(*tiny, "--only-platforms", "linux/amd64").code == 0
    assert Path("data/embed_linux_amd64.go").is_file()


def test_matrix_upwards_decides_the_output(run: Run, tiny: list[str], tmp_path: Path) -> None:
    """The nearest matrix.toml is used, its output directory relative to it; --config names another."""
    (tmp_path / "work" / "matrix.toml").write_text('platforms = ["linux/amd64"]\n[output]\ndir = "x"\npackage = "py"\n')
    (tmp_path / "work" / "deep").mkdir()
    os.chdir("deep")
    assert run(*tiny).code == 0
    assert "package py" in (tmp_path / "work" / "x" / "embed_linux_amd64.go").read_text()
    other = tmp_path / "other.toml"
    other.write_text('platforms = ["linux/arm64"]\n')
    assert run(*tiny, "--config", other).code == 0
    assert (tmp_path / "data" / "linux-arm64").is_dir()


@pytest.mark.parametrize("codec", ["gzip", "zstd", "none"])
def test_codecs_carry_the_same_tree(run: Run, tiny: list[str], codec: str) -> None:
    """The content hash says what the tree is, whatever carries it."""
    arguments = (*tiny, "--only-platforms", "linux/amd64", "--json")
    plain = json.loads(run(*arguments, "--out", "a").out)["bundles"][0]
    other = json.loads(run(*arguments, "--out", "b", "--codec", codec, "--level", 0 if codec == "none" else 3).out)
    assert other["bundles"][0]["contentHash"] == plain["contentHash"]
    assert run("verify", "b").code == 0


def test_dry_run_says_what_would_be_done(run: Run, tiny: list[str], tmp_path: Path) -> None:
    """--dry-run writes nothing; with -v it lists what would be dropped by which rule."""
    arguments = (*tiny, "--only-platforms", "linux/amd64", "--out", "o", "--dry-run")
    asset = pbs.asset_name(VERSION, TAG, "x86_64-unknown-linux-gnu")
    assert run(*arguments).out == f"o/linux-amd64: from {asset} (to be fetched)\n"
    assert "  tests drops 2 files, 900 B\n" in run(*arguments, "-v").out
    verbose = run(*arguments, "-vv").out
    assert "  drop lib/python3.14/test/test_os.py (tests)\n" in verbose
    assert "  drop lib/libpython3.14.so.1.0 (unneeded-library)\n" in verbose
    assert "  drop lib/libpython3.14.so (dangling-link)\n" in verbose
    assert run(*arguments).out == f"o/linux-amd64: from {asset} (cached)\n"
    document = json.loads(run(*arguments, "-v", "--json").out)["bundles"][0]
    assert document["archive"] == asset
    assert {"name": "bin/pip3", "raw": 30, "rule": "site-packages"} in document["dropped"]
    assert run(*arguments, "-q").out == ""
    assert not (tmp_path / "work" / "o").exists()
    assert run(*arguments[:-1]).code == 0
    assert run(*arguments).out == f"o/linux-amd64: up to date ({asset})\n"
    assert "dropped" not in json.loads(run(*arguments, "--json").out)["bundles"][0]


def test_quiet_prints_nothing(run: Run, tiny: list[str]) -> None:
    """-q leaves both streams empty when all goes well; --json still answers."""
    done = run(*tiny, "--only-platforms", "linux/amd64", "--out", "o", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = run(*tiny, "--only-platforms", "linux/amd64", "--out", "o", "-q", "--json")
    assert json.loads(done.out)["bundles"][0]["upToDate"] is True
    assert done.err == ""


def test_progress_goes_to_standard_error(run: Run, tiny: list[str]) -> None:
    """Without a terminal each stage that takes a while leaves a plain line on standard error."""
    done = run(*tiny, "--only-platforms", "linux/amd64", "--out", "o")
    assert any(line.startswith("unpacking linux/amd64 3.14.9: ") for line in done.err.splitlines())
    assert any(line.startswith("packing linux/amd64 3.14.9: ") for line in done.err.splitlines())
    assert len(done.out.splitlines()) == 1


def test_verify_lists_what_differs(run: Run, tiny: list[str]) -> None:
    """verify is exit 0 on a good bundle, and exit 4 with one line for each difference."""
    assert run(*tiny, "--only-platforms", "linux/amd64", "--out", "o").code == 0
    good = run("verify", "o")
    assert (good.code, good.out) == (0, "o/linux-amd64: 10 files are what the manifest says\n")
    assert run("verify", "o/linux-amd64", "-q").out == ""
    (Path("o/linux-amd64") / "lib/python3.14/os.py.gz").write_bytes(b"x")
    bad = run("verify", "o")
    assert bad.code == 4
    assert bad.out.startswith("o/linux-amd64/lib/python3.14/os.py.gz: has 1 bytes, not ")
    assert bad.err == "pyembed-gen: error: verifying o: 1 difference; generate it again with --force\n"
    document = run("verify", "o", "--json")
    assert document.code == 4
    (difference,) = json.loads(document.out)["bundles"][0]["differences"]
    assert difference["path"] == "lib/python3.14/os.py.gz"
    missing = run("verify", "nowhere")
    assert missing.code == 2
    assert "nowhere holds no bundle" in missing.err


def test_inspect_shows_what_takes_the_space(run: Run, tiny: list[str]) -> None:
    """inspect prints groups, largest files and dropped rules for people, and the same as JSON for scripts."""
    assert run(*tiny, "--only-platforms", "linux/amd64", "--out", "o").code == 0
    text = run("inspect", "o").out
    assert f"Python {VERSION} for x86_64-unknown-linux-gnu (PBS {TAG}, pgo+lto-full)" in text
    assert "unneeded-library" in text
    document = json.loads(run("inspect", "o/linux-amd64", "--json").out)["bundles"][0]
    assert document["origin"]["portable"] is True
    assert document["embedded"] == sum(p.stat().st_size for p in Path("o/linux-amd64").rglob("*") if p.is_file())
    assert sum(group["stored"] for group in document["groups"]) < document["embedded"]
    assert {item["rule"] for item in document["dropped"]} >= {"tests", "idle", "tkinter", "not-kept"}
    assert document["largest"][0]["stored"] >= document["largest"][1]["stored"]


def test_cache_commands(run: Run, tiny: list[str], tmp_path: Path) -> None:
    """cache dir, size, prune and clear look after what runs leave."""
    assert run("cache", "dir").out == f"{tmp_path / 'cache'}\n"
    assert run("cache", "dir", "--cache-dir", "elsewhere").out == "elsewhere\n"
    assert run(*tiny, "--only-platforms", "linux/amd64", "--out", "o").code == 0
    assert "archives: 1 files" in run("cache", "size").out
    document = json.loads(run("cache", "size", "--json").out)
    assert document["kinds"]["packs"]["files"] > 5
    assert document["bytes"] > 0
    assert run("cache", "prune").out.startswith("removed 0 files")
    assert run("cache", "prune", "--older-than", "0").out.startswith(f"removed {document['files']} files")
    assert run("cache", "clear").out == "removed 0 files, 0 B\n"
    for command in ("size", "clear", "prune"):
        done = run("cache", command, "--cache-dir", "nowhere")
        assert (done.code, "there is no cache at nowhere" in done.err) == (2, True)


def test_pack_cache_serves_another_output(run: Run, tiny: list[str], tmp_path: Path) -> None:
    """What was compressed once is not compressed again: a second output leaves the pack cache as it is."""
    assert run(*tiny, "--only-platforms", "linux/amd64", "--out", "a").code == 0
    packs = {path: path.stat().st_ino for path in (tmp_path / "cache" / "packs").rglob("*") if path.is_file()}
    assert run(*tiny, "--only-platforms", "linux/amd64", "--out", "b").code == 0
    assert {path: path.stat().st_ino for path in (tmp_path / "cache" / "packs").rglob("*") if path.is_file()} == packs


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--nonsense"], 2, "No such option"),
        (["frobnicate"], 2, "No such command 'frobnicate'"),
        (["--only-platforms", "linux/amd64,,linux/arm64"], 2, "--only-platforms has an empty item"),
        (["--only-platforms", "plan9/amd64"], 2, "'plan9/amd64' is not in the matrix"),
        (["--python", "3.9"], 2, "Python 3.9 is not in the matrix"),
        (["--codec", "xz"], 2, "'xz' is not one of"),
        (["--jobs", "0"], 2, "--jobs"),
        (["--level", "99"], 2, "--level 99 is not a level of gzip"),
        (["--config", "none.toml"], 2, "none.toml"),
        (["--source", "nowhere", "--jobs", "9"], 2, "--source nowhere: there is no such file or folder"),
        (["--mirror", "file:///nonexistent"], 3, "file:///nonexistent"),
        (["--mirror", "http://127.0.0.1:9/"], 3, "http://127.0.0.1:9/"),
        (["--offline"], 3, "--offline"),
        (["verify"], 2, "Missing argument"),
        (["cache"], 2, "dir"),
    ],
)
def test_mistakes_are_one_line(run: Run, tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    """Every mistake of the user is one line on standard error, its exit code, no traceback, nothing on disk."""
    done = run(*arguments, *(["--pbs", TAG] if arguments[0].startswith("--") and "9" not in arguments[-1] else []))
    assert done.code == code
    assert words in done.err
    assert "Traceback" not in done.err
    if arguments != ["cache"]:
        assert done.err.startswith("pyembed-gen: error: ")
        assert done.err.count("\n") == 1
    assert list((tmp_path / "work").iterdir()) == []


def test_debug_shows_the_traceback(run: Run) -> None:
    """--debug adds the traceback to the one line."""
    done = run("--only-platforms", "plan9/amd64", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("pyembed-gen: error: ")


def test_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """What is not the user's mistake is not dressed up as one."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.pipeline, "generate", broken)
    with pytest.raises(ZeroDivisionError):
        run("--out", "o")


def test_wrong_sum_is_never_cached_or_unpacked(run: Run, tmp_path: Path) -> None:
    """An archive whose sum is not the released one is exit 3 and leaves neither output nor cached archive."""
    asset = pbs.asset_name(VERSION, TAG, "x86_64-unknown-linux-gnu")
    mirror = pbs.write_mirror(tmp_path / "m", TAG, {asset: pbs.tiny_members(VERSION, "x86_64-unknown-linux-gnu")})
    with (mirror / TAG / asset).open("ab") as file:
        file.write(b"more")
    done = run("--mirror", mirror.as_uri(), "--pbs", TAG, "--only-platforms", "linux/amd64", "--out", "o")
    assert done.code == 3
    assert asset.replace("+", "%2B") in done.err or asset in done.err
    assert not Path("o").exists()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and asset in path.name]


def test_locked_sum_wins_over_the_mirror(run: Run, tmp_path: Path) -> None:
    """A mirror that serves other bytes with matching SHA256SUMS is refused for what matrix.lock holds."""
    asset = pbs.asset_name("3.14.9", "20261021", "x86_64-unknown-linux-gnu")
    mirror = pbs.write_mirror(
        tmp_path / "m", "20261021", {asset: pbs.tiny_members("3.14.9", "x86_64-unknown-linux-gnu")}
    )
    done = run("--mirror", mirror.as_uri(), "--only-platforms", "linux/amd64", "--out", "o")
    assert done.code == 3
    assert not Path("o").exists()


def test_mislabelled_archive_is_refused(run: Run, tmp_path: Path) -> None:
    """An archive of another version, triple or machine than its name says is exit 4."""
    triple = "x86_64-unknown-linux-gnu"
    asset = pbs.asset_name(VERSION, TAG, triple)
    right = pbs.tiny_members(VERSION, triple)
    arm = {member.name: member for member in pbs.tiny_members(VERSION, "aarch64-unknown-linux-gnu")}
    cases = {
        "holds Python 3.14.8, not 3.14.9": pbs.tiny_members("3.14.8", triple),
        "is for aarch64-unknown-linux-gnu, not": pbs.tiny_members(VERSION, "aarch64-unknown-linux-gnu"),
        "bin/python3.14 is elf for aarch64, not elf for x86_64": [
            arm[member.name] if member.name == "python/install/bin/python3.14" else member for member in right
        ],
        "bin/python3 is not there": [member for member in right if "/bin/python" not in member.name],
        "bin/python3.14 is no program, not elf": [
            pbs.Member(member.name, b"text", 0o755) if member.name.endswith("bin/python3.14") else member
            for member in right
        ],
    }
    for index, (words, members) in enumerate(cases.items()):
        mirror = pbs.write_mirror(tmp_path / f"m{index}", TAG, {asset: members})
        done = run("--mirror", mirror.as_uri(), "--pbs", TAG, "--only-platforms", "linux/amd64", "--out", "o")
        assert (done.code, words in done.err, done.err.count("\n")) == (4, True, done.err.count("\n")), done.err
        assert not Path("o").exists()


def test_help_and_version(run: Run) -> None:
    """--help shows the commands, generate --help every option, --version the version."""
    assert "verify" in run("--help").out
    text = run("generate", "--help").out
    for option in ("--only-platforms", "--python", "--pbs", "--source", "--mirror", "--offline", "--insecure", "--out"):
        assert option in text
    assert run("--version").out == f"pyembed-gen, version {(ROOT / 'VERSION').read_text().strip()}\n"


def test_closed_pipe_is_quiet(tiny: list[str], run: Run, tmp_path: Path) -> None:
    """A reader that goes away (`| head`) gets no traceback."""
    assert run(*tiny, "--only-platforms", "linux/amd64", "--out", "o").code == 0
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "pyembed_gen", "inspect", str(tmp_path / "work" / "o")],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_unwritable_places_are_exit_5(run: Run, tiny: list[str], tmp_path: Path) -> None:
    """A cache or output that cannot be written is exit 5 and names the folder."""
    (tmp_path / "file").touch()
    done = run(*tiny, "--only-platforms", "linux/amd64", "--out", tmp_path / "file" / "o")
    assert done.code == 5
    assert str(tmp_path / "file") in done.err
    done = run(*tiny, "--only-platforms", "linux/amd64", "--out", "o", "--cache-dir", tmp_path / "file" / "c")
    assert done.code == 5
    assert str(tmp_path / "file") in done.err
    assert not Path("o").exists()


def test_read_only_output_that_is_up_to_date(run: Run, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave to write is asked for only where something will be written."""
    arguments = (*tiny, "--only-platforms", "linux/amd64", "--out", "o")
    assert run(*arguments).code == 0
    real = os.access

    def access(path: Path, mode: int) -> bool:
        return real(path, mode) and not (mode & os.W_OK and Path(path).name == "o")

    monkeypatch.setattr(os, "access", access)
    done = run(*arguments)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].endswith(", up to date")
    done = run(*arguments, "--force")
    assert done.code == 5
    assert "you may not write in o; choose another --out" in done.err


def test_two_runs_on_one_output_both_succeed(tiny: list[str], tmp_path: Path) -> None:
    """Runs for two platforms on one output at the same time leave both bundles and stubs for both."""
    command = [sys.executable, "-m", "pyembed_gen", *tiny, "--out", str(tmp_path / "o"), "--only-platforms"]
    runs = [
        subprocess.Popen([*command, platform], stderr=subprocess.DEVNULL) for platform in ("linux/amd64", "linux/arm64")
    ]
    assert [process.wait(60) for process in runs] == [0, 0]
    assert len(verify.bundles(tmp_path / "o")) == 2
    other = (tmp_path / "o" / "embed_other.go").read_text()
    assert "!(linux && amd64 && !android) && !(linux && arm64 && !android)" in other


def test_exit_codes_are_the_documented_ones() -> None:
    """Each class of error has the exit code that the README lists."""
    assert {error.__name__: error.exit_code for error in errors.PyembedError.__subclasses__()} == {
        "UsageError": 2,
        "FetchError": 3,
        "ArchiveError": 4,
        "WriteError": 5,
        "PipError": 6,
    }
    assert shutil.which("pyembed-gen", path=Path(sys.executable).parent)


def test_line_of_another_release_is_looked_up_there(run: Run, tmp_path: Path) -> None:
    """With --pbs a line means the version which that release has, not the one in the matrix."""
    asset = pbs.asset_name("3.14.4", TAG, "x86_64-unknown-linux-gnu")
    mirror = pbs.write_mirror(tmp_path / "m", TAG, {asset: pbs.tiny_members("3.14.4", "x86_64-unknown-linux-gnu")})
    arguments = ("--mirror", mirror.as_uri(), "--pbs", TAG, "--only-platforms", "linux/amd64", "--out", "o")
    done = run(*arguments)
    assert done.code == 0, done.err
    assert emit.read_bundle(Path("o/linux-amd64")).origin.python == "3.14.4"
    done = run(*arguments, "--python", "3.12")
    assert done.code == 2
    assert "Python 3.12 is not in release 20990101; it has 3.14" in done.err


def test_line_of_a_locked_release_needs_no_network(run: Run, tmp_path: Path) -> None:
    """If the lock lists the other release, its versions are known without asking for SHA256SUMS."""
    (tmp_path / "work" / "matrix.toml").write_text('platforms = ["linux/amd64"]\n')
    asset = pbs.asset_name("3.14.7", TAG, "x86_64-unknown-linux-gnu")
    (tmp_path / "work" / "matrix.lock").write_text(f"{'0' * 64}  {asset}\n")
    done = run("--pbs", TAG, "--dry-run", "--out", "o")
    assert done.out == f"o/linux-amd64: from {asset} (to be fetched)\n"


@pytest.mark.parametrize("name", ["linux-amd64/release", "embed_other.go", "embed_linux_amd64.go"])
def test_what_the_generator_did_not_make_is_not_replaced(run: Run, tiny: list[str], name: str) -> None:
    """A folder or file of the user's that has the name of a bundle or stub is exit 2, also in a dry run, and stays."""
    mine = Path("dist") / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine\n")
    for more in ([], ["--dry-run"], ["--force"]):
        done = run(*tiny, "--only-platforms", "linux/amd64", "--out", "dist", *more)
        assert done.code == 2
        assert "is there and is no" in done.err
        assert "choose another --out" in done.err
    assert [path for path in Path("dist").rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "mine\n"


def test_bundles_of_the_peers_are_replaced(run: Run, tiny: list[str]) -> None:
    """A folder that go-embed-python or goempy made becomes one of ours, stub and all."""
    Path("o/linux-amd64").mkdir(parents=True)
    Path("o/linux-amd64/files.json").write_text('{"contentHash": "", "files": []}')
    Path("o/embed_linux_amd64.go").write_text("\npackage data\n\n//go:embed all:linux-amd64\nvar _data embed.FS\n")
    assert run(*tiny, "--only-platforms", "linux/amd64", "--out", "o").code == 0
    assert verify.verify(Path("o/linux-amd64"))[1] == ()


def test_local_source_has_no_release(run: Run) -> None:
    """--pbs with --source host would mean nothing, so it is refused."""
    done = run("--source", "host", "--pbs", TAG, "--out", "o")
    assert (done.code, "is no PBS release; leave --pbs out" in done.err) == (2, True)


def test_rule_that_drops_the_interpreter_is_named(run: Run, tiny: list[str]) -> None:
    """When a rule of the user's drops too much, the rule is blamed and not the archive."""
    Path("matrix.toml").write_text('[drop]\nall = ["*"]\n')
    done = run(*tiny, "--only-platforms", "linux/amd64", "--out", "o")
    assert done.code == 2
    assert "the rule 'all' drops the interpreter, bin/python3; mend [drop] in matrix.toml" in done.err


def test_full_standard_output_is_one_line(tiny: list[str], run: Run, tmp_path: Path) -> None:
    """A script whose output file is on a full disk gets one line and exit 5."""
    assert run(*tiny, "--only-platforms", "linux/amd64", "--out", "o").code == 0
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pyembed_gen", "inspect", str(tmp_path / "work" / "o")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 5
    assert done.stderr.startswith("pyembed-gen: error: writing the output: No space left on device")
    assert "Traceback" not in done.stderr


def test_verbose_run_says_what_each_rule_dropped(run: Run, tiny: list[str]) -> None:
    """-v on a run that makes bundles prints a line for each rule."""
    done = run(*tiny, "--only-platforms", "linux/amd64", "--out", "o", "-v")
    assert "  tkinter drops 3 files, " in done.out


def test_missing_archive_is_found_before_any_work(run: Run, tmp_path: Path) -> None:
    """A release that lacks one of several platforms is refused before the others are unpacked."""
    asset = pbs.asset_name(VERSION, TAG, "x86_64-unknown-linux-gnu")
    mirror = pbs.write_mirror(tmp_path / "m", TAG, {asset: pbs.tiny_members(VERSION, "x86_64-unknown-linux-gnu")})
    done = run("--mirror", mirror, "--pbs", TAG, "--only-platforms", "linux/amd64,windows/arm64", "--out", "o")
    assert done.code == 3
    assert "aarch64-pc-windows-msvc" in done.err
    assert "unpacking" not in done.err
    assert not Path("o").exists()


def test_stalled_download_does_not_hold_up_an_interrupt() -> None:
    """Ctrl-C while a server is silent ends the run at once, not when the time-outs have run out."""
    asset = pbs.asset_name(VERSION, TAG, "x86_64-unknown-linux-gnu")
    with Web() as web:
        web.serve(f"/{TAG}/SHA256SUMS", Reply(f"{'0' * 64}  {asset}\n".encode()))
        web.serve("*", Reply(b"\x28\xb5\x2f\xfd" + b"x" * 5000, stall=100))
        process = subprocess.Popen(
            [sys.executable, "-m", "pyembed_gen", "--mirror", web.url, "--pbs", TAG, "--only-platforms", "linux/amd64"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYEMBED_HTTP_TIMEOUT": "60", "PYEMBED_HTTP_RETRIES": "3"},
        )
        deadline = time.monotonic() + 30
        while not any(asset.replace("+", "%2B") in request or asset in request for request in map(str, web.requests)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=20)
    assert process.returncode == 130
    assert complaint.splitlines()[-1].startswith("pyembed-gen: error: interrupted")


def test_pipe_in_place_of_a_cached_archive_does_not_hang(run_process: Run, tiny: list[str], tmp_path: Path) -> None:
    """What is no regular file in the cache is fetched anew."""
    assert run_process(*tiny, "--only-platforms", "linux/amd64", "--out", "o").code == 0
    (archive,) = (tmp_path / "cache" / "archives").glob("*.zst")
    archive.unlink()
    os.mkfifo(archive)
    assert run_process(*tiny, "--only-platforms", "linux/amd64", "--out", "o", "--force").code == 0
    assert archive.is_file()


def test_matrix_of_somebody_else_is_passed_over(run: Run, tiny: list[str], tmp_path: Path) -> None:
    """A matrix.toml that others may have put above the working directory decides nothing, and that is said."""
    planted = tmp_path / "matrix.toml"
    planted.write_text('platforms = ["windows/arm64"]\n[source]\nurl = "http://127.0.0.1:9/evil"\n')
    planted.chmod(0o666)
    done = run(*tiny, "--only-platforms", "linux/amd64", "--out", "o")
    assert done.code == 0
    assert f"passing over {planted}: it belongs to somebody else" in done.err
    planted.chmod(0o644)
    assert run("--dry-run", "--offline", "--out", "p", "--pbs", TAG, "--python", VERSION).out.startswith(
        "p/windows-arm64"
    )


def test_cache_in_use_is_not_cleared(run: Run, tmp_path: Path) -> None:
    """cache clear and prune refuse while a run has its folder there, and work when it has ended."""
    with workspace.workspace(Cache(tmp_path / "cache")):
        for command in ("clear", "prune"):
            done = run("cache", command)
            assert (done.code, "a run is using the cache" in done.err) == (2, True)
    assert run("cache", "clear").code == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_reason_to_fail(tiny: list[str], tmp_path: Path, closed: str) -> None:
    """A run whose output streams are closed does its work."""
    command = [
        sys.executable,
        "-m",
        "pyembed_gen",
        *tiny,
        "--only-platforms",
        "linux/amd64",
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(["/bin/sh", "-c", f'"$@" {closed}', "sh", *command], check=False)
    assert done.returncode == 0
    assert verify.verify(tmp_path / "o" / "linux-amd64")[1] == ()


def test_version_that_is_none_is_refused(run: Run, tmp_path: Path) -> None:
    """An archive whose version would be shell code in PYTHON_VERSION is exit 4 and writes nothing."""
    evil = '3.14.6"\nX="$(touch pwned)'
    members = pbs.tiny_members(VERSION, "x86_64-unknown-linux-gnu")
    facts = json.loads(members[0].data) | {"python_version": evil}
    pbs.write_archive(tmp_path / "a.tar.zst", [pbs.Member(members[0].name, json.dumps(facts).encode()), *members[1:]])
    done = run("--source", tmp_path / "a.tar.zst", "--out", "o")
    assert (done.code, "Traceback" in done.err) == (4, False)
    assert not Path("o").exists()


def test_pip_packs_what_is_named(run: Run, tmp_path: Path) -> None:
    """`pyembed-gen pip` prints a line for each bundle, and with --json its packages; a second run is up to date."""
    dist("click", "8.1.8", requires=("colorama; sys_platform == 'win32'",)).write(tmp_path)
    dist("colorama").write(tmp_path)
    arguments = ("pip", "click", "--no-index", "-f", tmp_path, "--only-platforms", "linux/amd64,windows/amd64")
    done = run(*arguments, "--out", "o", "--dry-run")
    assert (done.code, done.out) == (0, "o/linux-amd64: click 8.1.8\no/windows-amd64: click 8.1.8, colorama 1.0\n")
    assert not Path("o").exists()
    done = run(*arguments, "--out", "o")
    assert (done.code, done.err.count("error")) == (0, 0)
    assert done.out.startswith(f"o/linux-amd64: Python {VERSION}, 1 package, 6 files, ")
    assert done.out.splitlines()[-1].startswith("2 bundles, ")
    bundles = json.loads(run(*arguments, "--out", "o", "--json", "-q").out)["bundles"]
    assert [bundle["upToDate"] for bundle in bundles] == [True, True]
    assert bundles[1]["packages"] == [{"name": "click", "version": "8.1.8"}, {"name": "colorama", "version": "1.0"}]
    assert run("verify", "o").code == 0
    done = run(*arguments, "--out", "o", "--dry-run", "--json")
    assert json.loads(done.out)["bundles"][0] == {
        "platform": "linux/amd64",
        "python": VERSION,
        "directory": "o/linux-amd64",
        "upToDate": True,
        "packages": [{"name": "click", "version": "8.1.8"}],
    }


def test_pip_under_go_generate_writes_to_data(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `go generate` packages go to ./data, with the stub of the package."""
    dist("click").write(tmp_path)
    Path("requirements.txt").write_text(f"--no-index\n--find-links {tmp_path}\nclick\n")
    monkeypatch.setenv("GOPACKAGE", "main")
    done = run("pip", "-r", "requirements.txt", "--only-platforms", "linux/arm64", "--package", "libs")
    assert done.code == 0, done.err
    assert "package libs" in Path("data/embed_linux_arm64.go").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "pip: there is nothing to pack; name packages, or a file of them: -r requirements.txt"),
        (("-r", "absent.txt"), 6, "absent.txt: No such file or directory; check the name"),
        (("click", "--no-index"), 6, "choosing wheels for linux/amd64, Python 3.14: click: no index in use has"),
        (("click", "--glibc", "two"), 2, "'two' is not a version of glibc such as 2.17; give --glibc 2.17 or newer"),
        (("click", "--python", "3.9"), 2, "Python 3.9 is not in the matrix"),
    ],
)
def test_pip_refuses_in_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """Each mistake has its exit code and one line, and leaves nothing behind."""
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    done = run("pip", *arguments, "--only-platforms", "linux/amd64", "--out", "o", "-q")
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert message in done.err
    assert not Path("o").exists()


def test_pip_shows_skew_as_a_table(run: Run, tmp_path: Path) -> None:
    """The table comes before the one line of the error; --allow-skew accepts it."""
    dist("yaml", "2.0", tag="cp314-cp314-manylinux_2_17_x86_64").write(tmp_path)
    dist("yaml", "1.0").write(tmp_path)
    arguments = ("pip", "yaml", "--no-index", "-f", tmp_path, "--only-platforms", "linux/amd64,windows/amd64", "-q")
    done = run(*arguments, "--out", "o")
    assert done.code == 6
    lines = done.err.splitlines()
    assert lines[:2] == ["Python 3.14  linux/amd64  windows/amd64", "yaml         2.0          1.0"]
    assert lines[-1].startswith("pyembed-gen: error: comparing the platforms: ")
    assert run(*arguments, "--out", "o", "--allow-skew").code == 0
