"""Small archives in the shape of python-build-standalone (PBS), built where the tests run.

``tiny_members`` makes up a tree of a few KB for any triple, with native files that a reader of ELF,
Mach-O or PE accepts and that need each other as the real ones do. ``host_members`` packs the Python
that runs the tests, which then really starts. Members are plain values: a test takes a list, changes
what it is about, and hands it to ``write_archive`` or ``write_mirror``.
"""

import gzip
import hashlib
import io
import json
import os
import random
import struct
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

WINDOW_LOG = 27  # what real archives ask of a reader: 128 MiB


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive, ``python/`` included in its name.

    ``link`` makes it a symlink, ``hard`` a hard link; ``type`` is any other tarfile type, such as
    ``tarfile.FIFOTYPE``, for archives that must be refused.
    """

    name: str
    data: bytes = b""
    mode: int = 0o644
    link: str | None = None
    hard: str | None = None
    type: bytes | None = None

    def header(self) -> tarfile.TarInfo:
        """Return the tar header: no owner, no time."""
        info = tarfile.TarInfo(self.name)
        info.mode = self.mode
        info.size = len(self.data)
        if self.link is not None:
            info.type, info.linkname, info.size = tarfile.SYMTYPE, self.link, 0
        if self.hard is not None:
            info.type, info.linkname, info.size = tarfile.LNKTYPE, self.hard, 0
        if self.type is not None:
            info.type = self.type
        return info


def write_archive(
    path: Path,
    members: Iterable[Member],
    *,
    codec: Literal["zstd", "gzip"] = "zstd",
    level: int = 1,
    window_log: int = WINDOW_LOG,
    order: Literal["normal", "shuffled"] = "normal",
    format: int = tarfile.PAX_FORMAT,  # noqa: A002 - tarfile's own word for it
) -> str:
    """Write an archive and return its SHA-256; the same members give the same bytes.

    ``shuffled`` is one fixed disorder, in which PYTHON.json is not first and links come before what
    they point to. zstd frames carry ``window_log`` and no content size, as real archives do.
    """
    entries = list(members)
    if order == "shuffled":
        random.Random(3).shuffle(entries)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=format) as archive:
        for member in entries:
            archive.addfile(member.header(), io.BytesIO(member.data))
    packed = (
        gzip.compress(raw.getvalue(), level, mtime=0)
        if codec == "gzip"
        else zstd_compress(raw.getvalue(), level, window_log)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed)
    return hashlib.sha256(packed).hexdigest()


def zstd_compress(data: bytes, level: int, window_log: int = WINDOW_LOG) -> bytes:
    """Compress to one zstd frame that carries this window and no content size."""
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - exists from 3.14 on

        keys = zstd.CompressionParameter
        stdlib = zstd.ZstdCompressor(options={keys.compression_level: level, keys.window_log: window_log})
        return stdlib.compress(data) + stdlib.flush()
    import zstandard  # noqa: PLC0415 - is installed up to 3.13

    parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=window_log)
    package = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return package.compress(data) + package.flush()


def zstd_decompress(data: bytes) -> bytes:
    """Undo :func:`zstd_compress`."""
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - exists from 3.14 on

        return zstd.decompress(data)
    import zstandard  # noqa: PLC0415 - is installed up to 3.13

    return zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj().decompress(data)


def write_mirror(root: Path, tag: str, assets: Mapping[str, Iterable[Member]]) -> Path:
    """Write archives as ``root/<tag>/<asset>`` with SHA256SUMS beside them; return ``root``.

    The codec follows the name: ``.tar.gz`` is gzip, all else zstd.
    """
    lines = []
    for asset in sorted(assets):
        codec: Literal["zstd", "gzip"] = "gzip" if asset.endswith(".tar.gz") else "zstd"
        digest = write_archive(root / tag / asset, assets[asset], codec=codec)
        lines.append(f"{digest}  {asset}\n")
    (root / tag / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
    return root


def asset_name(version: str, tag: str, triple: str) -> str:
    """Return the name of the full archive with the default flavour of a triple."""
    flavour = "pgo" if "windows" in triple else "pgo+lto"
    return f"cpython-{version}+{tag}-{triple}-{flavour}-full.tar.zst"


def install_only(members: Iterable[Member]) -> list[Member]:
    """Turn a full archive's members into an install_only archive's: ``python/install/x`` as ``python/x``."""
    prefix = "python/install/"
    return [
        Member("python/" + member.name.removeprefix(prefix), member.data, member.mode, member.link)
        for member in members
        if member.name.startswith(prefix)
    ]


# --- a made-up tree ---------------------------------------------------------------------------------


def tiny_members(version: str, triple: str) -> list[Member]:
    """Return a made-up archive of some 40 files and a few KB for a triple.

    It has one of everything that pruning, transforming and packing treat differently.
    """
    line = version.rpartition(".")[0]
    install = _windows(line, triple) if "windows" in triple else _unix(line, triple)
    stdlib = "install/Lib" if "windows" in triple else f"install/lib/python{line}"
    return [
        Member("python/PYTHON.json", json.dumps(python_json(version, triple), indent=4).encode()),
        _file("build/Objects/object.o", b"\x7fobject" * 64),
        *install,
        *_stdlib(stdlib, line),
        _file("licenses/LICENSE.cpython.txt", b"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2\n" * 20),
        _file("licenses/LICENSE.openssl-3.txt", b"Apache License, Version 2.0\n" * 20),
        _file("licenses/LICENSE.tcl.txt", b"Tcl/Tk licence\n" * 20),
    ]


def python_json(version: str, triple: str) -> dict[str, object]:
    """Return the keys of PYTHON.json (format version 8) that say what an archive is."""
    line = version.rpartition(".")[0]
    windows = "windows" in triple
    stdlib = "install/Lib" if windows else f"install/lib/python{line}"
    return {
        "version": "8",
        "target_triple": triple,
        "build_options": "pgo" if windows else "pgo+lto",
        "optimizations": "pgo" if windows else "pgo+lto",
        "python_tag": "cp" + line.replace(".", ""),
        "python_implementation_name": "cpython",
        "python_version": version,
        "python_major_minor_version": line,
        "python_exe": "install/python.exe" if windows else f"install/bin/python{line}",
        "python_paths": {"stdlib": stdlib, "purelib": f"{stdlib}/site-packages"},
        "python_stdlib_test_packages": ["idlelib.idle_test", "test", "unittest.test"],
        "libpython_link_mode": "shared",
        "run_tests": "build/run_tests.py",
        "licenses": ["Python-2.0", "CNRI-Python"],
        "license_path": "licenses/LICENSE.cpython.txt",
        "build_info": {
            "core": {"objs": ["build/Objects/object.o"], "links": []},
            "extensions": {
                "_ssl": [_extension("openssl-3", "Apache-2.0")],
                "_tkinter": [_extension("tcl", "TCL")],
            },
        },
    }


def _extension(library: str, spdx: str) -> dict[str, object]:
    return {
        "in_core": False,
        "licenses": [spdx],
        "license_paths": [f"licenses/LICENSE.{library}.txt"],
        "license_public_domain": False,
        "variant": "default",
    }


def _stdlib(root: str, line: str) -> list[Member]:
    cache = f"cpython-{line.replace('.', '')}.pyc"
    sources = {
        "os.py": "def getcwd():\n    return '/'\n" * 150,
        "encodings/__init__.py": "# codecs\n" * 80,
        "turtle.py": "import tkinter\n" * 40,
        "tkinter/__init__.py": "import _tkinter\n" * 40,
        "unittest/__init__.py": "# unittest\n",
        "test/__init__.py": "",
        "test/test_os.py": "import os\n" * 90,
        "idlelib/__init__.py": "",
        "idlelib/idle_test/test_idle.py": "import idlelib\n",
        "ensurepip/__init__.py": "",
        "ensurepip/_bundled/pip-26.0-py3-none-any.whl": "PK\x03\x04" * 90,
        "pydoc_data/topics.py": "topics = {}\n",
        "site-packages/pip/__init__.py": "__version__ = '26.0'\n",
        "site-packages/pip-26.0.dist-info/METADATA": "Name: pip\n",
        f"__pycache__/os.{cache}": "\x2b\x0e\r\n" * 90,
        "LICENSE.txt": "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2\n" * 20,
    }
    return [_file(f"{root}/{name}", text.encode()) for name, text in sources.items()]


def _unix(line: str, triple: str) -> list[Member]:
    darwin = "apple" in triple
    suffix = "dylib" if darwin else "so"
    module = "darwin" if darwin else f"{triple.partition('-')[0]}-linux-gnu"
    library = f"lib/libpython{line}.dylib" if darwin else f"lib/libpython{line}.so.1.0"
    dynload = f"install/lib/python{line}/lib-dynload"
    extension = f"cpython-{line.replace('.', '')}-{module}.so"
    config = f"install/lib/python{line}/config-{line}-{module}"
    system = "/usr/lib/libSystem.B.dylib" if darwin else "libc.so.6"
    tcl = f"@rpath/libtcl9.0.{suffix}" if darwin else f"libtcl9.0.{suffix}"
    members = [
        _native(f"install/bin/python{line}", triple, kind="program", needed=[system], debug=4000),
        _link("install/bin/python3", f"python{line}"),
        _link("install/bin/python", "python3"),
        _script("install/bin/pip3", f"#!/bin/sh\n'''exec' python{line}\n"),
        _script(f"install/bin/idle{line}", f"#!/usr/bin/env python{line}\n"),
        _script(f"install/bin/python{line}-config", "#!/bin/sh\n"),
        _native(f"install/{library}", triple, needed=[system], debug=4000),
        _native(f"install/lib/libtcl9.0.{suffix}", triple, needed=[system]),
        _file("install/lib/tcl9.0/init.tcl", b"package provide Tcl\n" * 30),
        _native(f"{dynload}/_testcapi.{extension}", triple, needed=[system]),
        _native(f"{dynload}/_ssl.{extension}", triple, needed=[system], debug=500),
        _native(f"{dynload}/_tkinter.{extension}", triple, needed=[tcl], runpath=_LIB_FROM_DYNLOAD[darwin]),
        _file(f"{config}/Makefile", b"prefix=/install\n" * 40),
        _file(f"{config}/libpython{line}.a", b"!<arch>\n" * 90),
        _file(f"install/include/python{line}/Python.h", b"#pragma once\n"),
        _file(f"install/share/man/man1/python{line}.1", b".TH PYTHON 1\n"),
    ]
    return members if darwin else [*members, _link(f"install/lib/libpython{line}.so", library[4:])]


_LIB_FROM_DYNLOAD = {False: "$ORIGIN/../..", True: "@loader_path/../.."}


def _windows(line: str, triple: str) -> list[Member]:
    nodot = line.replace(".", "")
    dll = f"python{nodot}.dll"
    system = ["KERNEL32.dll", "VCRUNTIME140.dll"]
    return [
        _native("install/python.exe", triple, kind="program", needed=[dll, *system]),
        _native("install/pythonw.exe", triple, kind="program", needed=[dll, *system]),
        _native(f"install/{dll}", triple, needed=system),
        _native("install/python3.dll", triple, needed=[dll]),
        _native("install/vcruntime140.dll", triple, needed=["KERNEL32.dll"]),
        _file(f"install/python{nodot}.pdb", b"Microsoft C/C++ MSF 7.00\r\n" * 90),
        _native("install/DLLs/_ssl.pyd", triple, needed=["libssl-3-x64.dll", dll, *system]),
        _native("install/DLLs/_tkinter.pyd", triple, needed=["tcl86t.dll", dll, *system]),
        _native("install/DLLs/_testcapi.pyd", triple, needed=[dll, *system]),
        _native("install/DLLs/libssl-3-x64.dll", triple, needed=["libcrypto-3-x64.dll"]),
        _native("install/DLLs/libcrypto-3-x64.dll", triple, needed=system),
        _native("install/DLLs/tcl86t.dll", triple, needed=system),
        _file(f"install/libs/python{nodot}.lib", b"!<arch>\n" * 90),
        _file("install/include/Python.h", b"#pragma once\n"),
        _file("install/tcl/tcl8.6/init.tcl", b"package provide Tcl\n" * 30),
        _file("install/Scripts/pip.exe", b"MZ a launcher\n" * 30),
    ]


def _file(name: str, data: bytes) -> Member:
    return Member(f"python/{name}", data)


def _script(name: str, text: str) -> Member:
    return Member(f"python/{name}", text.encode(), 0o755)


def _link(name: str, target: str) -> Member:
    return Member(f"python/{name}", mode=0o777, link=target)


def _native(
    name: str,
    triple: str,
    *,
    kind: Literal["program", "library"] = "library",
    needed: Sequence[str],
    runpath: str = "",
    debug: int = 0,
) -> Member:
    soname = "" if kind == "program" else name.rpartition("/")[2]
    content = native(triple, kind=kind, needed=needed, soname=soname, runpath=runpath, debug=debug)
    return Member(f"python/{name}", content, 0o755)


# --- native files -----------------------------------------------------------------------------------


def native(
    triple: str,
    *,
    kind: Literal["program", "library"] = "library",
    needed: Sequence[str] = (),
    soname: str = "",
    runpath: str = "",
    debug: int = 0,
) -> bytes:
    """Return the headers of an ELF, Mach-O or PE file for a triple: readable, but nothing to run.

    ``debug`` bytes of symbols and debug sections are added to ELF; PE has neither soname nor runpath.
    """
    arch = triple.partition("-")[0]
    if "windows" in triple:
        return pe(arch, kind=kind, needed=needed)
    if "apple" in triple:
        return macho(arch, kind=kind, needed=needed, soname=soname, runpath=runpath)
    return elf(arch, kind=kind, needed=needed, soname=soname, runpath=runpath, debug=debug)


_ELF_MACHINES = {  # e_machine, bits, byte order for struct
    "x86_64": (62, 64, "<"),
    "aarch64": (183, 64, "<"),
    "riscv64": (243, 64, "<"),
    "ppc64le": (21, 64, "<"),
    "s390x": (22, 64, ">"),
    "i686": (3, 32, "<"),
    "armv7": (40, 32, "<"),
}


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    type: int
    data: bytes
    flags: int = 0
    link: int = 0
    entry: int = 0


def elf(
    arch: str,
    *,
    kind: Literal["program", "library"] = "library",
    needed: Sequence[str] = (),
    soname: str = "",
    runpath: str = "",
    debug: int = 0,
) -> bytes:
    """Return an ELF file with a dynamic section, found both by segment and by section."""
    machine, bits, endian = _ELF_MACHINES[arch]
    wide = bits == 64
    header_size, segment_size, section_size = (64, 56, 64) if wide else (52, 32, 40)
    interpreter = b"/lib/ld.so\0" if kind == "program" else b""
    segments = 3 if interpreter else 2
    start = header_size + segments * segment_size
    strings, tags = _dynamic(needed, soname, runpath)
    word = "Q" if wide else "I"
    dynamic_at = start + -start % 8 + 16
    strings_at = dynamic_at + (len(tags) + 3) * struct.calcsize(f"{endian}{word}{word}")
    tags = [*tags, (5, strings_at), (10, len(strings)), (0, 0)]  # DT_STRTAB, DT_STRSZ, DT_NULL
    dynamic = b"".join(struct.pack(f"{endian}{word}{word}", *tag) for tag in tags)
    body = interpreter.ljust(dynamic_at - start, b"\0") + dynamic + strings
    loaded = start + len(body)
    table = [
        (1, 5, 0, loaded),  # PT_LOAD
        (2, 4, dynamic_at, len(dynamic)),  # PT_DYNAMIC
        (3, 4, start, len(interpreter)),  # PT_INTERP
    ][:segments]
    sections = [
        _Section(".dynamic", 6, dynamic, flags=2, link=2, entry=16 if wide else 8),
        _Section(".dynstr", 3, strings, flags=2),
        *_debug_sections(debug, wide=wide),
    ]
    extra, headers = _elf_sections(sections, dynamic_at, endian, wide=wide)
    file_header = struct.pack(
        f"{endian}4sBBB9xHHI{word * 3}IHHHHHH",
        *(b"\x7fELF", 2 if wide else 1, 1 if endian == "<" else 2, 1, 3, machine, 1, 0),
        *(header_size, loaded + len(extra), 0, header_size, segment_size, segments),
        *(section_size, len(sections) + 2, len(sections) + 1),
    )
    packed = b"".join(_elf_segment(entry, endian, wide=wide) for entry in table)
    return file_header + packed + body + extra + headers


def _dynamic(needed: Sequence[str], soname: str, runpath: str) -> tuple[bytes, list[tuple[int, int]]]:
    strings, tags = b"\0", []
    named = [(1, name) for name in needed] + [(14, soname), (29, runpath)]  # NEEDED, SONAME, RUNPATH
    for tag, text in named:
        if text:
            tags.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    return strings, tags


def _debug_sections(size: int, *, wide: bool) -> list[_Section]:
    if not size:
        return []
    entry = 24 if wide else 16
    return [
        _Section(".debug_info", 1, b"debug " * (size // 6)),
        _Section(".symtab", 2, bytes(entry), link=5, entry=entry),
        _Section(".strtab", 3, b"\0"),
    ]


def _elf_segment(entry: tuple[int, int, int, int], endian: str, *, wide: bool) -> bytes:
    kind, flags, offset, size = entry
    if wide:
        return struct.pack(f"{endian}IIQQQQQQ", kind, flags, offset, offset, offset, size, size, 8)
    return struct.pack(f"{endian}IIIIIIII", kind, offset, offset, offset, size, size, flags, 8)


def _elf_sections(sections: list[_Section], dynamic_at: int, endian: str, *, wide: bool) -> tuple[bytes, bytes]:
    """Return the data of the sections behind the loaded ones, and the section headers."""
    names = b"\0" + b"".join(section.name.encode() + b"\0" for section in sections) + b".shstrtab\0"
    pattern = f"{endian}IIQQQQIIQQ" if wide else f"{endian}IIIIIIIIII"
    headers, extra, offset, name = [bytes(struct.calcsize(pattern))], b"", dynamic_at, 1
    for section in [*sections, _Section(".shstrtab", 3, names)]:
        address, info = (offset, 0) if section.flags else (0, 1 if section.name == ".symtab" else 0)
        fields = (name, section.type, section.flags, address, offset, len(section.data))
        headers.append(struct.pack(pattern, *fields, section.link, info, 1, section.entry))
        extra += b"" if section.flags else section.data
        offset += len(section.data)
        name += len(section.name) + 1
    return extra, b"".join(headers)


_MACHO_MACHINES = {"x86_64": (0x01000007, 3), "aarch64": (0x0100000C, 0)}


def macho(
    arch: str,
    *,
    kind: Literal["program", "library"] = "library",
    needed: Sequence[str] = (),
    soname: str = "",
    runpath: str = "",
) -> bytes:
    """Return a 64-bit Mach-O file with LC_ID_DYLIB, LC_LOAD_DYLIB and LC_RPATH commands."""
    commands = [_macho_command(0xC, 24, path) for path in needed]
    if soname:
        commands.insert(0, _macho_command(0xD, 24, f"@rpath/{soname}"))
    if runpath:
        commands.append(_macho_command(0x8000001C, 12, runpath))
    body = b"".join(commands)
    cpu, subtype = _MACHO_MACHINES[arch]
    filetype = 2 if kind == "program" else 6  # MH_EXECUTE, MH_DYLIB
    return struct.pack("<8I", 0xFEEDFACF, cpu, subtype, filetype, len(commands), len(body), 0, 0) + body


def _macho_command(command: int, fixed: int, text: str) -> bytes:
    name = text.encode() + b"\0"
    size = (fixed + len(name) + 7) // 8 * 8
    return (struct.pack("<III", command, size, fixed).ljust(fixed, b"\0") + name).ljust(size, b"\0")


_PE_MACHINES = {"x86_64": (0x8664, True), "aarch64": (0xAA64, True), "i686": (0x14C, False)}
_PE_SECTION_AT = 0x1000  # address of the one section
_PE_DATA_AT = 0x200  # and where it starts in the file


def pe(arch: str, *, kind: Literal["program", "library"] = "library", needed: Sequence[str] = ()) -> bytes:
    """Return a PE file whose import table names libraries, each with one import by ordinal."""
    machine, wide = _PE_MACHINES[arch]
    data = _pe_imports(needed, wide=wide)
    optional = _pe_optional(len(data), 20 * (len(needed) + 1), wide=wide)
    flags = 0x0022 if kind == "program" else 0x2022  # executable, large addresses; DLL
    coff = struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, len(optional), flags)
    section = struct.pack(
        "<8sIIIIIIHHI", b".rdata", len(data), _PE_SECTION_AT, len(data), _PE_DATA_AT, 0, 0, 0, 0, 0x40000040
    )
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    return (dos + b"PE\0\0" + coff + optional + section).ljust(_PE_DATA_AT, b"\0") + data


def _pe_optional(size: int, imports: int, *, wide: bool) -> bytes:
    image = _PE_SECTION_AT + (size + 0xFFF) // 0x1000 * 0x1000
    directories = bytearray(16 * 8)
    struct.pack_into("<II", directories, 8, _PE_SECTION_AT, imports)
    if wide:
        fixed = struct.pack("<HBBIIIIIQ", 0x20B, 14, 0, 0, size, 0, 0, _PE_SECTION_AT, 0x140000000)
        sizes = struct.pack("<QQQQ", 0x100000, 0x1000, 0x100000, 0x1000)
    else:
        fixed = struct.pack("<HBBIIIIIII", 0x10B, 14, 0, 0, size, 0, 0, _PE_SECTION_AT, 0, 0x400000)
        sizes = struct.pack("<IIII", 0x100000, 0x1000, 0x100000, 0x1000)
    middle = struct.pack("<IIHHHHHHIIIIHH", 0x1000, 0x200, 6, 0, 0, 0, 6, 0, 0, image, _PE_DATA_AT, 0, 3, 0)
    return fixed + middle + sizes + struct.pack("<II", 0, 16) + bytes(directories)


def _pe_imports(needed: Sequence[str], *, wide: bool) -> bytes:
    thunk = struct.pack("<QQ", 1 << 63 | 1, 0) if wide else struct.pack("<II", 1 << 31 | 1, 0)
    thunks_at = _PE_SECTION_AT + 20 * (len(needed) + 1)
    name_at = thunks_at + len(thunk) * len(needed)
    table, names = b"", b""
    for index, name in enumerate(needed):
        thunk_at = thunks_at + index * len(thunk)
        table += struct.pack("<IIIII", thunk_at, 0, 0, name_at + len(names), thunk_at)
        names += name.encode() + b"\0"
    return table + bytes(20) + thunk * len(needed) + names


# --- the Python that runs the tests -------------------------------------------------------------------


def host_members() -> list[Member]:
    """Return an archive of the running CPython (Unix only) that starts wherever it is unpacked.

    The interpreter, libpython if that is linked, the standard library with one test and pip's
    package directory left as a stub. A build with --enable-shared, as pyenv makes it, has an absolute
    RUNPATH: in the interpreter it is overwritten with ``$ORIGIN/../lib``, as PBS has it, where that fits;
    otherwise it is left, and then the archive only works on this machine. System libraries such as
    OpenSSL's are not included either way.
    """
    version = sysconfig.get_python_version()
    stdlib = f"install/lib/python{version}"
    document = python_json(sys.version.partition(" ")[0], host_triple())
    return [
        Member("python/PYTHON.json", json.dumps(document, indent=4).encode()),
        *_host_programs(version),
        *_host_libpython(),
        *_host_stdlib(Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix})), stdlib),
        _file(f"{stdlib}/site-packages/pip/__init__.py", b"# stub\n"),
        _file(f"{stdlib}/config-{version}-host/libpython{version}.a", b"!<arch>\n"),
        _file("licenses/LICENSE.cpython.txt", b"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2\n" * 20),
        _file("licenses/LICENSE.openssl-3.txt", b"Apache License, Version 2.0\n" * 20),
        _file("licenses/LICENSE.tcl.txt", b"Tcl/Tk licence\n" * 20),
    ]


def host_triple() -> str:
    """Return the triple whose archives run on this machine."""
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(os.uname().machine, os.uname().machine)
    return f"{machine}-apple-darwin" if sys.platform == "darwin" else f"{machine}-unknown-linux-gnu"


def _host_programs(version: str) -> list[Member]:
    program = Path(sys.base_prefix, "bin", f"python{version}").read_bytes()
    return [
        Member(f"python/install/bin/python{version}", _relocated(program), 0o755),
        _link("install/bin/python3", f"python{version}"),
        _link("install/bin/python", "python3"),
        _script("install/bin/pip3", "#!/bin/sh\n"),
    ]


def _relocated(program: bytes) -> bytes:
    old, new = str(sysconfig.get_config_var("LIBDIR")).encode() + b"\0", b"$ORIGIN/../lib\0"
    if program.count(b"\0" + old) != 1 or len(new) > len(old):
        return program
    return program.replace(b"\0" + old, b"\0" + new.ljust(len(old), b"\0"))


def _host_libpython() -> list[Member]:
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return []
    library = str(sysconfig.get_config_var("INSTSONAME"))
    path = Path(str(sysconfig.get_config_var("LIBDIR")), library)
    return [Member(f"python/install/lib/{library}", path.read_bytes(), 0o755)]


def _host_stdlib(source: Path, target: str) -> Iterator[Member]:
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_file() and not _left_out(name):
            mode = 0o755 if os.access(path, os.X_OK) else 0o644
            yield Member(f"python/{target}/{name}", path.read_bytes(), mode)


def _left_out(name: str) -> bool:
    if name.startswith("test/"):
        return name not in ("test/__init__.py", "test/test_os.py")
    return name.startswith("site-packages/") or name.endswith((".pyc", ".a"))
