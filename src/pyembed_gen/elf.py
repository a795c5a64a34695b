"""ELF: the headers of programs and shared libraries of every byte order and word size.

What the loader sees is read the way the loader reads it: through program headers. Section headers are only
a debugger's view and may be absent, stale or, in BOLTed interpreters, describe a .dynstr that lies elsewhere.
Facts: gABI (System V ABI, chapters 4 and 5), glibc <elf.h>. Own code rather than pyelftools, which reports
damaged input through assertions, stream errors and endless loops, and reads names through sections.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from pyembed_gen.binary import MAX_NAME, Binary, BinaryError, Buffer, Reader, decode, unique

MAGIC = b"\x7fELF"

MAX_LOADS = 128
"""Most PT_LOAD segments that a file may have; real ones have fewer than twenty."""
MAX_DYNAMIC = 4096
"""Most entries that a dynamic table or a version table may have; real ones have fewer than a hundred."""
MAX_SECTION_NAME = 255
"""Longest name of a section in bytes."""

_IDENT_SIZE = 16
_EXTENDED = 0xFFFF  # PN_XNUM: the number of program headers is in section 0; only core dumps need it
_CHUNK = 512
_MAX_CHAIN = 1 << 16
_WIDE_HASH = frozenset({22, 0x9026})  # s390x and Alpha have 64 bit words in DT_HASH

_MACHINES = {
    (3, 32, "<"): "i386",
    (20, 32, ">"): "ppc",
    (21, 64, ">"): "ppc64",
    (21, 64, "<"): "ppc64le",
    (22, 32, ">"): "s390",
    (22, 64, ">"): "s390x",
    (40, 32, "<"): "arm",
    (62, 32, "<"): "x32",
    (62, 64, "<"): "x86_64",
    (183, 64, "<"): "aarch64",
    (243, 32, "<"): "riscv32",
    (243, 64, "<"): "riscv64",
    (258, 64, "<"): "loongarch64",
}


class FileType(IntEnum):
    """Values of ``e_type`` that matter here."""

    EXEC = 2
    DYN = 3


class SegmentType(IntEnum):
    """Values of ``p_type`` that matter here."""

    LOAD = 1
    DYNAMIC = 2
    INTERP = 3


class Tag(IntEnum):
    """Tags of entries in the dynamic table that matter here."""

    NEEDED = 1
    HASH = 4
    STRTAB = 5
    SYMTAB = 6
    STRSZ = 10
    SONAME = 14
    RPATH = 15
    RUNPATH = 29
    GNU_HASH = 0x6FFFFEF5
    CONFIG = 0x6FFFFEFA
    DEPAUDIT = 0x6FFFFEFB
    AUDIT = 0x6FFFFEFC
    FLAGS_1 = 0x6FFFFFFB
    VERDEF = 0x6FFFFFFC
    VERDEFNUM = 0x6FFFFFFD
    VERNEED = 0x6FFFFFFE
    VERNEEDNUM = 0x6FFFFFFF
    AUXILIARY = 0x7FFFFFFD
    FILTER = 0x7FFFFFFF


_NAME_TAGS = frozenset(
    {Tag.NEEDED, Tag.SONAME, Tag.CONFIG, Tag.DEPAUDIT, Tag.AUDIT, Tag.AUXILIARY, Tag.FILTER},
)
_PATH_TAGS = (Tag.RUNPATH, Tag.RPATH)
_PIE = 0x08000000  # DF_1_PIE


@dataclass(frozen=True, slots=True)
class Layout:
    """How the records of one word size lie in a file, as formats of the struct module without byte order.

    ``segment_fields`` are the places of type, offset, vaddr and filesz in a program header, which 32 and 64
    bit ELF order differently. ``symbol`` unpacks only a symbol's name.
    """

    bits: int
    header: str
    segment: str
    segment_fields: tuple[int, int, int, int]
    section: str
    dynamic: str
    symbol: str

    @property
    def word(self) -> int:
        """Bytes in an address."""
        return self.bits // 8

    @property
    def header_size(self) -> int:
        """Bytes in the ELF header."""
        return _IDENT_SIZE + struct.calcsize("=" + self.header)

    @property
    def segment_size(self) -> int:
        """Bytes in a program header."""
        return struct.calcsize("=" + self.segment)

    @property
    def section_size(self) -> int:
        """Bytes in a section header."""
        return struct.calcsize("=" + self.section)


_LAYOUTS = {
    1: Layout(32, "HHIIIIIHHHHHH", "IIIIIIII", (0, 1, 2, 4), "IIIIIIIIII", "II", "I12x"),
    2: Layout(64, "HHIQQQIHHHHHH", "IIQQQQQQ", (0, 2, 3, 5), "IIQQQQIIQQ", "QQ", "I20x"),
}
_ORDERS = {1: "<", 2: ">"}


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of an ELF header that decide where everything else is; offsets in bytes."""

    layout: Layout
    order: str
    type: int
    machine: int
    phoff: int
    phnum: int
    shoff: int
    shnum: int
    shstrndx: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One program header; ``offset`` and ``filesz`` are its bytes in the file."""

    type: int
    offset: int
    vaddr: int
    filesz: int


@dataclass(frozen=True, slots=True)
class Section:
    """One section header: the fields of Elf64_Shdr in their order; ``name`` is an offset in .shstrtab."""

    name: int
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entsize: int


def open_header(view: memoryview) -> tuple[Reader, Header]:
    """Return a reader in the file's byte order, and its header.

    Raises BinaryError when the file is truncated, or its class, byte order or sizes are none that ELF has.
    """
    start = Reader(view, "ELF file", "<", 0, len(view)).take(0, _IDENT_SIZE)
    layout, order = _LAYOUTS.get(start[4]), _ORDERS.get(start[5])
    if not start.startswith(MAGIC) or layout is None or order is None or start[6] != 1:
        raise BinaryError("ELF file: unknown class, byte order or version")
    reader = Reader(view, "ELF file", order, 0, len(view))
    fields = reader.unpack(layout.header, _IDENT_SIZE)
    type_, machine, _, _, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, shstrndx = fields
    if (phnum and phentsize != layout.segment_size) or (shnum and shentsize != layout.section_size):
        raise BinaryError("ELF file: its header tables have entries of an unknown size")
    return reader, Header(layout, order, type_, machine, phoff, phnum, shoff, shnum, shstrndx)


def segments(reader: Reader, header: Header) -> tuple[Segment, ...]:
    """Return the program headers; BinaryError when they lie outside the file or are extended (PN_XNUM)."""
    if header.phnum == _EXTENDED:
        raise BinaryError("ELF file: too many program headers")
    layout, found = header.layout, []
    for index in range(header.phnum):
        fields = reader.unpack(layout.segment, header.phoff + index * layout.segment_size)
        found.append(Segment(*(fields[place] for place in layout.segment_fields)))
    return tuple(found)


def sections(reader: Reader, header: Header) -> tuple[Section, ...]:
    """Return the section headers, entry 0 included; BinaryError when they lie outside the file."""
    layout = header.layout
    starts = (header.shoff + index * layout.section_size for index in range(header.shnum))
    return tuple(Section(*reader.unpack(layout.section, start)) for start in starts)


def section_names(reader: Reader, header: Header, table: Sequence[Section]) -> list[str]:
    """Return the name of each section; BinaryError without a readable .shstrtab."""
    if not 0 < header.shstrndx < len(table):
        raise BinaryError("ELF file: it has no section names")
    strings = table[header.shstrndx]
    names = []
    for section in table:
        room = min(strings.size - section.name, MAX_SECTION_NAME + 1)
        names.append(reader.text(strings.offset + section.name, room))
    return names


@dataclass(frozen=True, slots=True)
class Image:
    """A file as the loader maps it: bytes by virtual address.

    ``loads`` are its PT_LOAD segments in file order, ``dynamic`` the (tag, value) entries of its dynamic
    table, and ``values`` the last value of each tag, which is the one that ld.so takes.
    """

    reader: Reader
    header: Header
    segments: tuple[Segment, ...]
    loads: tuple[Segment, ...]
    dynamic: tuple[tuple[int, int], ...]
    values: Mapping[int, int]

    def extent(self, vaddr: int, size: int) -> tuple[int, int]:
        """Return (file offset, bytes) of what one segment maps at ``vaddr``, at most ``size`` bytes."""
        for load in reversed(self.loads):  # as with mmap: what is mapped last, wins
            if load.vaddr <= vaddr < load.vaddr + load.filesz:
                return load.offset + vaddr - load.vaddr, min(size, load.vaddr + load.filesz - vaddr)
        raise BinaryError(f"ELF file: no segment has address {vaddr:#x}")

    def extents(self, vaddr: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield (file offset, bytes) of every piece of a range that may cross segments."""
        while size > 0:
            offset, got = self.extent(vaddr, size)
            yield offset, got
            vaddr, size = vaddr + got, size - got

    def take(self, vaddr: int, size: int) -> bytes:
        """Return ``size`` mapped bytes at ``vaddr``; BinaryError when they cannot all be there."""
        if size > self.reader.size:
            raise BinaryError(f"ELF file: a table of {size} bytes is larger than the file")
        return b"".join(self.reader.take(offset, got) for offset, got in self.extents(vaddr, size))

    def unpack(self, layout: str, vaddr: int) -> tuple[int, ...]:
        """Return the integers of struct format ``layout`` (without byte order) at ``vaddr``."""
        form = self.header.order + layout
        return struct.unpack(form, self.take(vaddr, struct.calcsize(form)))

    def text(self, vaddr: int, room: int) -> bytes:
        """Return the bytes at ``vaddr`` before the next NUL, which must come within ``room`` and MAX_NAME."""
        found = bytearray()
        room = min(room, MAX_NAME)
        while len(found) < room:
            offset, got = self.extent(vaddr + len(found), min(_CHUNK, room - len(found)))
            piece, nul, _ = self.reader.take(offset, got).partition(b"\0")
            found += piece
            if nul:
                return bytes(found)
        raise BinaryError(f"ELF file: the name at address {vaddr:#x} does not end")

    def name(self, offset: int) -> bytes:
        """Return the entry of the dynamic string table at ``offset``."""
        start, size = self.strings()
        return self.text(start + offset, size - offset)

    def strings(self) -> tuple[int, int]:
        """Return address and size of the dynamic string table."""
        start, size = self.values.get(Tag.STRTAB), self.values.get(Tag.STRSZ)
        if start is None or size is None:
            raise BinaryError("ELF file: its dynamic table names no string table")
        return start, size


