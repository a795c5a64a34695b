"""Reads one wheel, trusting nothing in it, in the form in which ``installer`` takes it.

Formats: PyPA, "Binary distribution format", and "Recording installed projects" for RECORD.

What ``installer`` leaves to others is checked here: the archive (:mod:`unzip`), who the wheel is, and that RECORD
says of every file what the file is. No content is held in memory whole, but for METADATA, WHEEL and RECORD.
"""

import csv
import hashlib
import io
import math
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

from installer.records import InvalidRecordEntry, RecordEntry, parse_record_file
from installer.sources import WheelContentElement, WheelSource
from installer.utils import SCHEME_NAMES, parse_metadata_file
from packaging.tags import Tag, parse_tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from pyembed_gen import unzip
from pyembed_gen.errors import ArchiveError
from pyembed_gen.unzip import Archive, Content, Entry, Limits

__all__ = ["BYTECODE", "DIRECT_URL", "INSTALLER", "REQUESTED", "Contents", "Wheel", "opened"]

BYTECODE = "bytecode"
"""The rule that drops compiled modules: they depend on the Python that compiled them."""
DIRECT_URL, INSTALLER, REQUESTED = "direct_url.json", "INSTALLER", "REQUESTED"
"""Files of a .dist-info folder that whoever installs a wheel writes."""

_INSTALLED = "installer-metadata"
_SIGNATURE = "record-signature"
_SET_ASIDE = {
    **dict.fromkeys((DIRECT_URL, INSTALLER, REQUESTED), _INSTALLED),
    **dict.fromkeys(("RECORD.jws", "RECORD.p7s"), _SIGNATURE),
}
_HASHES = ("sha256", "sha384", "sha512")
_MAX_TEXT = 64 << 20  # bytes of RECORD; real ones have under 10 MB
_MAX_TAGS = 256  # of one line; real ones have one, and file names under twenty
_MAX_FILENAME = 255  # as NAME_MAX on Linux; its sets of tags are multiplied out
_ENTRY_POINTS = "entry_points.txt"
_DIST_INFO, _DATA = ".dist-info", ".data"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel to unpack: where it lies, and what it was chosen as.

    ``filename`` is its name in the index; ``path`` may end in another. ``requested`` says that a requirement names
    it, rather than another distribution; ``direct_url`` is the content of direct_url.json, if it came by URL.
    """

    path: Path
    filename: str
    name: str
    version: str
    requested: bool = False
    direct_url: bytes = b""

    @property
    def label(self) -> str:
        """Name and version, for messages."""
        return f"{self.name} {self.version}"


@contextmanager
def opened(wheel: Wheel, limits: Limits | None = None) -> Iterator["Contents"]:
    """Open a wheel and check all of it but the contents of its files, which are checked as they are read.

    Errors, also those of what is done with it, name the wheel. Raises ArchiveError.
    """
    try:
        with unzip.opened(wheel.path, limits) as archive:
            contents = Contents(archive, wheel)
            contents.validate_record()
            yield contents
    except ArchiveError as error:
        hint = error.hint or "take another version of it, or a wheel that you built yourself"
        raise ArchiveError(f"unpacking {wheel.filename}: {error.args[0]}", hint=hint) from error


@dataclass(frozen=True, slots=True)
class _Identity:
    """What the wheel's file name says."""

    name: str
    version: Version
    tags: frozenset[Tag]

    def owns(self, folder: str, suffix: str) -> bool:
        """Whether ``<name>-<version><suffix>`` is a folder of this wheel, whatever the spelling of both."""
        name, _, version = folder.removesuffix(suffix).partition("-")
        try:
            return (canonicalize_name(name), Version(version)) == (self.name, self.version)
        except InvalidVersion:
            return False


