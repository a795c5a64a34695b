"""Rebuild archives in the shape of python-build-standalone (PBS) from the peer's real binaries.

    python bench/mirror.py OUT [--platform linux/amd64 ...] [--version 3.14.6] [--level 22] [--jobs N]

writes ``OUT/<tag>/cpython-<version>+<tag>-<triple>-<flavour>-full.tar.zst`` and ``OUT/<tag>/SHA256SUMS``,
which ``pyembed-gen --mirror file://OUT`` reads. Interpreter, libraries and standard library are real; what
the peer had pruned is put back from the Python that runs this tool (test/, idlelib/, pip) or made up with
a realistic size and compressibility (object files, static libraries, .pyc, headers, Tcl scripts).

Like the real ones the archives have PYTHON.json first, no directory entries, and one zstd frame with a
window of 128 MiB and no content size, so that whoever reads them needs the memory that real ones need.
Output depends on the peer's module, the running Python's standard library and the level, nothing else.
"""

import argparse
import hashlib
import io
import json
import os
import random
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from peer import VERSIONS, bundle_files, data_dir, peer_module, python_release

__all__ = ["PLATFORMS", "Member", "Platform", "Release", "build_archive", "members"]

WINDOW_LOG = 27  # 128 MiB, as in real archives
_CHUNK = 1 << 20
_MB = 1_000_000
_PRUNED_PACKAGES = ("test", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "turtledemo")
_LEAST_TEST_FILES = 100  # fewer: a Python whose packager took test/ out

# CPython's pythonbuild/cpython.py lists these for every version; most exist only in old ones.
_TEST_PACKAGES = [
    "ctypes.test",
    "distutils.tests",
    "idlelib.idle_test",
    "json.tests",
    "lib2to3.tests",
    "sqlite3.test",
    "test",
    "tkinter.test",
    "unittest.test",
]


@dataclass(frozen=True, slots=True)
class Platform:
    """What differs between the archives of two platforms.

    ``multiarch`` names the config directory, ``stdlib`` is relative to install/ with ``{line}`` for
    3.14, ``library`` is libpython's path with ``{line}`` or ``{nodot}`` (314).
    """

    triple: str
    flavour: str
    tag: str
    multiarch: str
    stdlib: str
    headers: str
    exe: str
    library: str
    static: str
    crt: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """A Python version in a PBS release, such as 3.14.6 in 20260610."""

    version: str
    tag: str

    @property
    def line(self) -> str:
        """Major and minor version: ``3.14``."""
        return self.version.rpartition(".")[0]

    @property
    def nodot(self) -> str:
        """Major and minor version as in file names on Windows: ``314``."""
        return self.line.replace(".", "")

    def fill(self, template: str) -> str:
        """Put this release's numbers into a path of a :class:`Platform`."""
        return template.format(line=self.line, nodot=self.nodot)


@dataclass(frozen=True, slots=True)
class Member:
    """One file or symlink of an archive; ``name`` is relative to its ``python/`` directory."""

    name: str
    content: bytes
    mode: int = 0o644
    link: str = ""


@dataclass(frozen=True, slots=True)
class Library:
    """A third-party library that extension modules link, and its licence (SPDX; none: public domain)."""

    name: str
    spdx: tuple[str, ...]
    extensions: tuple[str, ...]
    since: tuple[int, int] = (3, 0)


def _unix(triple: str, tag: str, multiarch: str, library: str, crt: tuple[str, ...]) -> Platform:
    return Platform(
        triple=triple,
        flavour="pgo+lto",
        tag=tag,
        multiarch=multiarch,
        stdlib="lib/python{line}",
        headers="include/python{line}",
        exe="bin/python{line}",
        library=library,
        static=f"lib/python{{line}}/config-{{line}}-{multiarch}/libpython{{line}}.a",
        crt=crt,
    )


_LINUX = "lib/libpython{line}.so.1.0", ("glibc-dynamic", "glibc-max-symbol-version:2.17")
_DARWIN = "lib/libpython{line}.dylib", ("libSystem",)