def open_image(view: memoryview) -> Image:
    """Return a file as the loader maps it; BinaryError when its headers or dynamic table are malformed."""
    reader, header = open_header(view)
    table = segments(reader, header)
    loads = tuple(segment for segment in table if segment.type == SegmentType.LOAD)
    if len(loads) > MAX_LOADS:
        raise BinaryError(f"ELF file: it has more than {MAX_LOADS} segments")
    bare = Image(reader, header, table, loads, (), {})
    dynamic = next((segment for segment in table if segment.type == SegmentType.DYNAMIC), None)
    entries = () if dynamic is None else tuple(_dynamic(bare, dynamic))
    return Image(reader, header, table, loads, entries, dict(entries))


def _dynamic(image: Image, segment: Segment) -> Iterator[tuple[int, int]]:
    form = image.header.layout.dynamic
    size = 2 * image.header.layout.word
    count = segment.filesz // size
    for index in range(min(count, MAX_DYNAMIC + 1)):
        tag, value = image.unpack(form, segment.vaddr + index * size)
        if tag == 0:
            return
        if index == MAX_DYNAMIC:
            raise BinaryError(f"ELF file: its dynamic table has more than {MAX_DYNAMIC} entries")
        yield tag, value


def read(data: Buffer) -> Binary:
    """Return what an ELF file says of itself; BinaryError when it is malformed or truncated.

    DT_RPATH counts only without DT_RUNPATH, as in ld.so(8). A position-independent file is a program when it
    says so (DF_1_PIE), or has an interpreter and no soname.
    """
    with memoryview(data) as view:
        _, header = open_header(view)
        machine = _MACHINES.get((header.machine, header.layout.bits, header.order), f"machine-{header.machine}")
        if header.type not in {FileType.EXEC, FileType.DYN}:
            return Binary("elf", (machine,), "object")
        image = open_image(view)
        needed = [decode(image.name(value)) for tag, value in image.dynamic if tag == Tag.NEEDED]
        soname, interpreter = _one_name(image, Tag.SONAME), _interpreter(image)
        pie = bool((image.values.get(Tag.FLAGS_1) or 0) & _PIE)
        program = header.type == FileType.EXEC or pie or (interpreter != "" and soname == "")
        return Binary(
            format="elf",
            machines=(machine,),
            kind="program" if program else "library",
            needed=unique(needed),
            soname=soname,
            runpath=_runpath(image),
            interpreter=interpreter,
        )