class Contents(WheelSource):
    """A wheel that is open. Of what ``installer`` asks for, entry points are withheld: no launchers are made."""

    def __init__(self, archive: Archive, wheel: Wheel) -> None:
        """Find out who the wheel is; ArchiveError if its parts do not agree."""
        self._archive = archive
        self._entries = {entry.name: entry for entry in archive.entries}
        self._identity = _identity(wheel)
        super().__init__(wheel.name, wheel.version)
        self._dist_info = self._folder(_DIST_INFO)
        self._data = self._folder(_DATA)
        if not self._dist_info:
            raise ArchiveError(f"it has no {wheel.name}-{wheel.version}{_DIST_INFO}")
        self._check_schemes()
        self._check_metadata()
        self._check_wheel()

    @property
    def dist_info_dir(self) -> str:
        """Name of the .dist-info folder, as the wheel spells it."""
        return self._dist_info

    @property
    def data_dir(self) -> str:
        """Name of the .data folder; one that does not exist, if the wheel has none."""
        return self._data or self._dist_info.removesuffix(_DIST_INFO) + _DATA

    @property
    def dist_info_filenames(self) -> list[str]:
        """Names of the files in the .dist-info folder, but for entry_points.txt."""
        prefix = f"{self._dist_info}/"
        names = [name.removeprefix(prefix) for name in self._entries if name.startswith(prefix)]
        return [name for name in names if name != _ENTRY_POINTS]

    def read_dist_info(self, filename: str) -> str:
        """Return a text of the .dist-info folder; ArchiveError if it is missing, not UTF-8, or absurdly long."""
        name = f"{self._dist_info}/{filename}"
        entry = self._entries.get(name)
        if entry is None:
            raise ArchiveError(f"it has no {name!r}")
        if entry.size > _MAX_TEXT:
            raise ArchiveError(f"{name!r} has more than {_MAX_TEXT} bytes")
        try:
            return b"".join(_blocks(self._archive.content(entry))).decode()
        except UnicodeDecodeError:
            raise ArchiveError(f"{name!r} is not UTF-8") from None

    def validate_record(self) -> None:
        """Check that RECORD lists every file with a hash, and no other; ArchiveError if not.

        Contents are compared with it when they are read.
        """
        for name in self._entries.keys() - self._record.keys():
            if self._aside(name) != _SIGNATURE:
                raise ArchiveError(f"{name!r} is not in its RECORD")
        for name, entry in self._record.items():
            if name not in self._entries:
                raise ArchiveError(f"its RECORD lists {name!r}, which it does not have")
            if name != self._record_name and entry.hash_ is None:
                raise ArchiveError(f"its RECORD has no hash of {name!r}")

    def get_contents(self) -> Iterator[WheelContentElement]:
        """Yield every file but those of :meth:`set_aside`, each to be read before the next one."""
        for name, entry in self._entries.items():
            if not self._aside(name):
                yield (name, "", ""), cast("BinaryIO", self._content(entry)), entry.executable

    def set_aside(self) -> Iterator[tuple[Entry, str]]:
        """Check and yield the files that no installation takes over, each with the rule that says so.

        Those are bytecode, signatures of a RECORD that will be another one, and what the installing program writes.
        """
        for name, entry in self._entries.items():
            if rule := self._aside(name):
                for _ in _blocks(self._content(entry)):
                    pass
                yield entry, rule

    def _aside(self, name: str) -> str:
        folder, _, base = name.rpartition("/")
        if "__pycache__" in folder.split("/"):
            return BYTECODE
        return _SET_ASIDE.get(base, "") if folder == self._dist_info else ""

    def _content(self, entry: Entry) -> "Content | _Recorded":
        content = self._archive.content(entry)
        record = self._record.get(entry.name)
        return _Recorded(content, record) if record else content

    def _folder(self, suffix: str) -> str:
        """Return the wheel's one top folder of that kind, empty if there is none."""
        tops = sorted({name.partition("/")[0] for name in self._entries})
        found = [top for top in tops if top.lower().endswith(suffix)]
        for top in found:
            if not self._identity.owns(top, suffix):
                raise ArchiveError(f"{top!r} is of another distribution, or of another version")
        if len(found) > 1:
            raise ArchiveError(f"it has {found[0]!r} and {found[1]!r}")
        return found[0] if found else ""

    def _check_schemes(self) -> None:
        for name in self._entries:
            top, _, rest = name.partition("/")
            scheme, _, path = rest.partition("/")
            if top != self._data:
                continue
            if scheme not in SCHEME_NAMES or not path:
                raise ArchiveError(f"{name!r} is in no scheme; there are {', '.join(sorted(SCHEME_NAMES))}")
            if path.partition("/")[0].lower().endswith(_DIST_INFO):
                raise ArchiveError(f"{name!r} is metadata, which has no place in a scheme")

    def _check_metadata(self) -> None:
        fields = parse_metadata_file(self.read_dist_info("METADATA"))
        names, versions = fields.get_all("Name", []), fields.get_all("Version", [])
        try:
            same = [canonicalize_name(name) for name in names] == [self._identity.name] and [
                Version(version) for version in versions
            ] == [self._identity.version]
        except InvalidVersion:
            same = False
        if not same:
            found = " ".join([*names, *versions])
            raise ArchiveError(f"its METADATA is that of {found!r}")

    def _check_wheel(self) -> None:
        fields = parse_metadata_file(self.read_dist_info("WHEEL"))
        versions = fields.get_all("Wheel-Version", [])
        if len(versions) != 1 or versions[0].partition(".")[0] != "1":
            raise ArchiveError(f"its WHEEL is of version {', '.join(versions) or 'nothing'}, not 1.x")
        roots = fields.get_all("Root-Is-Purelib", [])
        if [root.lower() for root in roots] not in (["true"], ["false"]):
            raise ArchiveError(f"Root-Is-Purelib in its WHEEL is {', '.join(roots) or 'missing'}, not true or false")
        tags = frozenset(tag for text in fields.get_all("Tag", []) for tag in _tags(text))
        if missing := sorted(str(tag) for tag in self._identity.tags if not _covered(tag, tags)):
            raise ArchiveError(f"its file name has the tag {missing[0]}, its WHEEL does not")

    @property
    def _record_name(self) -> str:
        return f"{self._dist_info}/RECORD"

    @cached_property
    def _record(self) -> Mapping[str, RecordEntry]:
        found: dict[str, RecordEntry] = {}
        try:
            for row in parse_record_file(io.StringIO(self.read_dist_info("RECORD"), newline="")):
                entry = RecordEntry.from_elements(*row)
                if entry.path in found:
                    raise ArchiveError(f"its RECORD lists {entry.path!r} twice")
                if entry.hash_ and entry.hash_.name not in _HASHES:
                    raise ArchiveError(f"its RECORD has a hash of {entry.path!r} that is not {', '.join(_HASHES)}")
                found[entry.path] = entry
        except (InvalidRecordEntry, csv.Error) as error:
            raise ArchiveError(f"its RECORD cannot be read: {error}") from error
        return found