PLATFORMS = {
    "linux/amd64": _unix("x86_64-unknown-linux-gnu", "linux_x86_64", "x86_64-linux-gnu", *_LINUX),
    "linux/arm64": _unix("aarch64-unknown-linux-gnu", "linux_aarch64", "aarch64-linux-gnu", *_LINUX),
    "darwin/amd64": _unix("x86_64-apple-darwin", "macosx_10_15_x86_64", "darwin", *_DARWIN),
    "darwin/arm64": _unix("aarch64-apple-darwin", "macosx_11_0_arm64", "darwin", *_DARWIN),
    "windows/amd64": Platform(
        triple="x86_64-pc-windows-msvc",
        flavour="pgo",
        tag="win_amd64",
        multiarch="",
        stdlib="Lib",
        headers="include",
        exe="python.exe",
        library="python{nodot}.dll",
        static="libs/python{nodot}.lib",
        crt=("vcruntime:140",),
    ),
}

_LIBRARIES = (
    Library("bzip2", ("bzip2-1.0.6",), ("_bz2",)),
    Library("expat", ("MIT",), ("pyexpat", "_elementtree")),
    Library("libedit", ("BSD-3-Clause",), ("readline",)),
    Library("libffi", ("MIT",), ("_ctypes", "_ctypes_test")),
    Library("liblzma", (), ("_lzma",)),
    Library("libuuid", ("BSD-3-Clause",), ("_uuid",)),
    Library("mpdecimal", ("BSD-2-Clause",), ("_decimal",)),
    Library("ncurses", ("X11",), ("_curses", "_curses_panel")),
    Library("openssl-3", ("Apache-2.0",), ("_hashlib", "_ssl")),
    Library("sqlite", (), ("_sqlite3",)),
    Library("tcl", ("TCL",), ("_tkinter",)),
    Library("zlib", ("Zlib",), ("binascii", "zlib")),
    Library("zstd", ("BSD-3-Clause",), ("_zstd",), since=(3, 14)),
)


def members(platform: str, release: Release, module: Path) -> Iterator[Member]:
    """Yield everything that an archive holds, in its order: PYTHON.json, build/, install/, licenses/."""
    row = PLATFORMS[platform]
    install = {member.name: member for member in _install(platform, row, release, module)}
    document = python_json(row, release, install)
    yield Member("PYTHON.json", json.dumps(document, indent=4, sort_keys=True).encode())
    yield from _build(row)
    yield from (install[name] for name in sorted(install))
    yield from _licenses(release, module)


def _install(platform: str, row: Platform, release: Release, module: Path) -> Iterator[Member]:
    stdlib = f"install/{release.fill(row.stdlib)}"
    yield from _pruned_stdlib(stdlib)
    yield from _pruned_rest(row, release)
    for file in bundle_files(data_dir(module, platform)):
        name = f"install/{file.name}"
        yield Member(name, file.content, file.mode, file.link)
        if name.startswith(f"{stdlib}/") and name.endswith(".py"):
            yield _bytecode(name, file.content, release)


def _bytecode(name: str, source: bytes, release: Release) -> Member:
    """Stand in for a compiled module: as large and as compressible as its source, but not equal to it.

    Its header (PEP 552) has a time that is no source's here, so that Python ignores it.
    """
    directory, _, base = name.rpartition("/")
    path = f"{directory}/__pycache__/{base.removesuffix('.py')}.cpython-{release.nodot}.pyc"
    return Member(path, b"\x2b\x0e\r\n" + bytes(4) + b"\xff" * 8 + source[::-1])


def _pruned_stdlib(stdlib: str) -> Iterator[Member]:
    source = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix}))
    for package in (*_PRUNED_PACKAGES, "site-packages/pip"):
        yield from _tree(source / package, f"{stdlib}/{package}")
    for metadata in sorted(source.glob("site-packages/pip-*.dist-info")):
        yield from _tree(metadata, f"{stdlib}/site-packages/{metadata.name}")
    if len(list((source / "test").glob("*.py"))) < _LEAST_TEST_FILES:
        yield from _made_up_tests(stdlib)


def _tree(source: Path, target: str) -> Iterator[Member]:
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc":
            name = f"{target}/{path.relative_to(source).as_posix()}"
            mode = 0o755 if os.access(path, os.X_OK) else 0o644
            yield Member(name, path.read_bytes(), mode)


