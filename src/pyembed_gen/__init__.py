"""Puts a relocatable CPython and pip packages into Go binaries with ``//go:embed``.

The command line is the public interface (:mod:`pyembed_gen.cli`). The stages behind it are
plain functions from one frozen dataclass to the next:

    matrix -> plan -> fetch -> unpack -> prune -> transform -> pack -> emit
"""

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """Look up the version when somebody asks: it takes longer than an unchanged run may."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import version  # noqa: PLC0415

    return version("pyembed-gen")
