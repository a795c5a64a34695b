"""Unpacks wheels into one site directory, as ``pip install --target`` lays it out but for what ties it to a machine.

purelib and platlib lie at its root, ``.data/data`` too (so ``share/`` is beside the packages, whose names it must
not take), programs of ``.data/scripts`` below ``bin/``. Nothing is compiled, no launchers are written, and
entry_points.txt stays for importlib.metadata. ``.pth`` and ``.start`` files lie where ``site.addsitedir`` finds them.
"""

import mmap
import re
import struct
import unicodedata
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from os import PathLike, fspath
from typing import BinaryIO

import installer
from installer.destinations import WheelDestination
from installer.records import Hash, RecordEntry, parse_record_file
from installer.utils import Scheme, construct_record_file, parse_metadata_file
from packaging.utils import canonicalize_name

from pyembed_gen import binary, unpack, wheel
from pyembed_gen.binary import Binary, BinaryError
from pyembed_gen.blobs import Blob, Blobs
from pyembed_gen.errors import ArchiveError
from pyembed_gen.matrix import Platform, Rule
from pyembed_gen.payload import fold
from pyembed_gen.prune import Pruner
from pyembed_gen.tree import Dropped, File, Tree, sort_key
from pyembed_gen.unzip import Limits
from pyembed_gen.wheel import Wheel

__all__ = ["DROP", "Foreign", "foreign_native", "site_directory"]

DROP = (Rule(wheel.BYTECODE, ("__pycache__/", "*.pyc", "*.pyo")),)
"""What is dropped unless a rule of the same name says otherwise. ``__pycache__`` is never kept."""

_INSTALLER = b"pyembed-gen\n"
_BIN = "bin"
_HEADERS = "headers"
_PYTHON_SCRIPT = "python-script"
_SHEBANG = 512  # bytes that are looked at; Linux reads 256
_PYTHON = re.compile(rb"#![^\n]*(\b(python|pypy)|\n'''exec')", re.IGNORECASE)  # also as pip and uv write long paths
_RESERVED = ".pyembed-"  # what the runtime adds to a tree begins like this
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE)
_NOT_ON_WINDOWS = frozenset('<>:"|?*')


def site_directory(
    wheels: Iterable[Wheel],
    blobs: Blobs,
    *,
    drop: Sequence[Rule] = DROP,
    platform: Platform | None = None,
    limits: Limits | None = None,
) -> Tree:
    """Store what is kept of the wheels and return the site directory as a tree, whatever their order.

    ``drop`` has gitignore patterns, matched against paths in the site directory. Without a ``platform`` the names
    must be fit for all of them. Raises ArchiveError for wheels that are damaged, hostile or not what they claim, and
    for two that do not go together: the same distribution, or one path (for a file system that folds case or
    normalises) with two contents. Raises UsageError for patterns that are none, WriteError if the store is full.
    """
    chosen = sorted(wheels, key=lambda each: (canonicalize_name(each.name), each.version, each.filename))
    for one, other in pairwise(chosen):
        if canonicalize_name(one.name) == canonicalize_name(other.name):
            raise ArchiveError(f"{one.filename} and {other.filename} are wheels of one distribution", hint="choose one")
    site = _Site(
        blobs,
        Pruner.compile(drop, ["**"], stdlib=""),
        windows=platform is None or platform.format == "pe",
        limits=limits,
    )
    for each in chosen:
        site.take(each)
    return site.tree()


@dataclass(frozen=True, slots=True)
class _Place:
    """A path of the site directory as the first wheel that has it spells it; no file for a folder."""

    path: str
    owner: Wheel
    file: File | None