def _made_up_tests(stdlib: str) -> Iterator[Member]:
    for number in range(1300):
        name = f"{stdlib}/test/test_made_up_{number:04}.py"
        yield Member(name, _text(name, 20_000))


def _pruned_rest(row: Platform, release: Release) -> Iterator[Member]:
    static = f"install/{release.fill(row.static)}"
    yield Member(static, _object(static, 20 * _MB if static.endswith(".a") else _MB))
    for number in range(120):
        name = f"install/{release.fill(row.headers)}/made_up_{number:03}.h"
        yield Member(name, _text(name, 9_000))
    yield from _tcl("install/lib/tcl9.0" if row.multiarch else "install/tcl/tcl8.6")
    yield from _manual(release) if row.multiarch else _windows_debug(release)


def _tcl(directory: str) -> Iterator[Member]:
    for number in range(200):
        name = f"{directory}/made_up_{number:03}.tcl"
        yield Member(name, _text(name, 8_000))


def _manual(release: Release) -> Iterator[Member]:
    page = f"python{release.line}.1"
    directory = "install/share/man/man1"
    yield Member(f"{directory}/{page}", _text(page, 20_000))
    yield Member(f"{directory}/python3.1", b"", 0o777, link=page)
    pc = f"python-{release.line}.pc"
    yield Member(f"install/lib/pkgconfig/{pc}", _text(pc, 300))


def _windows_debug(release: Release) -> Iterator[Member]:
    name = f"install/python{release.nodot}.pdb"
    yield Member(name, _object(name, 8 * _MB))


def _build(row: Platform) -> Iterator[Member]:
    suffix = "o" if row.multiarch else "obj"
    for number in range(48):
        name = f"build/Objects/made_up_{number:02}.{suffix}"
        yield Member(name, _object(row.triple + name, 150_000))
    for library in _LIBRARIES:
        name = f"build/lib/lib{library.name}.a"
        yield Member(name, _object(row.triple + name, 600_000))
    yield Member("build/run_tests.py", _text("run_tests", 1_000))


def _licenses(release: Release, module: Path) -> Iterator[Member]:
    stdlib = f"lib/python{release.line}"
    cpython = data_dir(module, "linux/amd64") / stdlib / "LICENSE.txt"
    yield Member("licenses/LICENSE.cpython.txt", cpython.read_bytes())
    for library in _libraries(release):
        terms = " AND ".join(library.spdx) or "in the public domain"
        text = f"{library.name}: {terms}.\n\nA stand-in for the licence text that a real archive has here.\n"
        yield Member(f"licenses/LICENSE.{library.name}.txt", text.encode())


def _libraries(release: Release) -> list[Library]:
    line = tuple(int(part) for part in release.line.split("."))
    return [library for library in _LIBRARIES if line >= library.since]


def python_json(row: Platform, release: Release, install: Iterable[str]) -> dict[str, Any]:
    """Return PYTHON.json in format version 8 (PBS, docs/distributions.md)."""
    stdlib = f"install/{release.fill(row.stdlib)}"
    major, minor, micro = release.version.split(".")
    return {
        "version": "8",
        "target_triple": row.triple,
        "optimizations": row.flavour,
        "build_options": row.flavour,
        "python_tag": f"cp{release.nodot}",
        "python_abi_tag": f"cp{release.nodot}" if row.multiarch else None,
        "python_platform_tag": row.tag,
        "python_implementation_cache_tag": f"cpython-{release.nodot}",
        "python_implementation_name": "cpython",
        "python_implementation_version": [major, minor, micro, "final", "0"],
        "python_version": release.version,
        "python_major_minor_version": release.line,
        "python_exe": f"install/{release.fill(row.exe)}",
        "python_paths": _python_paths(row, release),
        "python_stdlib_test_packages": _TEST_PACKAGES,
        "python_symbol_visibility": "global-default" if row.multiarch else "dllexport",
        "python_extension_module_loading": ["builtin", "shared-library"],
        "libpython_link_mode": "shared",
        "crt_features": list(row.crt),
        "run_tests": "build/run_tests.py",
        "licenses": ["Python-2.0", "CNRI-Python"],
        "license_path": "licenses/LICENSE.cpython.txt",
        "tcl_library_path": "install/lib" if row.multiarch else "install/tcl",
        "tcl_library_paths": ["tcl9.0"] if row.multiarch else ["tcl8.6"],
        "build_info": {
            "core": {
                "objs": [],
                "links": [],
                "shared_lib": f"install/{release.fill(row.library)}",
                "static_lib": f"install/{release.fill(row.static)}",
            },
            "extensions": _extensions(release, [name for name in install if _is_extension(name, stdlib)]),
        },
    }


