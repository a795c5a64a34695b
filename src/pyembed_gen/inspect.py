"""What is in a bundle and what takes the space."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyembed_gen.emit import embedded_size, read_bundle
from pyembed_gen.manifest import Entry, Manifest, Origin
from pyembed_gen.terminal import human_bytes

__all__ = ["Report", "inspect"]

_LARGEST = 15


@dataclass(frozen=True, slots=True)
class Share:
    """What a group of files takes: bytes when extracted, bytes of payload, and how many they are."""

    name: str
    files: int
    raw: int
    stored: int


@dataclass(frozen=True, slots=True)
class Report:
    """A bundle seen from above. ``embedded`` counts all that ``go:embed`` takes, the manifest too."""

    directory: Path
    manifest: Manifest
    embedded: int
    groups: tuple[Share, ...]
    largest: tuple[Entry, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as values for JSON; sizes are bytes."""
        manifest = self.manifest
        origin = manifest.origin
        return {
            "directory": str(self.directory),
            "contentHash": manifest.content_hash,
            "recipe": manifest.recipe,
            "codec": manifest.codec,
            "origin": {name: getattr(origin, name) for name in type(origin).__slots__},
            "files": len(manifest.files),
            "raw": manifest.raw,
            "embedded": self.embedded,
            "groups": [
                {"name": group.name, "files": group.files, "raw": group.raw, "stored": group.stored}
                for group in self.groups
            ],
            "largest": [{"name": entry.name, "raw": entry.size, "stored": entry.stored} for entry in self.largest],
            "dropped": [{"rule": rule, "files": count, "raw": size} for rule, count, size in manifest.dropped],
        }

    def to_text(self) -> str:
        """Return the report for people."""
        manifest = self.manifest
        lines = [
            f"{self.directory}: {_source(manifest.origin)}",
            f"  contentHash {manifest.content_hash}",
            self._figures(),
            "",
            *_table(("group", "files", "extracted", "embedded"), _rows(_shortened(self.groups))),
            "",
            *_table(
                ("largest files", "extracted", "embedded"),
                [(entry.name, human_bytes(entry.size), human_bytes(entry.stored)) for entry in self.largest],
            ),
        ]
        if manifest.dropped:
            rules = [(rule, str(count), human_bytes(size)) for rule, count, size in manifest.dropped]
            lines += ["", *_table(("dropped by rule", "files", "extracted"), rules)]
        return "\n".join(lines)

    def _figures(self) -> str:
        raw, embedded = human_bytes(self.manifest.raw), human_bytes(self.embedded)
        return f"  {len(self.manifest.files)} files, {raw} extracted, {embedded} embedded ({self.manifest.codec})"


def _source(origin: Origin) -> str:
    """Return where a bundle comes from; bundles made by the Go runtime do not say it."""
    if not origin.python:
        return "of unknown origin"
    details = ", ".join(filter(None, [f"PBS {origin.pbs}" if origin.pbs else "", origin.flavour]))
    only = "" if origin.portable else ", for this machine only"
    return f"Python {origin.python} for {origin.triple} ({details}){only}"


def inspect(directory: Path) -> Report:
    """Describe the bundle in a folder; ArchiveError if its manifest cannot be read."""
    manifest = read_bundle(directory)
    files = sorted(manifest.files, key=lambda entry: (-entry.stored, entry.name))
    return Report(
        directory=directory,
        manifest=manifest,
        embedded=embedded_size(manifest),
        groups=tuple(_groups(manifest)),
        largest=tuple(files[:_LARGEST]),
    )


def _groups(manifest: Manifest) -> list[Share]:
    members: Mapping[str, list[Entry]] = defaultdict(list)
    for entry in manifest.files:
        members[_group(entry.name)].append(entry)
    shares = [
        Share(name, len(found), sum(e.size for e in found), sum(e.stored for e in found))
        for name, found in members.items()
    ]
    return sorted(shares, key=lambda share: (-share.stored, share.name))


def _group(name: str) -> str:
    """Return a file's group: its folder, within the standard library its package, down to three elements."""
    folders = name.split("/")[:-1]
    return "/".join(folders[:3]) if folders else "."


def _shortened(groups: Sequence[Share]) -> list[Share]:
    """Return the groups that take most, and all others as one."""
    others = groups[_LARGEST:]
    if not others:
        return list(groups)
    rest = Share(
        f"{len(others)} others",
        sum(group.files for group in others),
        sum(group.raw for group in others),
        sum(group.stored for group in others),
    )
    return [*groups[:_LARGEST], rest]


def _rows(groups: Iterable[Share]) -> list[tuple[str, ...]]:
    return [(group.name, str(group.files), human_bytes(group.raw), human_bytes(group.stored)) for group in groups]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield lines with columns as wide as what is in them: names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        figures = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([f"  {row[0]:<{widths[0]}}", *figures]).rstrip()
