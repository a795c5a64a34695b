"""What a native program or library says of itself, whatever its format.

ELF, Mach-O and PE each have a module of their own that reads them into a :class:`Binary`.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Binary:
    """The facts of one ELF, Mach-O or PE file that decide where and with what it runs.

    ``machines`` holds ``x86_64``, ``aarch64``, ``i386``, ``arm``, ``ppc64le``, ``s390x`` or ``riscv64``
    (several for a universal Mach-O, otherwise one). ``needed`` lists what the loader must find, as written
    in the file: ELF DT_NEEDED, Mach-O LC_LOAD_DYLIB and its kin, PE imports, delay imports and forwarders.
    ``soname`` is DT_SONAME or the last element of LC_ID_DYLIB, ``runpath`` DT_RUNPATH, DT_RPATH or LC_RPATH.
    """

    format: Literal["elf", "macho", "pe"]
    machines: tuple[str, ...]
    kind: Literal["program", "library", "object"]
    needed: tuple[str, ...] = ()
    soname: str = ""
    runpath: tuple[str, ...] = ()
    interpreter: str = ""