def _one_name(image: Image, tag: Tag) -> str:
    offset = image.values.get(tag)
    return "" if offset is None else decode(image.name(offset))


def _runpath(image: Image) -> tuple[str, ...]:
    joined = _one_name(image, next((tag for tag in _PATH_TAGS if tag in image.values), Tag.RPATH))
    return tuple(path for path in joined.split(":") if path)


def _interpreter(image: Image) -> str:
    for segment in image.segments:
        if segment.type == SegmentType.INTERP and segment.filesz:
            return image.reader.text(segment.offset, min(segment.filesz, MAX_NAME))
    return ""


def set_runpath(data: Buffer, new: str) -> bytes:
    """Return the file with its DT_RUNPATH and DT_RPATH replaced by ``new``, nothing else moved or changed.

    The text is overwritten in the dynamic string table and padded with NUL. Raises BinaryError when there is
    no such entry, when ``new`` is longer than the old text or has a NUL, and when the linker merged the old
    text with another name (a library, a symbol, a version) that would change too.
    """
    text = new.encode("utf-8", "surrogateescape")
    if b"\0" in text:
        raise BinaryError(f"ELF file: a run path cannot hold NUL: {new!r}")
    with memoryview(data) as view:
        image = open_image(view)
        paths = {value for tag, value in image.dynamic if tag in _PATH_TAGS}
        if not paths:
            raise BinaryError("ELF file: it has neither DT_RUNPATH nor DT_RPATH to replace")
        names = set(_names(image))
        output = bytearray(view)
        for path in paths:
            _overwrite(image, output, path, text, names | (paths - {path}))
        return bytes(output)


