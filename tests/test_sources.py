"""--source with an archive or a folder: what it is for is read from it, and must agree with what was asked."""

import json
import sys
from pathlib import Path

import pytest

import pbs
from pyembed_gen import emit, verify
from setting import TAG, VERSION, Run

LINUX = "x86_64-unknown-linux-gnu"
WINDOWS = "x86_64-pc-windows-msvc"


def unpack(members: list[pbs.Member], folder: Path) -> Path:
    """Write members as an unpacked archive and return the folder that holds ``python/``."""
    for member in members:
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.link is not None:
            path.symlink_to(member.link)
        else:
            path.write_bytes(member.data)
            path.chmod(member.mode)
    return folder


def made(run: Run, source: Path, *more: str) -> dict[str, object]:
    """Generate from a source and return what --json says of the one bundle."""
    done = run("--source", source, "--out", "o", "--json", *more)
    assert done.code == 0, done.err
    (document,) = json.loads(done.out)["bundles"]
    assert verify.verify(Path(document["directory"]))[1] == ()
    return document


def test_archive_of_a_release_tells_all_by_its_name(run: Run, tmp_path: Path) -> None:
    """Platform, version, release and flavour come from the name of a PBS archive."""
    path = tmp_path / pbs.asset_name(VERSION, TAG, LINUX)
    sha256 = pbs.write_archive(path, pbs.tiny_members(VERSION, LINUX))
    assert made(run, path)["platform"] == "linux/amd64"
    origin = emit.read_bundle(Path("o/linux-amd64")).origin
    assert (origin.python, origin.pbs, origin.flavour) == (VERSION, TAG, "pgo+lto-full")
    assert (origin.archive, origin.sha256, origin.portable) == (path.name, sha256, True)
    assert "up to date" in run("--source", path, "--out", "o").out


def test_same_archive_by_name_and_by_mirror_gives_the_same_tree(run: Run, tiny: list[str], tmp_path: Path) -> None:
    """An archive from disk becomes what it becomes when it is fetched."""
    path = tmp_path / pbs.asset_name(VERSION, TAG, LINUX)
    pbs.write_archive(path, pbs.tiny_members(VERSION, LINUX))
    assert run(*tiny, "--only-platforms", "linux/amd64", "--out", "fetched").code == 0
    assert made(run, path)["contentHash"] == emit.read_bundle(Path("fetched/linux-amd64")).content_hash


def test_archive_of_any_name_tells_by_python_json(run: Run, tmp_path: Path) -> None:
    """A renamed archive says in PYTHON.json what it is."""
    pbs.write_archive(tmp_path / "mine.tar.zst", pbs.tiny_members(VERSION, WINDOWS))
    document = made(run, tmp_path / "mine.tar.zst")
    assert (document["platform"], document["python"], document["pbs"]) == ("windows/amd64", VERSION, "")


def test_install_only_archive(run: Run, tmp_path: Path) -> None:
    """An install_only archive has no PYTHON.json: name and patchlevel.h say what it is; its licence is kept."""
    name = f"cpython-{VERSION}+{TAG}-{LINUX}-install_only_stripped.tar.gz"
    pbs.write_archive(tmp_path / name, pbs.install_only(pbs.tiny_members(VERSION, LINUX)), codec="gzip")
    assert made(run, tmp_path / name)["python"] == VERSION
    manifest = emit.read_bundle(Path("o/linux-amd64"))
    assert manifest.origin.flavour == "install_only_stripped"
    assert "lib/python3.14/LICENSE.txt" in {entry.name for entry in manifest.files}


def test_stripped_archives_of_a_matrix(run: Run, tmp_path: Path) -> None:
    """archive = "stripped" in the matrix takes the smaller archives from a release."""
    Path("matrix.toml").write_text('platforms = ["linux/amd64"]\n[source]\narchive = "stripped"\n')
    name = f"cpython-{VERSION}+{TAG}-{LINUX}-install_only_stripped.tar.gz"
    members = pbs.install_only(pbs.tiny_members(VERSION, LINUX))
    mirror = pbs.write_mirror(tmp_path / "m", TAG, {name: members})
    done = run("--mirror", mirror, "--pbs", TAG, "--out", "o")
    assert done.code == 0, done.err
    assert emit.read_bundle(Path("o/linux-amd64")).origin.archive == name


