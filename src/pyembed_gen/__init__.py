"""Puts a relocatable CPython and pip packages into Go binaries with ``//go:embed``.

The command line is the public interface (:mod:`pyembed_gen.cli`). The stages behind it are
plain functions from one frozen dataclass to the next:

    matrix -> plan -> fetch -> unpack -> prune -> transform -> pack -> emit
"""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("pyembed-gen")
