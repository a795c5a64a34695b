"""Lists of archive sums: matrix.lock and the SHA256SUMS of a release, both as ``sha256sum`` writes them."""

import re
from collections.abc import Mapping
from typing import TypeAlias

from pyembed_gen.errors import FetchError, PyembedError

__all__ = ["Sums", "parse", "render"]

Sums: TypeAlias = Mapping[str, str]
"""Asset name to the sha256 of its bytes, as 64 lowercase hex digits."""

# GNU coreutils, "cksum output modes": the sum, a blank, a blank or `*` (binary), the name.
_LINE = re.compile(r"(?P<sum>[0-9A-Fa-f]{64}) [ *](?P<asset>[^\x00-\x1f\x7f]+)")


def parse(text: str, *, where: str, error: type[PyembedError] = FetchError, hint: str = "") -> dict[str, str]:
    """Read ``<sha256>  <asset>`` lines; blank lines are skipped and either line ending is fine.

    ``where`` is the file or URL that ``text`` came from. Raises ``error`` with ``hint`` for a line of any
    other form, an asset that is not a plain file name, and an asset that is listed with two sums.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            _add_line(line.rstrip("\r"), sums)
        except ValueError as reason:
            raise error(f"reading sums from {where}: line {number}: {reason}", hint=hint) from None
    return sums


def _add_line(line: str, sums: dict[str, str]) -> None:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"expected a sha256, two blanks and an asset, found {line[:100]!r}")
    asset = match["asset"]
    if "/" in asset or "\\" in asset or asset in {".", ".."}:
        raise ValueError(f"{asset!r} is not a plain file name")
    digest = match["sum"].lower()
    if sums.setdefault(asset, digest) != digest:
        raise ValueError(f"{asset} is listed twice, with different sums")


def render(sums: Sums) -> str:
    """Write ``sums`` as :func:`parse` and ``sha256sum --check`` read them, in byte order of the names."""
    names = sorted(sums, key=str.encode)
    return "".join(f"{sums[name]}  {name}\n" for name in names)
