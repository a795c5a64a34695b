"""What sources yield and unpack takes: one member after another, each readable only while it is current."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from pyembed_gen.blobs import Readable

__all__ = ["Member", "Source"]


@dataclass(frozen=True, slots=True)
class Member:
    """A file, symlink or hard link of a PBS tree. Names begin with ``python/``, with ``/`` throughout.

    ``content`` is there for files alone and must be read before the next member is asked for.
    ``target`` of a hard link is the full name of another member.
    """

    name: str
    kind: Literal["file", "link", "hard"]
    size: int = 0
    executable: bool = False
    target: str = ""
    content: Readable | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where an installation comes from.

    ``members`` begins to read it anew at each call. ``portable`` is false for what runs only on the
    machine it was built for. ``archive`` and ``sha256`` name the archive (empty for folders).
    """

    members: Callable[[], Iterator[Member]]
    label: str
    archive: str = ""
    sha256: str = ""
    portable: bool = True