@dataclass(slots=True)
class _Site:
    blobs: Blobs
    pruner: Pruner
    windows: bool
    limits: Limits | None
    places: dict[str, _Place] = field(default_factory=dict)  # by folded path
    dropped: list[Dropped] = field(default_factory=list)
    size: int = 0

    def take(self, each: Wheel) -> None:
        with wheel.opened(each, self.limits) as contents:
            destination = _Destination(self)
            self.dropped += [Dropped(entry.name, entry.size, rule) for entry, rule in contents.set_aside()]
            installer.install(contents, destination, _metadata(each))
        for _, file in sorted(destination.files.items()):
            self._place(file, each)

    def tree(self) -> Tree:
        files = [place.file for place in self.places.values() if place.file]
        return Tree(
            entries=tuple(sorted(files, key=lambda file: sort_key(file.name))),
            dropped=tuple(sorted(self.dropped, key=lambda item: (sort_key(item.name), item.rule, item.size))),
        ).checked()

    def _place(self, file: File, owner: Wheel) -> None:
        elements = file.name.split("/")
        for end in range(1, len(elements)):
            self._claim(_Place("/".join(elements[:end]), owner, None))
        known = self._claim(_Place(file.name, owner, file))
        if known.file and file.executable and not known.file.executable:
            self.places[_folded(file.name)] = replace(known, file=file)
        self.size += file.size
        if self.size > unpack.MAX_SIZE:
            raise ArchiveError(f"the files of the wheels have more than {unpack.MAX_SIZE} bytes together")

    def _claim(self, new: _Place) -> _Place:
        """Take a path, or raise ArchiveError if it is taken by something else; return who has it."""
        known = self.places.setdefault(_folded(new.path), new)
        if known.path != new.path:
            problem = f"{known.path!r} and {new.path!r} are one path on macOS or Windows"
        elif (known.file is None) != (new.file is None):
            problem = f"{new.path!r} is a file and a folder"
        elif known.file and new.file and known.file.sha256 != new.file.sha256:
            problem = f"{new.path!r} has two contents"
        else:
            return known
        owners = " and ".join(dict.fromkeys((known.owner.label, new.owner.label)))
        raise ArchiveError(
            f"putting {owners} into one folder: {problem}", hint="drop one by a pattern, or leave it out"
        )


@dataclass(slots=True)
class _Destination(WheelDestination):
    """Where ``installer`` puts what one wheel has: the blob store, with one root for all schemes."""

    site: _Site
    files: dict[str, File] = field(default_factory=dict)

    def write_file(
        self, scheme: Scheme, path: str | PathLike[str], stream: BinaryIO, is_executable: bool
    ) -> RecordEntry:
        """Store a file, or drop it, by the rules or because it cannot work."""
        inner = fspath(path)
        name = f"{_BIN}/{inner}" if scheme == "scripts" else inner
        self._check(name)
        rule = _HEADERS if scheme == _HEADERS else self.site.pruner.rule(name)
        if rule:
            return self._drop(name, _drained(stream), rule)
        blob = self.site.blobs.put(stream)
        if scheme == "scripts" and _PYTHON.match(self._head(blob)):
            return self._drop(name, blob.size, _PYTHON_SCRIPT)
        wanted = is_executable or scheme == "scripts"
        self.files[name] = _file(name, blob, executable=wanted and binary.looks_executable(blob.head))
        return _record(self.files[name])

    def finalize_installation(
        self, scheme: Scheme, record_file_path: str, records: Iterable[tuple[Scheme, RecordEntry]]
    ) -> None:
        """Write the RECORD of what is kept."""
        rule = self.site.pruner.rule(record_file_path)
        kept = [(scheme, entry) for _, entry in records if entry.path in self.files or entry.path == record_file_path]
        with construct_record_file(kept) as content:
            if rule:
                self._drop(record_file_path, _drained(content), rule)
            else:
                self.files[record_file_path] = _file(record_file_path, self.site.blobs.put(content), executable=False)

    def _check(self, name: str) -> None:
        top = name.partition("/")[0]
        if name in self.files:
            raise ArchiveError(f"it has two files for {name!r}")
        if top.startswith(_RESERVED):
            raise ArchiveError(f"{name!r} has a name that is the runtime's own")
        if top.lower().endswith(".egg-info"):
            raise ArchiveError(f"{name!r} is metadata of another distribution")
        if self.site.windows and (problem := _windows_problem(name)):
            raise ArchiveError(f"{name!r} {problem}", hint="leave it out on Windows")

    def _drop(self, name: str, size: int, rule: str) -> RecordEntry:
        self.site.dropped.append(Dropped(name, size, rule))
        return RecordEntry(name, None, size)

    def _head(self, blob: Blob) -> bytes:
        with self.site.blobs.path(blob.sha256).open("rb") as file:
            return file.read(_SHEBANG)


def _metadata(each: Wheel) -> dict[str, bytes]:
    """Return what an installer adds to .dist-info (PyPA, "Recording installed projects"); REQUESTED is empty."""
    added = {wheel.INSTALLER: _INSTALLER}
    if each.requested:
        added[wheel.REQUESTED] = b""
    if each.direct_url:
        added[wheel.DIRECT_URL] = each.direct_url
    return added


def _file(name: str, blob: Blob, *, executable: bool) -> File:
    return File(name, blob.size, blob.sha256, executable, blob.native)


def _record(file: File) -> RecordEntry:
    value = urlsafe_b64encode(bytes.fromhex(file.sha256)).rstrip(b"=").decode()
    return RecordEntry(file.name, Hash("sha256", value), file.size)


def _drained(stream: BinaryIO) -> int:
    """Read a content to its end, where it is checked, and return its size."""
    size = 0
    while block := stream.read(1 << 20):
        size += len(block)
    return size


