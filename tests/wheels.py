"""Builds wheels of any shape, honest or hostile, byte by byte and the same each time."""

import csv
import hashlib
import io
import struct
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyembed_gen.wheel import Wheel

PURE = "py3-none-any"
FILE = 0o100644
PROGRAM = 0o100755
LINK = 0o120777
UTF8 = 0x800


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a zip archive. ``local`` and ``central`` replace what the two headers say of it, by field.

    ``packed`` replaces the compressed content. ``before`` and ``after`` are bytes around header and content.
    """

    data: bytes = b""
    mode: int = FILE
    method: int = 8
    flags: int = 0
    packed: bytes | None = None
    local: Mapping[str, Any] = field(default_factory=dict)
    central: Mapping[str, Any] = field(default_factory=dict)
    before: bytes = b""
    after: bytes = b""

    def content(self) -> bytes:
        """Return what lies in the archive."""
        if self.packed is not None:
            return self.packed
        return deflated(self.data) if self.method == 8 else self.data


def deflated(data: bytes) -> bytes:
    """Compress as zip archives do."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush()


def descriptor(data: bytes, *, signed: bool, wide: bool) -> bytes:
    """Return what follows a content whose header does not know its size yet."""
    layout = "<LQQ" if wide else "<LLL"
    return b"PK\x07\x08" * signed + struct.pack(layout, zlib.crc32(data), len(deflated(data)), len(data))


def archive(
    members: Iterable[tuple[str | bytes, Member]],
    *,
    before: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    gap: bytes = b"",
    end: Mapping[str, int] | None = None,
    end64: Mapping[str, int] | None = None,
) -> bytes:
    """Write a zip archive. ``end`` replaces fields of its end; ``end64`` adds a zip64 end, with those fields."""
    body, directory, count = bytearray(before), bytearray(), 0
    for name, member in members:
        raw = name.encode() if isinstance(name, str) else name
        content = member.content()
        facts: dict[str, Any] = {
            "signature": b"PK\x03\x04",
            "name": raw,
            "flags": member.flags | (0 if raw.isascii() else UTF8),
            "method": member.method,
            "crc": zlib.crc32(member.data),
            "stored": len(content),
            "size": len(member.data),
            "extra": b"",
        }
        body += member.before
        offset = len(body)
        body += _local({**facts, **member.local}) + content + member.after
        kept = {"signature": b"PK\x01\x02", "disk": 0, "mode": member.mode, "offset": offset}
        directory += _central({**facts, **kept, **member.central})
        count += 1
    body += gap
    values = {"disk": 0, "first": 0, "here": count, "count": count, "size": len(directory), "offset": len(body)}
    tail = b""
    if end64 is not None:
        tail = _end64({**values, "length": 44, "disks": 1, "at": len(body) + len(directory), **end64})
    values |= {"comment": len(comment), **(end or {})}
    return bytes(body + directory + tail) + struct.pack("<4s4H2LH", b"PK\5\6", *values.values()) + comment + after


def _local(facts: Mapping[str, Any]) -> bytes:
    name, extra = facts["name"], facts["extra"]
    fixed = (facts["signature"], 20, facts["flags"], facts["method"], 0, 33)
    sizes = (facts["crc"], facts["stored"], facts["size"], len(name), len(extra))
    return struct.pack("<4s5H3L2H", *fixed, *sizes) + name + extra


def _central(facts: Mapping[str, Any]) -> bytes:
    name, extra = facts["name"], facts["extra"]
    fixed = (facts["signature"], 0x314, 20, facts["flags"], facts["method"], 0, 33)
    sizes = (facts["crc"], facts["stored"], facts["size"], len(name), len(extra), 0)
    place = (facts["disk"], 0, facts["mode"] << 16, facts["offset"])
    return struct.pack("<4s6H3L5H2L", *fixed, *sizes, *place) + name + extra


def _end64(values: Mapping[str, int]) -> bytes:
    numbers = [values[key] for key in ("disk", "first", "here", "count", "size", "offset")]
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, values["at"], values["disks"])
    return struct.pack("<4sQ2H2L4Q", b"PK\6\6", values["length"], 45, 45, *numbers) + locator


def row(name: str, data: bytes, algorithm: str = "sha256") -> tuple[str, str, str]:
    """Return the line of RECORD for a file."""
    value = urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
    return name, f"{algorithm}={value}", str(len(data))


def record(rows: Iterable[Iterable[str]]) -> bytes:
    """Return a RECORD."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


@dataclass(frozen=True, slots=True)
class Build:
    """A wheel to build. Files are contents or members, by name; texts that are not given are honest.

    ``rows`` are lines that RECORD has instead of its own, by name (None: no line); ``parts`` come after everything
    else, and RECORD does not know them; ``record`` replaces RECORD whole.
    """

    name: str = "sample"
    version: str = "1.0"
    files: Mapping[str, bytes | Member] = field(default_factory=dict)
    tag: str = PURE
    metadata: str | None = None
    wheel: str | None = None
    dist_info: str = ""
    rows: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    record: bytes | None = None
    parts: Iterable[tuple[str | bytes, Member]] = ()
    without: frozenset[str] = frozenset()

    @property
    def filename(self) -> str:
        """The wheel's file name."""
        return f"{self.name}-{self.version}-{self.tag}.whl"

    def members(self) -> list[tuple[str | bytes, Member]]:
        """Return all members, RECORD near the end."""
        info = self.dist_info or f"{self.name}-{self.version}.dist-info"
        metadata = f"Metadata-Version: 2.4\nName: {self.name}\nVersion: {self.version}\n"
        pythons, abis, platforms = (part.split(".") for part in self.tag.split("-"))
        tags = "".join(f"Tag: {p}-{a}-{m}\n" for p in pythons for a in abis for m in platforms)
        wheel = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {str(self.tag == PURE).lower()}\n{tags}"
        files: dict[str, bytes | Member] = {
            **self.files,
            f"{info}/METADATA": (metadata if self.metadata is None else self.metadata).encode(),
            f"{info}/WHEEL": (wheel if self.wheel is None else self.wheel).encode(),
        }
        found = {
            name: file if isinstance(file, Member) else Member(file)
            for name, file in files.items()
            if name.rpartition("/")[2] not in self.without
        }
        rows: dict[str, tuple[str, ...] | None] = {name: row(name, member.data) for name, member in found.items()}
        rows[f"{info}/RECORD"] = (f"{info}/RECORD", "", "")
        lines = [line for line in {**rows, **self.rows}.values() if line]
        if "RECORD" not in self.without:
            found[f"{info}/RECORD"] = Member(record(lines) if self.record is None else self.record)
        return [*found.items(), *self.parts]

    def write(self, folder: Path, *, requested: bool = False, direct_url: bytes = b"", **shape: Any) -> Wheel:
        """Write the wheel into a folder; ``shape`` goes to :func:`archive`."""
        path = folder / self.filename
        path.write_bytes(archive(self.members(), **shape))
        return Wheel(path, self.filename, self.name, self.version, requested, direct_url)
