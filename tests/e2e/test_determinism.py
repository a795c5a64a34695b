"""The same inputs give the same bytes, whatever the machine, the shell and the order of things."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import bundle
import pbs
from installing import install
from setting import TAG, VERSION

PLATFORMS = {"linux/amd64": "x86_64-unknown-linux-gnu", "windows/amd64": "x86_64-pc-windows-msvc"}


def members(triple: str) -> list[pbs.Member]:
    """Return a tiny tree with a file of several chunks, and one hard link, for what order may do to them."""
    stdlib = "python/install/Lib" if "windows" in triple else "python/install/lib/python3.14"
    large = b"".join(b"%d %d\n" % (number, number * number) for number in range(500_000))
    return [
        *pbs.tiny_members(VERSION, triple),
        pbs.Member(f"{stdlib}/large.py", large),
        pbs.Member(f"{stdlib}/again.py", hard=f"{stdlib}/large.py"),
        pbs.Member(f"{stdlib}/aux.py", b"x = 1\n"),
    ]


def files(folder: Path) -> Mapping[str, bytes]:
    """Return the contents of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return two mirrors with the same members, in order and in disorder."""
    assets = {pbs.asset_name(VERSION, TAG, triple): members(triple) for triple in PLATFORMS.values()}
    plain = pbs.write_mirror(tmp_path_factory.mktemp("plain"), TAG, assets)
    mixed = tmp_path_factory.mktemp("mixed")
    lines = [f"{pbs.write_archive(mixed / TAG / name, assets[name], order='shuffled')}  {name}\n" for name in assets]
    (mixed / TAG / "SHA256SUMS").write_text("".join(sorted(lines, key=lambda line: line[66:])))
    return plain.as_uri(), mixed.as_uri()


def generate(
    where: Path,
    mirror: str,
    *options: str,
    python: str = sys.executable,
    umask: int = 0o022,
    environ: Mapping[str, str] | None = None,
) -> Mapping[str, bytes]:
    """Generate below ``where`` with a cache of its own and return every file that was written."""
    where.mkdir(parents=True)
    command = [python, "-m", "pyembed_gen", "--mirror", mirror, "--pbs", TAG, "--python", VERSION, "--out", "o", "-q"]
    command += ["--only-platforms", ",".join(PLATFORMS), "--cache-dir", str(where / "cache"), *options]
    done = subprocess.run(
        command,
        cwd=where,
        umask=umask,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return files(where / "o")


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_circumstances_change_nothing(tmp_path: Path, mirrors: tuple[str, str], codec: str) -> None:
    """Threads, umask, time zone, locale, folder and hash seed leave every byte as it is."""
    options = ("--codec", codec, "--level", "3")
    plain = generate(tmp_path / "a", mirrors[0], *options, "--jobs", "1")
    other = generate(
        tmp_path / "deep er" / "ü",
        mirrors[0],
        *options,
        "--jobs",
        "8",
        umask=0o077,
        environ={
            "TZ": "Asia/Kathmandu",
            "LC_ALL": "C",
            "PYTHONHASHSEED": "77",
            "PYTHONUTF8": "0",
            "HOME": str(tmp_path),
        },
    )
    assert len(plain) > 20
    assert other == plain


def test_order_of_members_changes_only_the_archive_sum(tmp_path: Path, mirrors: tuple[str, str]) -> None:
    """An archive in another order gives the same payloads and content hash; its own sum alone is another."""
    plain, mixed = (generate(tmp_path / name, url) for name, url in zip("ab", mirrors, strict=True))
    assert plain.keys() == mixed.keys()
    different = {name for name in plain if plain[name] != mixed[name]}
    assert different == {"linux-amd64/files.json", "windows-amd64/files.json"}
    for name in different:
        assert plain[name].split(b'"recipe"')[0] == mixed[name].split(b'"recipe"')[0]
        assert plain[name].split(b'"files"')[1] == mixed[name].split(b'"files"')[1]


def other_interpreters() -> Iterator[str]:
    """Yield interpreters of another supported line than this one, newest first."""
    folders = [*os.environ["PATH"].split(os.pathsep), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    for minor in (15, 14, 13, 12, 11):
        for folder in folders if minor != sys.version_info.minor else ():
            found = shutil.which(f"python3.{minor}", path=folder)
            if (
                found
                and subprocess.run([found, "-c", "import ctypes"], capture_output=True, check=False).returncode == 0
            ):
                yield found


def check_same_bytes(tmp_path: Path, mirror: str, other: str, wheel: Path) -> None:
    """Check that another interpreter makes the same bundles as the one that runs the tests."""
    site = tmp_path / "site"
    install(wheel, Path(other), site)
    environ = {"PYTHONPATH": str(site)}
    for codec, level in (("gzip", "10"), ("zstd", "19")):
        options = ("--codec", codec, "--level", level)
        ours = generate(tmp_path / codec / "a", mirror, *options)
        theirs = generate(tmp_path / codec / "b", mirror, *options, python=other, environ=environ)
        assert theirs == ours


def test_another_python_gives_the_same_bytes(tmp_path: Path, mirrors: tuple[str, str], wheel: Path) -> None:
    """The newest other Python that is installed makes the same bundle as the one that runs the tests."""
    other = next(other_interpreters(), None)
    if other is None:
        pytest.skip("only one Python from 3.11 on is installed")
    check_same_bytes(tmp_path, mirrors[0], other, wheel)


@pytest.mark.peer
@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="runs a linux/amd64 interpreter")
def test_python_3_14_gives_the_same_bytes(
    tmp_path: Path, mirrors: tuple[str, str], peer_out: Path, wheel: Path
) -> None:
    """The real 3.14.6 of the peer's module, with zstd from its standard library, makes the same bundle."""
    tree = bundle.extract(peer_out / "linux-amd64", tmp_path / "t")
    check_same_bytes(tmp_path, mirrors[0], str(bundle.interpreter(tree)), wheel)