def _folded(path: str) -> str:
    """Return what paths have in common that are one on macOS or Windows."""
    return fold(unicodedata.normalize("NFD", path))


def _windows_problem(name: str) -> str:
    """Return why Windows cannot hold a name (Microsoft, "Naming Files, Paths, and Namespaces"), or an empty text."""
    for element in name.split("/"):
        if _DEVICES.fullmatch(element):
            return "is the name of a device on Windows"
        if element.endswith((".", " ")):
            return "ends in a dot or a blank, which Windows removes"
        if not _NOT_ON_WINDOWS.isdisjoint(element):
            return f"has one of {' '.join(sorted(_NOT_ON_WINDOWS))}, which Windows does not take"
    return ""


# What the loader of each format loads into a process, by name; extension modules are loaded by import alone.
_LIBRARY = {
    "elf": re.compile(r".*\.so(\.\d+)*"),
    "macho": re.compile(r".*\.(so|dylib)"),
    "pe": re.compile(r".*\.(pyd|dll)", re.IGNORECASE),
}
_EXTENSION = re.compile(r".*\.((cpython|pypy|graalpy)[^./]*\.so|abi3t?(\.so|\.pyd)|cp\d[^./]*\.pyd|pyd)", re.IGNORECASE)
_PE32, _CLR = 0x10B, 14


@dataclass(frozen=True, slots=True)
class Foreign:
    """A native file of another format or machine than the platform's.

    ``found`` says which (``elf for aarch64``). ``fatal``: the package cannot work with it. Others are data, such as
    launchers for Windows, and helpers for several systems.
    """

    name: str
    found: str
    fatal: bool


def foreign_native(tree: Tree, blobs: Blobs, platform: Platform) -> list[Foreign]:
    """Return the ELF, Mach-O and PE files of a site directory that do not fit the platform, in their order.

    A universal Mach-O fits if one of its machines does; .NET assemblies, which have no machine code, always. A damaged
    file is foreign. Fatal is what lies in ``bin/``, and of wheels for some platforms: extension modules that this
    platform would import, and libraries of a package (or top folder) none of whose libraries fits.
    """
    found = {file.name: _native(file, blobs, platform) for file in tree.files if file.native}
    own = _LIBRARY[platform.format]
    served = {_top(name) for name, what in found.items() if not what and own.fullmatch(name)}
    pure = _pure(tree, blobs)

    def is_fatal(name: str) -> bool:
        if _top(name) == _BIN:
            return True
        imported = bool(own.fullmatch(name) and _EXTENSION.fullmatch(name))
        library = any(suffix.fullmatch(name) for suffix in _LIBRARY.values())
        return name not in pure and (imported or (library and _top(name) not in served))

    return [Foreign(name, what, is_fatal(name)) for name, what in found.items() if what]


def _top(name: str) -> str:
    return name.partition("/")[0]


def _pure(tree: Tree, blobs: Blobs) -> frozenset[str]:
    """Return the files of wheels that are for every platform, and so is what is in them."""
    found: set[str] = set()
    for folder in {_top(file.name) for file in tree.files if _top(file.name).endswith(".dist-info")}:
        about, record = (tree.by_name.get(f"{folder}/{name}") for name in ("WHEEL", "RECORD"))
        if isinstance(about, File) and isinstance(record, File):
            fields = parse_metadata_file(blobs.path(about.sha256).read_text("utf-8"))
            universal = all(tag.endswith("-any") for tag in fields.get_all("Tag", []))
            if universal and fields["Root-Is-Purelib"].lower() == "true":
                with blobs.path(record.sha256).open(encoding="utf-8", newline="") as rows:
                    found.update(name for name, _, _ in parse_record_file(rows))
    return frozenset(found)


def _native(file: File, blobs: Blobs, platform: Platform) -> str:
    """Return what a native file is, or an empty text if it fits."""
    with (
        blobs.path(file.sha256).open("rb") as raw,
        mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        try:
            facts = binary.read(content)
        except BinaryError as error:
            return f"damaged: {error}"
        if facts is None:
            return ""  # text that begins like one
        if (facts.format == platform.format and platform.machine in facts.machines) or _is_managed(content, facts):
            return ""
    return f"{facts.format} for {' and '.join(facts.machines)}"


def _is_managed(content: mmap.mmap, facts: Binary) -> bool:
    """Whether it is a .NET assembly: it has a CLR Runtime Header (Microsoft, "PE Format": data directory 15)."""
    if facts.format != "pe":
        return False
    optional = struct.unpack_from("<I", content, 0x3C)[0] + 24
    directories = optional + (96 if struct.unpack_from("<H", content, optional)[0] == _PE32 else 112)
    at = directories + 8 * _CLR
    return len(content) >= at + 8 and any(struct.unpack_from("<II", content, at))
