"""Targets, and resolutions that a test writes down as wheels, without pip."""

import hashlib
from collections.abc import Sequence

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from packing import platforms
from pyembed_gen.resolution import Item, Resolution
from pyembed_gen.target import Target, choose

ROWS = platforms()
INDEX = "https://files.invalid/packages"


def target(key: str = "linux/amd64", version: str = "3.14.9", **floors: str) -> Target:
    """Return the target of a row."""
    return choose(ROWS[key], version, floors)


def item(
    name: str,
    version: str,
    requires: Sequence[str] = (),
    *,
    tags: str = "py3-none-any",
    url: str = "",
    requires_python: str = "",
    requested: bool = False,
) -> Item:
    """Return a wheel of an index, or at a URL, with a sum of its own."""
    filename = f"{name.replace('-', '_')}-{version}-{tags}.whl"
    return Item(
        canonicalize_name(name),
        version,
        url or f"{INDEX}/{filename}",
        filename,
        hashlib.sha256(filename.encode()).hexdigest(),
        tuple(requires),
        requires_python,
        requested=requested,
        direct=bool(url),
    )


def resolution(*items: Item, on: Target | None = None) -> Resolution:
    """Return the resolution of these wheels."""
    return Resolution(on or target(), tuple(sorted(items, key=lambda one: one.name)))


def requirements(*lines: str) -> list[Requirement]:
    """Return the requirements that lines are."""
    return [Requirement(line) for line in lines]