def test_archive_that_tells_nothing_needs_to_be_told(run: Run, tmp_path: Path) -> None:
    """Without name and PYTHON.json platform and version have to be given, and then it works."""
    members = [m for m in pbs.install_only(pbs.tiny_members(VERSION, LINUX)) if "patchlevel" not in m.name]
    path = tmp_path / "mine.tar.gz"
    pbs.write_archive(path, members, codec="gzip")
    done = run("--source", path, "--out", "o")
    assert done.code == 2
    assert "do not tell its platform; add --only-platforms GOOS/GOARCH" in done.err
    done = run("--source", path, "--out", "o", "--only-platforms", "linux/amd64")
    assert done.code == 2
    assert "does not tell its version; add --python with it, as 3.14.9" in done.err
    assert made(run, path, "--only-platforms", "linux/amd64", "--python", VERSION)["python"] == VERSION


@pytest.mark.parametrize("below", ["", "python", "python/install"])
def test_unpacked_archive_is_a_source(run: Run, tmp_path: Path, below: str) -> None:
    """A folder with an unpacked archive may be named by itself, by its python/ or by the installation."""
    folder = unpack(pbs.tiny_members(VERSION, LINUX), tmp_path / "u") / below
    document = made(run, folder, "--python", VERSION)
    assert (document["platform"], document["python"], document["portable"]) == ("linux/amd64", VERSION, True)
    assert emit.read_bundle(Path("o/linux-amd64")).origin.flavour == "directory"
    assert "up to date" in run("--source", folder, "--python", VERSION, "--out", "o").out
    (next((tmp_path / "u").rglob("os.py"))).write_text("changed = True\n")
    assert "up to date" not in run("--source", folder, "--python", VERSION, "--out", "o").out


def test_full_and_unpacked_archive_hold_the_same_tree(run: Run, tmp_path: Path) -> None:
    """An archive and the folder it was unpacked to have the same content hash."""
    members = pbs.tiny_members(VERSION, WINDOWS)
    pbs.write_archive(tmp_path / "mine.tar.zst", members)
    packed = made(run, tmp_path / "mine.tar.zst")["contentHash"]
    assert made(run, unpack(members, tmp_path / "u"), "--force")["contentHash"] == packed


def test_folder_without_an_interpreter_is_refused(run: Run, tmp_path: Path) -> None:
    """A folder that is no installation is exit 4 with what one looks like."""
    (tmp_path / "empty").mkdir()
    done = run("--source", tmp_path / "empty", "--out", "o")
    assert (done.code, "holds no interpreter; name a folder with bin/python3 or python.exe" in done.err) == (4, True)


def test_interpreter_that_is_none_is_refused(run: Run, tmp_path: Path) -> None:
    """A damaged interpreter is exit 4; one for a machine without a row is exit 2."""
    program = tmp_path / "u" / "bin" / "python3"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"\x7fELF damaged and cut")
    done = run("--source", tmp_path / "u", "--out", "o")
    assert (done.code, "reading the interpreter" in done.err) == (4, True)
    program.write_bytes(pbs.elf("s390x", kind="program"))
    done = run("--source", tmp_path / "u", "--out", "o")
    assert (done.code, "is for a platform that the matrix does not have; add a row" in done.err) == (2, True)


def test_source_must_agree_with_what_is_asked(run: Run, tmp_path: Path) -> None:
    """Another platform or version than the archive's is exit 2, and the output stays empty."""
    path = tmp_path / pbs.asset_name(VERSION, TAG, LINUX)
    pbs.write_archive(path, pbs.tiny_members(VERSION, LINUX))
    done = run("--source", path, "--out", "o", "--only-platforms", "linux/arm64")
    assert (done.code, "is for linux/amd64, and --only-platforms asks for linux/arm64" in done.err) == (2, True)
    done = run("--source", path, "--out", "o", "--python", "3.13")
    assert (done.code, f"is Python {VERSION}, and --python asks for 3.13" in done.err) == (2, True)
    assert not Path("o").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="symlinks")
def test_links_that_leave_the_folder_are_followed(run: Run, tmp_path: Path) -> None:
    """A file behind a link that leads out of the folder is packed as a file, as Debian's installations need it."""
    folder = unpack(pbs.tiny_members(VERSION, LINUX), tmp_path / "u") / "python" / "install"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "sitecustomize.py").write_text("outside = True\n")
    (folder / "lib" / "python3.14" / "sitecustomize.py").symlink_to(tmp_path / "etc" / "sitecustomize.py")
    made(run, folder, "--python", VERSION)
    entries = {entry.name: entry for entry in emit.read_bundle(Path("o/linux-amd64")).entries}
    assert entries["lib/python3.14/sitecustomize.py"].kind == "file"
    assert entries["bin/python3"].kind == "link"