def _overwrite(image: Image, output: bytearray, path: int, text: bytes, names: set[int]) -> None:
    old = image.name(path)
    if len(text) > len(old):
        raise BinaryError(f"ELF file: {decode(text)!r} is longer than the run path {decode(old)!r}")
    start, _ = image.strings()
    before = image.take(start, path).rfind(b"\0") + 1
    if any(before <= name < path + len(old) for name in names):
        raise BinaryError(f"ELF file: the run path {decode(old)!r} shares its bytes with another name")
    padded = text.ljust(len(old), b"\0")
    for offset, size in image.extents(start + path, len(old)):
        output[offset : offset + size], padded = padded[:size], padded[size:]


def _names(image: Image) -> Iterator[int]:
    """Yield the offset of every name in the dynamic string table but the run paths."""
    yield from (value for tag, value in image.dynamic if tag in _NAME_TAGS)
    yield from _symbol_names(image)
    for table, number in ((Tag.VERNEED, Tag.VERNEEDNUM), (Tag.VERDEF, Tag.VERDEFNUM)):
        for count, name in enumerate(_version_names(image, table, number)):
            if count > MAX_DYNAMIC:
                raise BinaryError(f"ELF file: it has more than {MAX_DYNAMIC} names of versions")
            yield name


def _symbol_names(image: Image) -> Iterator[int]:
    start = image.values.get(Tag.SYMTAB)
    if start is None:
        return
    form = struct.Struct(image.header.order + image.header.layout.symbol)
    symbols = image.take(start, form.size * _symbol_count(image, start))
    yield from (name for (name,) in form.iter_unpack(symbols))


def _symbol_count(image: Image, start: int) -> int:
    """Return the number of dynamic symbols, which ELF says in three places, none of them always present."""
    if (table := image.values.get(Tag.HASH)) is not None and image.header.machine not in _WIDE_HASH:
        return image.unpack("II", table)[1]
    for section in sections(image.reader, image.header):
        if section.addr == start and section.entsize:
            return section.size // section.entsize
    if (table := image.values.get(Tag.GNU_HASH)) is not None and (count := _gnu_hash_count(image, table)):
        return count
    raise BinaryError("ELF file: it does not say how many dynamic symbols it has")


def _gnu_hash_count(image: Image, table: int) -> int:
    """Return the number of symbols by the last chain of DT_GNU_HASH, 0 when it has no chain at all."""
    count, first, bloom, _ = image.unpack("4I", table)
    buckets = table + 16 + bloom * image.header.layout.word
    last = max(image.unpack(f"{count}I", buckets), default=0)
    if last < first or last == 0:
        return 0
    chains = buckets + 4 * count
    for index in range(last, last + _MAX_CHAIN):
        if image.unpack("I", chains + 4 * (index - first))[0] & 1:
            return index + 1
    raise BinaryError("ELF file: its symbol hash table does not end")


def _version_names(image: Image, table: Tag, number: Tag) -> Iterator[int]:
    """Yield the names in DT_VERNEED or DT_VERDEF: linked lists of records with linked lists of names."""
    start, count = image.values.get(table), image.values.get(number)
    if start is None or count is None:
        return
    if count > MAX_DYNAMIC:
        raise BinaryError(f"ELF file: it has more than {MAX_DYNAMIC} records of versions")
    for _ in range(count):
        if table == Tag.VERNEED:
            _, names, file, first, following = image.unpack("HHIII", start)
            yield file
            yield from _linked_names(image, start + first, names, "IHHII")
        else:
            _, _, _, names, _, first, following = image.unpack("HHHHIII", start)
            yield from _linked_names(image, start + first, names, "II")
        if following == 0:
            return
        start += following


def _linked_names(image: Image, start: int, count: int, layout: str) -> Iterator[int]:
    for _ in range(count):
        *_, name, following = image.unpack(layout, start)
        yield name
        if following == 0:
            return
        start += following
