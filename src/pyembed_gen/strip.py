"""Removes symbol tables and debug information from linked ELF files, of any architecture on any host.

No byte that belongs to a segment or an allocated section moves or changes, so the result loads and runs as
the original does. What the linker put behind them is dropped; what it put between them becomes zeros.

Removed are symbol tables with their strings, relocations that were kept for a linker (``--emit-relocs``),
debug information in all its formats, and notes of compilers. ``.comment`` goes too, which GNU
``strip --strip-all`` leaves: nothing reads it. Non-allocated sections of other names stay: programs find a
payload (PyInstaller's ``pydata``), probes (``.note.stapsdt``) or the ABI (``.ARM.attributes``) in them. A
file with something behind what ELF describes, as self-extracting programs have, is left alone,
because such programs find it by its place.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from enum import IntEnum, IntFlag
from operator import itemgetter

from pyembed_gen.binary import BinaryError, Buffer, Reader
from pyembed_gen.elf import (
    FileType,
    Header,
    Section,
    Segment,
    open_header,
    section_names,
    sections,
    segments,
)

Range = tuple[int, int]
"""Start and end (exclusive) of a stretch of a file in bytes."""


class SectionType(IntEnum):
    """Values of ``sh_type`` that matter here."""

    NULL = 0
    SYMTAB = 2
    STRTAB = 3
    RELA = 4
    NOBITS = 8
    REL = 9
    GROUP = 17
    SYMTAB_SHNDX = 18
    LLVM = 0x6FFF4C00
    LLVM_LAST = 0x6FFF4CFF


class Flag(IntFlag):
    """Bits of ``sh_flags`` that matter here."""

    WRITE = 0x1
    ALLOC = 0x2
    INFO_LINK = 0x40


_RELOCATIONS = frozenset({SectionType.REL, SectionType.RELA})
_LINKER_TYPES = frozenset({SectionType.SYMTAB, SectionType.SYMTAB_SHNDX, SectionType.GROUP}) | _RELOCATIONS
_DEBUG_NAMES = (
    ".debug",
    ".zdebug",
    ".stab",
    ".line",
    ".comment",
    ".gdb_index",
    ".gnu_debug",
    ".gnu.build.attributes",
    ".gnu.lto_",
    ".gnu.debuglto_",
    ".note.gnu.gold-version",
    ".note.bolt_info",
    ".GCC.command.line",
    ".pseudo_probe",
    ".llvm",
)
_MAX_ALIGN = 4096
_SECTION_FIELDS = (5, 11, 12)  # e_shoff, e_shnum and e_shstrndx among the fields after e_ident
_CHUNK = 1 << 20
_INACTIVE = Section(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
_ZEROS = bytes(_CHUNK)


def strip(data: Buffer) -> bytes | None:
    """Return an ELF file without symbols and debug sections, or None when there is nothing to gain.

    None also for what is no linked ELF file (objects, core dumps, other formats), is malformed, has no
    section headers or extended ones, holds only debug information, or has data appended; the original is to
    be kept. The result is no larger than the original (shorter, or with zeros where patchelf left symbols
    between segments), passes :func:`check`, and is the same on every host. Memory: the result and 2 MiB.
    """
    with memoryview(data) as view:
        try:
            plan = _plan(view)
        except BinaryError:
            return None
        if plan is None:
            return None
        stripped = b"".join(_assemble(view, plan))
        return stripped if check(view, stripped) else None


def check(original: Buffer, stripped: Buffer) -> bool:
    """Tell whether ``stripped`` is no larger and loads as ``original`` does.

    The ELF header but for its section fields, all program headers, the bytes of all segments and all
    allocated sections must be in place and equal; other sections that are left must have their name, type
    and content.
    """
    with memoryview(original) as old, memoryview(stripped) as new:
        try:
            return len(new) <= len(old) and _same_image(old, new) and _same_sections(old, new)
        except BinaryError:
            return False


@dataclass(frozen=True, slots=True)
class _File:
    reader: Reader
    header: Header
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    names: list[str]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is written, by place: stretches of the original and new bytes, with zeros between them."""

    pieces: tuple[tuple[int, Range | bytes], ...]
    size: int


def _open(view: memoryview) -> _File:
    reader, header = open_header(view)
    table = sections(reader, header)
    return _File(reader, header, segments(reader, header), table, section_names(reader, header, table))


