"""Builds small ELF, Mach-O and PE files with chosen contents, so that tests need no compiler and no host."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BASE = 0x400000
"""Where the ELF files begin in memory."""

_EHDR = {32: "HHIIIIIHHHHHH", 64: "HHIQQQIHHHHHH"}
_PHDR_SIZE = {32: 32, 64: 56}
_SHDR = {32: "IIIIIIIIII", 64: "IIQQQQIIQQ"}
_ENTRY = {(2, 32): 16, (2, 64): 24, (4, 32): 12, (4, 64): 24}  # by section type and word size
_DYN = {32: "II", 64: "QQ"}


@dataclass(frozen=True, slots=True)
class Loose:
    """A section that is not loaded. ``link`` and ``info`` are names of other sections."""

    name: str
    content: bytes = b"debug" * 20
    type: int = 1
    flags: int = 0
    align: int = 1
    link: str = ""
    info: str = ""


SYMBOLS = (
    Loose(".symtab", b"\1" * 240, type=2, align=8, link=".strtab"),
    Loose(".strtab", b"\0main\0helper\0", type=3),
)
"""A symbol table as the linker leaves it in every file."""


class Strings:
    """A string table that is filled as its names are asked for."""

    def __init__(self, *merged: str) -> None:
        self.data = bytearray(b"\0")
        self._offsets = {"": 0}
        for name in merged:
            self[name]

    def __getitem__(self, name: str) -> int:
        """Return the offset of ``name``; a table made with merged names shares their suffixes."""
        if name not in self._offsets:
            self._offsets[name] = len(self.data)
            self.data += name.encode() + b"\0"
        return self._offsets[name]

    def inside(self, host: str, name: str) -> int:
        """Return the offset of ``name`` as the last part of ``host``, as linkers merge suffixes."""
        assert host.endswith(name)
        self._offsets[name] = self[host] + len(host) - len(name)
        return self._offsets[name]


@dataclass(slots=True)
class Elf:
    """What an ELF file is to contain; :meth:`build` writes it.

    The file has two PT_LOAD segments, adjacent in memory, that meet in the middle of .dynstr. ``between`` are
    sections that lie between them in the file, ``loose`` those behind them. ``count`` says where the number of
    dynamic symbols is: ``hash``, ``gnu_hash``, ``sections``, or nowhere.
    """

    bits: int = 64
    order: str = "<"
    machine: int = 62
    type: int = 3
    interpreter: str = ""
    needed: Sequence[str] = ()
    soname: str = ""
    runpath: str = ""
    rpath: str = ""
    flags_1: int = 0
    symbols: Sequence[str] = ("PyInit_x",)
    count: str = "hash"
    merged: Sequence[tuple[str, str]] = ()
    versions_needed: Sequence[tuple[str, str]] = ()
    versions_defined: Sequence[str] = ()
    extra_dynamic: Sequence[tuple[int, int]] = ()
    between: Sequence[Loose] = ()
    loose: Sequence[Loose] = SYMBOLS
    sections: bool = True
    shadow: bool = False
    appended: bytes = b""

    def pack(self, form: str, *values: int) -> bytes:
        """Pack integers in the file's byte order."""
        return struct.pack(self.order + form, *values)

    def build(self) -> bytes:
        """Return the file."""
        strings = self._strings()
        names = self._named_tags(strings)
        alloc = self._allocated(strings)
        word = self.bits // 8
        position = self._ehdr_size + 5 * _PHDR_SIZE[self.bits]
        places: dict[str, int] = {}
        first = bytearray()
        for name, _, content, _, _ in alloc:
            first += bytes(-(position + len(first)) % 8)
            places[name] = position + len(first)
            first += content
        first += bytes(-(position + len(first)) % 8)
        places[".dynstr"] = position + len(first)
        text = bytes(strings.data) + bytes(-len(strings.data) % 16)
        half = len(text) // 16 * 8
        first += text[:half]
        meeting = position + len(first)
        gap, between_places = self._lay(self.between, meeting)
        second_at = meeting + len(gap) + (-(meeting + len(gap)) % 8 if gap else 0)
        shift = second_at - meeting
        dynamic_at = meeting + len(text) - half + shift
        tags = [*names, *self._tags(strings, places)]
        dynamic = b"".join(self.pack(_DYN[self.bits], *tag) for tag in tags)
        code = b"\x90" * 64
        second = text[half:] + dynamic + code
        end = second_at + len(second)
        segments = [
            (1, 0, BASE, meeting),
            (1, second_at, BASE + meeting, len(second)),
            (2, dynamic_at, BASE + dynamic_at - shift, len(dynamic)),
            (3, places.get(".interp", 0), BASE + places.get(".interp", 0), len(self.interpreter) + 1),
            (0x6474E551, 0, 0, 0),
        ]
        if not self.interpreter:
            segments[3] = (0x6474E551, 0, 0, 0)
        body = bytearray(self._ehdr_size) + b"".join(self._segment(*each) for each in segments) + first
        body += gap + bytes(second_at - meeting - len(gap)) + second
        tail, loose_places = self._lay(self.loose, end)
        body += tail
        entries: list[tuple[str, tuple[int, int, int, int, int], str, str, int, int]] = []
        # name, (type, flags, addr, offset, size), link, info, align, entry size
        entries += [self._loose_entry(section, between_places) for section in self.between]
        for name, type_, content, size, link in alloc:
            fields = (type_, 2, BASE + places[name], places[name], len(content))
            entries.append((name, fields, link, "", 8, size))
        in_file = places[".dynstr"]
        entries.append((".dynstr", (3, 2, BASE + in_file, in_file, half), "", "", 1, 0))
        entries.append(
            (
                ".dynamic",
                (6, 3, BASE + dynamic_at - shift, dynamic_at, len(dynamic)),
                ".dynstr",
                "",
                8,
                word * 2,
            )
        )
        kind = 8 if self.shadow else 1
        entries.append((".text", (kind, 6, BASE + end - 64 - shift, end - 64, 64), "", "", 16, 0))
        entries.append((".bss", (8, 3, BASE + end - shift, end, 4096), "", "", 16, 0))
        entries += [self._loose_entry(section, loose_places) for section in self.loose]
        table_at = 0
        if self.sections:
            body, table_at = self._section_table(body, entries)
        count = len(entries) + 2 if self.sections else 0
        body[: self._ehdr_size] = self._header(table_at, count, end - 64 + BASE)
        return bytes(body + self.appended)

    def _allocated(self, strings: Strings) -> list[tuple[str, int, bytes, int, str]]:
        """Return name, type, content, entry size and link of the sections in front of .dynstr."""
        alloc = []
        if self.interpreter:
            alloc.append((".interp", 1, self.interpreter.encode() + b"\0", 0, ""))
        symbols = self._symbols(strings)
        alloc.append((".dynsym", 11, symbols, 24 if self.bits == 64 else 16, ".dynstr"))
        alloc.append((".hash", 5, self._hash(), 0, ".dynsym"))
        alloc.append((".gnu.version_r", 0x6FFFFFFE, self._verneed(strings), 0, ".dynstr"))
        alloc.append((".gnu.version_d", 0x6FFFFFFD, self._verdef(strings), 0, ".dynstr"))
        return alloc

    def _named_tags(self, strings: Strings) -> list[tuple[int, int]]:
        tags: list[tuple[int, int]] = [(1, strings[name]) for name in self.needed]
        for tag, name in ((14, self.soname), (29, self.runpath), (15, self.rpath)):
            tags += [(tag, strings[name])] if name else []
        tags += [(0x6FFFFFFB, self.flags_1)] if self.flags_1 else []
        return tags

    def _tags(self, strings: Strings, places: dict[str, int]) -> list[tuple[int, int]]:
        tags = [(5, BASE + places[".dynstr"]), (10, len(strings.data)), (6, BASE + places[".dynsym"])]
        tags += {
            "hash": [(4, BASE + places[".hash"])],
            "gnu_hash": [(0x6FFFFEF5, BASE + places[".hash"])],
        }.get(self.count, [])
        if self.versions_needed:
            tags += [(0x6FFFFFFE, BASE + places[".gnu.version_r"]), (0x6FFFFFFF, len(self.versions_needed))]
        if self.versions_defined:
            tags += [(0x6FFFFFFC, BASE + places[".gnu.version_d"]), (0x6FFFFFFD, 1)]
        return [*tags, *self.extra_dynamic, (0, 0), (0, 0)]

    @property
    def _ehdr_size(self) -> int:
        return 16 + struct.calcsize("=" + _EHDR[self.bits])

    def _strings(self) -> Strings:
        strings = Strings()
        for host, name in self.merged:
            strings.inside(host, name)
        return strings

    def _symbols(self, strings: Strings) -> bytes:
        names = [0, *(strings[name] for name in self.symbols)]
        rest = 20 if self.bits == 64 else 12
        return b"".join(self.pack("I", name) + bytes(rest) for name in names)

    def _hash(self) -> bytes:
        number = len(self.symbols) + 1
        if self.count == "gnu_hash":
            chain = [0] * (number - 2) + [1]
            bloom = bytes(self.bits // 8)
            return self.pack("IIII", 1, 1, 1, 0) + bloom + self.pack("I", 1) + self.pack(f"{len(chain)}I", *chain)
        return self.pack("III", 1, number, 1) + self.pack(f"{number}I", *range(number))

    def _verneed(self, strings: Strings) -> bytes:
        records = b""
        for index, (file, version) in enumerate(self.versions_needed):
            last = index + 1 == len(self.versions_needed)
            records += self.pack("HHIII", 1, 1, strings[file], 16, 0 if last else 32)
            records += self.pack("IHHII", 0, 0, 2, strings[version], 0)
        return records

    def _verdef(self, strings: Strings) -> bytes:
        if not self.versions_defined:
            return b""
        records = self.pack("HHHHIII", 1, 0, 1, len(self.versions_defined), 0, 20, 0)
        for index, name in enumerate(self.versions_defined):
            last = index + 1 == len(self.versions_defined)
            records += self.pack("II", strings[name], 0 if last else 8)
        return records

    @staticmethod
    def _lay(sections: Iterable[Loose], start: int) -> tuple[bytes, dict[str, int]]:
        laid, places = bytearray(), {}
        for section in sections:
            laid += bytes(-(start + len(laid)) % section.align)
            places[section.name] = start + len(laid)
            laid += b"" if section.type == 8 else section.content
        return bytes(laid), places

    def _segment(self, type_: int, offset: int, vaddr: int, size: int) -> bytes:
        if self.bits == 64:
            return self.pack("IIQQQQQQ", type_, 5, offset, vaddr, vaddr, size, size, 8)
        return self.pack("IIIIIIII", type_, offset, vaddr, vaddr, size, size, 5, 8)

    def _section_table(
        self,
        body: bytearray,
        entries: list[tuple[str, tuple[int, int, int, int, int], str, str, int, int]],
    ) -> tuple[bytearray, int]:
        names = Strings()
        numbers = {entry[0]: index + 1 for index, entry in enumerate(entries)} | {"": 0}
        own = len(body)
        for entry in entries:
            names[entry[0]]
        names[".shstrtab"]
        body = body + names.data
        body += bytes(-len(body) % 8)
        table_at = len(body)
        body += bytes(struct.calcsize("=" + _SHDR[self.bits]))
        for name, (type_, flags, addr, offset, size), link, info, align, entry_size in entries:
            links = (numbers[link], numbers[info])
            body += self.pack(
                _SHDR[self.bits], names[name], type_, flags, addr, offset, size, *links, align, entry_size
            )
        own_fields = (names[".shstrtab"], 3, 0, 0, own, len(names.data), 0, 0, 1, 0)
        return body + self.pack(_SHDR[self.bits], *own_fields), table_at

    def _loose_entry(
        self,
        section: Loose,
        places: dict[str, int],
    ) -> tuple[str, tuple[int, int, int, int, int], str, str, int, int]:
        fields = (section.type, section.flags, 0, places[section.name], len(section.content))
        size = _ENTRY.get((section.type, self.bits), 0)
        return section.name, fields, section.link, section.info, section.align, size

    def _header(self, table_at: int, count: int, entry: int) -> bytes:
        ident = b"\x7fELF" + bytes([self.bits // 32, 1 if self.order == "<" else 2, 1]) + bytes(9)
        sizes = (
            self._ehdr_size,
            _PHDR_SIZE[self.bits],
            5,
            struct.calcsize("=" + _SHDR[self.bits]) if count else 0,
        )
        fields = (
            self.type,
            self.machine,
            1,
            entry,
            self._ehdr_size,
            table_at,
            0,
            *sizes,
            count,
            max(count - 1, 0),
        )
        return ident + self.pack(_EHDR[self.bits], *fields)


def macho(
    commands: Sequence[tuple[int, str]],
    *,
    cpu: int = 0x0100000C,
    kind: int = 6,
    bits: int = 64,
    order: str = "<",
    room: int = 8,
) -> bytes:
    """Return a Mach-O file with load commands (number, name), names padded to a multiple of ``room``."""
    body = b""
    for number, name in commands:
        raw = name.encode() + b"\0"
        raw += bytes(-len(raw) % room)
        place = 12 if number in {0x8000001C, 0xE} else 24
        body += struct.pack(f"{order}III", number, place + len(raw), place) + bytes(place - 12) + raw
    body += struct.pack(f"{order}IIQQ", 0x1B, 24, 1, 2)  # LC_UUID
    magic = 0xFEEDFACF if bits == 64 else 0xFEEDFACE
    header = struct.pack(f"{order}7I", magic, cpu, 0, kind, len(commands) + 1, len(body), 0)
    return header + bytes(4 if bits == 64 else 0) + body


def fat(slices: Sequence[tuple[int, bytes]], *, wide: bool = False) -> bytes:
    """Return a universal Mach-O of (cpu, slice)."""
    layout, magic = (">IIQQII", 0xCAFEBABF) if wide else (">IIIII", 0xCAFEBABE)
    offset = 8 + len(slices) * struct.calcsize(layout)
    head, body = struct.pack(">II", magic, len(slices)), b""
    for cpu, content in slices:
        rest = (3, 0) if wide else (3,)
        head += struct.pack(layout, cpu, 0, offset + len(body), len(content), *rest)
        body += content
    return head + body


def pe(
    imports: Sequence[str] = (),
    *,
    delayed: Sequence[str] = (),
    exports: Sequence[str | None] = (),
    machine: int = 0x8664,
    flags: int = 0x2022,
    plus: bool = True,
    old_delay: bool = False,
) -> bytes:
    """Return a PE file with imports, delay imports, and exports (None: a function, text: a forwarder).

    ``old_delay`` writes the absolute addresses of Visual C++ 6 into delay imports.
    """
    base, address, raw_at = 0x10000000, 0x1000, 0x400
    data = bytearray(16)
    directories = {0: (0, 0), 1: (0, 0), 13: (0, 0)}

    def put(content: bytes) -> int:
        place = address + len(data)
        data.extend(content + bytes(-len(content) % 4))
        return place

    if imports:
        names = [put(name.encode() + b"\0") for name in imports]
        table = b"".join(struct.pack("<5I", 1, 0, 0, name, 1) for name in names) + bytes(20)
        directories[1] = (put(table), len(table))
    if delayed:
        names = [put(name.encode() + b"\0") for name in delayed]
        attributes, shift = (0, base) if old_delay else (1, 0)
        table = b"".join(struct.pack("<8I", attributes, name + shift, 0, 0, 0, 0, 0, 0) for name in names)
        directories[13] = (put(table + bytes(32)), len(table))
    if exports:
        start = address + len(data)
        texts, offsets = bytearray(), []
        for target in exports:
            offsets.append(start + 40 + 4 * len(exports) + len(texts) if target else 0x20)
            texts += target.encode() + b"\0" if target else b""
        table = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, 0, 1, len(exports), 0, start + 40, 0, 0)
        table += struct.pack(f"<{len(exports)}I", *offsets) + texts
        directories[0] = (put(table), len(table))
    numbers = b"".join(struct.pack("<II", *directories.get(index, (0, 0))) for index in range(16))
    optional = struct.pack("<H", 0x20B if plus else 0x10B) + bytes(22)
    optional += struct.pack("<Q", base) if plus else bytes(4) + struct.pack("<I", base)
    optional += bytes(60 - len(optional)) + struct.pack("<I", raw_at)
    optional += bytes((108 if plus else 92) - len(optional)) + struct.pack("<I", 16) + numbers
    head = b"MZ" + bytes(58) + struct.pack("<I", 0x80) + bytes(0x40)
    head += b"PE\0\0" + struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, len(optional), flags) + optional
    head += struct.pack("<8s6I2HI", b".rdata", len(data), address, len(data), raw_at, 0, 0, 0, 0, 0x40000040)
    return head + bytes(raw_at - len(head)) + bytes(data)