def _python_paths(row: Platform, release: Release) -> dict[str, str]:
    stdlib = f"install/{release.fill(row.stdlib)}"
    return {
        "data": "install",
        "include": f"install/{release.fill(row.headers)}",
        "platinclude": f"install/{release.fill(row.headers)}",
        "platlib": f"{stdlib}/site-packages",
        "platstdlib": stdlib,
        "purelib": f"{stdlib}/site-packages",
        "scripts": "install/bin" if row.multiarch else "install/Scripts",
        "stdlib": stdlib,
    }


def _is_extension(name: str, stdlib: str) -> bool:
    return name.startswith(f"{stdlib}/lib-dynload/") or name.endswith(".pyd")


def _extensions(release: Release, shared: list[str]) -> dict[str, list[dict[str, Any]]]:
    paths = {path.rpartition("/")[2].partition(".")[0]: path for path in shared}
    linked = {name: library for library in _libraries(release) for name in library.extensions}
    return {name: [_extension(name, linked.get(name), paths)] for name in sorted({*paths, *linked})}


def _extension(name: str, library: Library | None, paths: dict[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "in_core": name not in paths,
        "init_fn": f"PyInit_{name}",
        "links": [],
        "objs": [],
        "required": False,
        "variant": "default",
    }
    if name in paths:
        entry["shared_lib"] = paths[name]
    if library is not None:
        entry["links"] = [{"name": library.name, "path_static": f"build/lib/lib{library.name}.a"}]
        entry["licenses"] = list(library.spdx)
        entry["license_paths"] = [f"licenses/LICENSE.{library.name}.txt"]
        entry["license_public_domain"] = not library.spdx
    return entry


def _text(seed: str, size: int) -> bytes:
    """Return ``size`` bytes of text that compress about as well as source code."""
    chance = random.Random(seed)  # noqa: S311 - the same bytes every time is the point
    words = [f"{chance.getrandbits(8 * (2 + index % 4)):x}" for index in range(300)]
    text = " ".join(chance.choices(words, k=size // 4))
    return text[:size].encode()


def _object(seed: str, size: int) -> bytes:
    """Return ``size`` bytes that compress about as well as machine code, which is to a third."""
    chance = random.Random(seed)  # noqa: S311 - the same bytes every time is the point
    words = [chance.randbytes(1 + index % 8) for index in range(2000)]
    return b"".join(chance.choices(words, k=size // 4))[:size]


def write_tar(target: IO[bytes], content: Iterable[Member]) -> None:
    """Write members below ``python/`` as a PAX archive without owners, times or directory entries."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in content:
            info = tarfile.TarInfo(f"python/{member.name}")
            info.mode = member.mode
            if member.link:
                info.type, info.linkname = tarfile.SYMTYPE, member.link
            else:
                info.size = len(member.content)
            archive.addfile(info, io.BytesIO(member.content))


def compress(source: IO[bytes], target: Path, level: int, label: str) -> None:
    """Compress a stream into one zstd frame with the window of real archives and no content size."""
    total = source.seek(0, os.SEEK_END)
    source.seek(0)
    said = time.monotonic()
    with target.open("wb") as file, closing(_zstd_writer(file, level)) as writer:
        while chunk := source.read(_CHUNK):
            writer.write(chunk)
            if time.monotonic() - said > 10:  # noqa: PLR2004 - seconds between two lines
                said = time.monotonic()
                print(f"{label}: {100 * source.tell() // total} %", file=sys.stderr, flush=True)


def _zstd_writer(file: IO[bytes], level: int) -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - exists from 3.14 on

        parameter = zstd.CompressionParameter
        return zstd.ZstdFile(file, "wb", options={parameter.compression_level: level, parameter.window_log: WINDOW_LOG})
    import zstandard  # noqa: PLC0415 - is installed up to 3.13

    parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=WINDOW_LOG)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    return compressor.stream_writer(file, closefd=False)


@dataclass(frozen=True, slots=True)
class Order:
    """An archive to build: which, where, how hard to compress, and whether to do so again."""

    platform: str
    module: Path
    out: Path
    level: int
    force: bool = False


def build_archive(order: Order) -> tuple[str, str]:
    """Build one archive unless it is there with the same inputs; return its name and SHA-256.

    Beside it stands ``<name>.inputs`` with the sum of the uncompressed archive and the level.
    """
    started = time.monotonic()
    release = Release(*python_release(order.module))
    row = PLATFORMS[order.platform]
    name = f"cpython-{release.version}+{release.tag}-{row.triple}-{row.flavour}-full.tar.zst"
    directory = order.out / release.tag
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory) as raw:
        write_tar(raw, members(order.platform, release, order.module))
        size = raw.seek(0, os.SEEK_END)
        inputs = f"{_sum(raw)} level {order.level} window {WINDOW_LOG}\n"
        fresh = not order.force and _is_current(directory / name, inputs)
        if not fresh:
            _publish(raw, directory / name, order.level, inputs)
    stored = (directory / name).stat().st_size
    note = "unchanged" if fresh else f"{time.monotonic() - started:.1f} s"
    print(f"{name}: raw {size / _MB:.1f} MB, compressed {stored / _MB:.1f} MB, {note}", flush=True)
    with (directory / name).open("rb") as file:
        return name, _sum(file)


def _publish(raw: IO[bytes], target: Path, level: int, inputs: str) -> None:
    note, part = _note(target), target.with_name(f".{target.name}.part")
    note.unlink(missing_ok=True)
    compress(raw, part, level, target.name)
    part.replace(target)
    note.write_text(inputs, encoding="utf-8")


def _note(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.inputs")


def _is_current(archive: Path, inputs: str) -> bool:
    note = _note(archive)
    return archive.is_file() and note.is_file() and note.read_text(encoding="utf-8") == inputs


def _sum(file: io.BufferedReader | io.BufferedRandom) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(directory: Path, sums: dict[str, str]) -> None:
    """Merge sums into ``SHA256SUMS`` in ``directory``: ``<hex>  <name>`` lines, sorted by name."""
    path = directory / "SHA256SUMS"
    known = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    merged = {name: digest for digest, name in (line.split("  ", 1) for line in known)} | sums
    lines = [f"{merged[name]}  {name}\n" for name in sorted(merged)]
    path.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Read the command line and build the archives it asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--platform", nargs="+", choices=sorted(PLATFORMS), default=list(PLATFORMS))
    parser.add_argument("--version", choices=sorted(VERSIONS), default="3.14.6")
    parser.add_argument("--level", type=int, default=22)
    parser.add_argument("--jobs", type=int, default=1, help="archives at a time; 1.3 GB each at level 22")
    parser.add_argument("--force", action="store_true", help="rebuild what is there already")
    options = parser.parse_args()
    build(
        options.out,
        platforms=options.platform,
        version=options.version,
        level=options.level,
        jobs=options.jobs,
        force=options.force,
    )


def build(
    out: Path,
    *,
    platforms: Iterable[str] = (),
    version: str = "3.14.6",
    level: int = 22,
    jobs: int = 1,
    force: bool = False,
) -> None:
    """Write the archives of one version (by default of all platforms) and SHA256SUMS below ``out``."""
    module = peer_module(VERSIONS[version])
    _, tag = python_release(module)
    orders = [Order(name, module, out, level, force) for name in platforms or PLATFORMS]
    with ProcessPoolExecutor(jobs) as pool:
        sums = dict(pool.map(build_archive, orders))
    write_sums(out / tag, sums)


if __name__ == "__main__":
    main()