def _plan(view: memoryview) -> _Plan | None:
    file = _open(view)
    removed = _removed(file)
    kept = [index for index in range(len(file.sections)) if index not in removed]
    if not removed or not _strippable(file, kept):
        return None
    held = _merge(_held(file))
    end = _end(file, kept, held)
    if end > len(view) or _has_payload(view, file, end):
        return None
    moved, tail = _place(file, kept, end)
    own = file.header.shstrndx
    pinned = [_range(file.sections[index]) for index in kept if index not in moved and index != own]
    gone = _merge([*(_range(file.sections[index]) for index in (*removed, own)), _table_range(file)])
    holes = list(_subtract(gone, _merge([*held, *pinned]), end))
    copies = list(_subtract([(file.header.layout.header_size, end)], holes, end))
    strings, names = _strings([file.names[index] for index in kept])
    slots = _slots(file, kept)
    strings_at, table_at, size = _place_table(file, holes, tail, len(strings), len(slots))
    if size > len(view):
        return None
    changed = {index: replace(file.sections[index], offset=place) for index, place in moved.items()}
    changed[own] = replace(file.sections[own], offset=strings_at, size=len(strings))
    pieces: list[tuple[int, Range | bytes]] = [
        (0, _header(file, table_at, slots)),
        *((piece[0], piece) for piece in copies),
        *((place, _range(file.sections[index])) for index, place in moved.items()),
        (strings_at, strings),
        (table_at, _table(file, slots, changed, names)),
    ]
    return _Plan(tuple(sorted(pieces, key=itemgetter(0))), size)


def _place_table(file: _File, holes: Sequence[Range], tail: int, strings: int, count: int) -> tuple[int, int, int]:
    """Return where section names and headers go, and the size of the file.

    They go into a hole that a removed section leaves before the end, if one is large enough: a file whose
    segments patchelf(1) moved behind its symbols cannot get shorter, but it must not get longer.
    """
    word, size = file.header.layout.word, count * file.header.layout.section_size
    for start, stop in holes:
        if _aligned(start + strings, word) + size <= stop:
            return start, _aligned(start + strings, word), tail
    table_at = _aligned(tail + strings, word)
    return tail, table_at, table_at + size


def _strippable(file: _File, kept: Sequence[int]) -> bool:
    """Tell whether this is a linked file whose section names can be rewritten."""
    own = file.header.shstrndx
    return (
        file.header.type in {FileType.EXEC, FileType.DYN}
        and file.sections[own].type == SectionType.STRTAB
        and not _allocated(file.sections[own])
        and all(file.sections[index].link != own for index in kept)
        and not any(_is_shadow(section) for section in file.sections)
    )


def _is_shadow(section: Section) -> bool:
    """Tell whether a section's content is in another file: this one then holds only debug information."""
    return section.type == SectionType.NOBITS and section.flags & (Flag.ALLOC | Flag.WRITE) == Flag.ALLOC


def _removed(file: _File) -> set[int]:
    mapped = _merge(_range_of(segment.offset, segment.filesz) for segment in file.segments)
    loose = [
        index
        for index, section in enumerate(file.sections)
        if section.type != SectionType.NULL
        and index != file.header.shstrndx
        and not _allocated(section)
        and not _overlaps(mapped, _range(section))
    ]
    removed = {index for index in loose if _is_debug(file.sections[index], file.names[index])}
    linked = {file.sections[index].link for index in removed}
    others = {section.link for index, section in enumerate(file.sections) if index not in removed}
    strings = {index for index in loose if file.sections[index].type == SectionType.STRTAB}
    return removed | (strings & linked - others)


def _is_debug(section: Section, name: str) -> bool:
    return (
        section.type in _LINKER_TYPES
        or SectionType.LLVM <= section.type <= SectionType.LLVM_LAST
        or name.startswith(_DEBUG_NAMES)
    )


def _allocated(section: Section) -> bool:
    return bool(section.flags & Flag.ALLOC)


def _range_of(start: int, size: int) -> Range:
    return start, start + size


def _range(section: Section) -> Range:
    """Return where a section's bytes are; an empty range when it has none."""
    empty = section.size == 0 or section.type in {SectionType.NULL, SectionType.NOBITS}
    return (0, 0) if empty else _range_of(section.offset, section.size)


def _table_range(file: _File) -> Range:
    return _range_of(file.header.shoff, len(file.sections) * file.header.layout.section_size)


def _held(file: _File) -> Iterator[Range]:
    """Yield everything that must stay where it is: headers, segments and allocated sections."""
    layout = file.header.layout
    yield 0, layout.header_size
    yield _range_of(file.header.phoff, file.header.phnum * layout.segment_size)
    yield from (_range_of(segment.offset, segment.filesz) for segment in file.segments)
    yield from (_range(section) for section in file.sections if _allocated(section))