class _Recorded:
    """A content that is compared at its end with what RECORD says of it."""

    def __init__(self, content: Content, record: RecordEntry) -> None:
        self._content = content
        self._record = record
        self._digest = hashlib.new(record.hash_.name) if record.hash_ else None
        self._size = 0

    def read(self, size: int, /) -> bytes:
        block = self._content.read(size)
        self._size += len(block)
        if self._digest:
            self._digest.update(block)
        if not block:
            self._check()
        return block

    def _check(self) -> None:
        record = self._record
        sized = record.size is None or record.size == self._size
        found = urlsafe_b64encode(self._digest.digest()).rstrip(b"=").decode() if self._digest else ""
        if not sized or (record.hash_ and record.hash_.value != found):
            raise ArchiveError(f"{record.path!r} is not what RECORD says")


def _blocks(content: "Content | _Recorded") -> Iterator[bytes]:
    while block := content.read(1 << 20):
        yield block


def _tags(text: str) -> frozenset[Tag]:
    """Return the tags of one line; compressed sets are multiplied out, so they may not be of any length."""
    try:
        if math.prod(part.count(".") + 1 for part in text.split("-")) <= _MAX_TAGS:
            return parse_tag(text)
    except ValueError:
        pass
    raise ArchiveError(f"its WHEEL has the tag {text[:80]!r}, which is none")


def _covered(tag: Tag, claimed: frozenset[Tag]) -> bool:
    """Whether WHEEL claims a tag of the file name. It may claim more: some are offered for fewer systems."""
    return not claimed.isdisjoint((tag, Tag(tag.interpreter, tag.abi, "any")))


def _identity(wheel: Wheel) -> _Identity:
    if len(wheel.filename) > _MAX_FILENAME:
        raise ArchiveError(f"its name has more than {_MAX_FILENAME} characters")
    try:
        name, version, _, tags = parse_wheel_filename(wheel.filename)
        same = canonicalize_name(wheel.name) == name and Version(wheel.version) == version
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise ArchiveError(f"its name is not that of a wheel: {error}") from error
    if not same:
        raise ArchiveError(f"it is not {wheel.label}")
    return _Identity(name, version, tags)
