"""What pip chose for one target: exact wheels, before any of them is downloaded."""

from dataclasses import dataclass, field

from packaging.requirements import Requirement

from pyembed_gen.target import Target

__all__ = ["Item", "Resolution"]


@dataclass(frozen=True, slots=True)
class Item:
    """One wheel.

    ``name`` is the distribution's normalised name (PEP 503), ``version`` as PEP 440 normalises it.
    ``url`` is where it comes from, without credentials: https, http or file. ``filename`` is the
    wheel's own, which holds its tags. ``sha256`` is in lower-case hex, empty until it is known.
    ``requires`` are its Requires-Dist, as written; ``requires_python`` its Requires-Python.
    ``extras`` are those that somebody asked for, sorted. ``requested``: a requirement names it.
    ``direct``: it was asked for by URL or path, not by name from an index.
    """

    name: str
    version: str
    url: str
    filename: str
    sha256: str
    requires: tuple[str, ...] = ()
    requires_python: str = ""
    extras: tuple[str, ...] = ()
    requested: bool = False
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Resolution:
    """The wheels for one target, sorted by name; each name is there once.

    ``requirements`` and ``constraints`` are what pip was asked, as it understood it, with credentials. They are not
    compared: a resolution from a lock has none.
    """

    target: Target
    items: tuple[Item, ...]
    requirements: tuple[Requirement, ...] = field(default=(), repr=False, compare=False)
    constraints: tuple[Requirement, ...] = field(default=(), repr=False, compare=False)