def _end(file: _File, kept: Sequence[int], held: Sequence[Range]) -> int:
    """Return where the bytes end that stay in place, kept sections among them included."""
    end = held[-1][1]
    for start, stop in sorted(_range(file.sections[index]) for index in kept if index != file.header.shstrndx):
        if start < end:
            end = max(end, stop)
    return end


def _has_payload(view: memoryview, file: _File, end: int) -> bool:
    """Tell whether there is anything but zeros behind ``end`` that no section accounts for."""
    known = _merge([*map(_range, file.sections), _table_range(file)])
    gaps = _subtract([(end, len(view))], known, len(view))
    return any(piece.count(0) != len(piece) for start, stop in gaps for piece in _pieces(view, start, stop))


def _place(file: _File, kept: Sequence[int], end: int) -> tuple[dict[int, int], int]:
    """Return the new offset of each section that moves forward, and the first byte behind them."""
    places, position = {}, end
    for start, stop, index in sorted((*_range(file.sections[index]), index) for index in kept):
        if index != file.header.shstrndx and end <= start < stop:
            places[index] = _aligned(position, file.sections[index].align)
            position = places[index] + stop - start
    return places, position


def _aligned(position: int, align: int) -> int:
    if align > _MAX_ALIGN:
        raise BinaryError(f"ELF file: a section is aligned to {align} bytes")
    return -(-position // max(align, 1)) * max(align, 1)


def _strings(names: Iterable[str]) -> tuple[bytes, dict[str, int]]:
    """Return a string table and the offset of each name in it."""
    table, offsets = bytearray(b"\0"), {"": 0}
    for name in names:
        if name not in offsets:
            offsets[name] = len(table)
            table += name.encode("utf-8", "surrogateescape") + b"\0"
    return bytes(table), offsets


def _slots(file: _File, kept: Sequence[int]) -> list[int | None]:
    """Return which old section each new header describes.

    Symbols that the loader sees number their section, so allocated sections keep their number: a removed
    section before one of them leaves an inactive header (SHT_NULL, gABI 4).
    """
    last = max((index for index in kept if _allocated(file.sections[index])), default=0)
    present = set(kept)
    fixed = [index if index in present else None for index in range(last + 1)]
    return [*fixed, *(index for index in kept if index > last)]


def _table(file: _File, slots: list[int | None], changed: dict[int, Section], names: dict[str, int]) -> bytes:
    numbers = {old: new for new, old in enumerate(slots) if old is not None}
    form = struct.Struct(file.header.order + file.header.layout.section)
    entries = []
    for old in slots:
        if old is None:
            entries.append(bytes(form.size))
            continue
        section = changed.get(old, file.sections[old])
        info = numbers.get(section.info, 0) if _info_is_link(section) else section.info
        link = numbers.get(section.link, 0)
        entries.append(form.pack(*astuple(replace(section, name=names[file.names[old]], link=link, info=info))))
    return b"".join(entries)


def _info_is_link(section: Section) -> bool:
    return section.type in _RELOCATIONS or bool(section.flags & Flag.INFO_LINK)


def _header(file: _File, table_at: int, slots: list[int | None]) -> bytes:
    """Return the ELF header with the three fields changed that say where sections are."""
    form = struct.Struct(file.header.order + file.header.layout.header)
    start = file.header.layout.header_size - form.size
    fields = list(file.reader.unpack(file.header.layout.header, start))
    for place, value in zip(_SECTION_FIELDS, (table_at, len(slots), slots.index(file.header.shstrndx)), strict=True):
        fields[place] = value
    return file.reader.take(0, start) + form.pack(*fields)


def _assemble(view: memoryview, plan: _Plan) -> Iterator[Buffer]:
    position = 0
    for place, piece in plan.pieces:
        yield from _zeros(place - position)
        content = piece if isinstance(piece, bytes) else view[piece[0] : piece[1]]
        yield content
        position = place + len(content)
    yield from _zeros(plan.size - position)


def _zeros(count: int) -> Iterator[Buffer]:
    for done in range(0, count, _CHUNK):
        yield _ZEROS[: count - done]


def _merge(ranges: Iterable[Range]) -> list[Range]:
    """Return the union of ranges, sorted and without empty ones."""
    merged: list[Range] = []
    for start, stop in sorted(ranges):
        if start == stop:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return merged


def _overlaps(merged: Sequence[Range], wanted: Range) -> bool:
    start, stop = wanted
    place = bisect_left(merged, (stop, 0))
    return start < stop and place > 0 and merged[place - 1][1] > start


def _subtract(ranges: Sequence[Range], holes: Sequence[Range], end: int) -> Iterator[Range]:
    """Yield what merged ``ranges`` cover below ``end`` outside merged ``holes``."""
    for start, stop in ranges:
        position = start
        for index in range(max(0, bisect_left(holes, (start, 0)) - 1), len(holes)):
            left, right = holes[index]
            if left >= min(stop, end):
                break
            if left > position:
                yield position, left
            position = max(position, right)
        if position < min(stop, end):
            yield position, min(stop, end)


def _pieces(view: memoryview, start: int, stop: int) -> Iterator[bytes]:
    for position in range(start, stop, _CHUNK):
        yield bytes(view[position : min(position + _CHUNK, stop)])


def _equal(old: memoryview, old_range: Range, new: memoryview, new_range: Range) -> bool:
    """Tell whether two stretches of one size hold the same; False when one does not lie in its file."""
    if old_range[1] > len(old) or new_range[1] > len(new):
        return False
    pieces = zip(_pieces(old, *old_range), _pieces(new, *new_range), strict=True)
    return all(left == right for left, right in pieces)


def _same_image(old: memoryview, new: memoryview) -> bool:
    file, other = _open(old), _open(new)
    layout = file.header.layout
    start = layout.header_size - struct.calcsize("=" + layout.header)
    if file.reader.take(0, start) != other.reader.take(0, start):
        return False
    fields, others = (each.reader.unpack(layout.header, start) for each in (file, other))
    places = [place for place in range(len(fields)) if place not in _SECTION_FIELDS]
    if any(fields[place] != others[place] for place in places):
        return False
    held = _merge([*_held(file), *_held(other)])
    beyond_header = _subtract(held, [(0, layout.header_size)], len(old))
    return held[-1][1] <= len(old) and all(_equal(old, piece, new, piece) for piece in beyond_header)


def _same_sections(old: memoryview, new: memoryview) -> bool:
    file, other = _open(old), _open(new)
    fixed = [index for index, section in enumerate(file.sections) if _allocated(section)]
    loose = [index for index, section in enumerate(other.sections) if not _allocated(section)]
    if len(fixed) + len(loose) != len(other.sections) or fixed[-1:] > [len(other.sections) - 1]:
        return False
    if sum(_range(other.sections[index])[1] - _range(other.sections[index])[0] for index in loose) > len(new):
        return False  # sections that overlap could be compared for hours
    candidates = iter([index for index, section in enumerate(file.sections) if not _allocated(section)])
    return all(_same_entry(file, index, other, index) for index in fixed) and all(
        _continues(file, candidates, other, index) for index in loose
    )


def _continues(file: _File, candidates: Iterator[int], other: _File, index: int) -> bool:
    """Tell whether a section that is not loaded is one of the original's, in the original's order."""
    section = other.sections[index]
    if section == _INACTIVE and index > 0:
        return True
    match = next((old for old in candidates if _same_entry(file, old, other, index)), None)
    if match is None:
        return False
    if index == other.header.shstrndx:
        return match == file.header.shstrndx and section.offset + section.size <= other.reader.size
    return _equal(file.reader.view, _range(file.sections[match]), other.reader.view, _range(section))


def _same_entry(file: _File, index: int, other: _File, new_index: int) -> bool:
    """Tell whether two section headers agree in all but where the section and its name are."""
    old, new = file.sections[index], other.sections[new_index]
    if _allocated(old) and old.offset != new.offset:
        return False
    plain = {"name": 0, "link": 0, "info": 0, "offset": 0}
    if new_index == other.header.shstrndx:
        plain["size"] = 0
    if _info_is_link(old):
        links = ((old.link, new.link), (old.info, new.info))
    else:
        links = ((old.link, new.link), (0, 0))
        plain.pop("info")
    return (
        replace(old, **plain) == replace(new, **plain)
        and file.names[index] == other.names[new_index]
        and all(_same_target(file, left, other, right) for left, right in links)
    )


def _same_target(file: _File, link: int, other: _File, new_link: int) -> bool:
    """Tell whether two section numbers mean the same section, or one that is gone."""
    if new_link == 0:
        return link == 0 or link >= len(file.sections) or not _allocated(file.sections[link])
    if link >= len(file.sections) or new_link >= len(other.sections):
        return False
    return file.names[link] == other.names[new_link]
