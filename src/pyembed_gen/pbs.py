"""The shape of a python-build-standalone tree, and what its PYTHON.json says.

Full archives hold ``python/PYTHON.json``, ``python/install/``, ``python/licenses/`` and ``python/build/``
(PBS docs, "Distribution Archives"); install_only archives hold the installation itself as ``python/``.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from pyembed_gen.errors import ArchiveError
from pyembed_gen.matrix import is_version
from pyembed_gen.tree import Facts

__all__ = ["FACTS", "MAX_FACTS", "area", "facts", "is_patchlevel", "version_in_patchlevel"]

FACTS = "python/PYTHON.json"
MAX_FACTS = 16 << 20  # real ones have about 200 KB
_HINT = "is it an archive of PBS?"
_PATCHLEVEL = re.compile(r"(?:python/|python/install/)include/(?:python3[^/]*/)?patchlevel\.h")
_PY_VERSION = re.compile(rb'^[ \t]*#[ \t]*define[ \t]+PY_VERSION[ \t]+"([0-9a-z.]+)\+?"', re.MULTILINE)


def area(name: str) -> tuple[str, str]:
    """Return which part of a PBS tree a member belongs to, and its name there.

    Parts are ``install``, ``licenses``, ``build``, ``facts``, and ``other`` for what lies outside.
    """
    if name == FACTS:
        return "facts", ""
    parts = name.split("/", 2)
    if parts[0] != "python" or len(parts) == 1:
        return "other", name
    if parts[1] in ("install", "licenses", "build") and len(parts) > 2:  # noqa: PLR2004
        return parts[1], parts[2]
    return "install", name.removeprefix("python/")


def facts(content: bytes) -> tuple[Facts, bytes]:
    """Read PYTHON.json: what the generator wants to know, and the digest of licences it keeps.

    Raises ArchiveError if it is not JSON, lacks its main keys or names no version of CPython.
    """
    try:
        values = _table(json.loads(content), "it")
        found = Facts(
            version=_text(values["python_version"]),
            triple=_text(values["target_triple"]),
            test_packages=tuple(sorted(_texts(values.get("python_stdlib_test_packages", [])))),
        )
        if not is_version(found.version):
            raise ArchiveError(f"PYTHON.json names no CPython version: {found.version!r:.40}", hint=_HINT)
        return found, _license_digest(values)
    except KeyError as error:
        raise ArchiveError(f"reading PYTHON.json: it has no {error}", hint=_HINT) from error
    except (ValueError, RecursionError, TypeError) as error:
        raise ArchiveError(f"reading PYTHON.json: {error}", hint=_HINT) from error


def _license_digest(values: Mapping[str, Any]) -> bytes:
    """Return what PYTHON.json says about licences alone, as JSON with sorted keys.

    SPDX names of CPython and of each extension module's libraries, with the texts' paths in ``licenses/``.
    """
    build = _table(values.get("build_info", {}), "build_info")
    extensions = _table(build.get("extensions", {}), "build_info.extensions")
    found = {
        name: kept
        for name, variants in extensions.items()
        if (kept := _licenses(variants[0] if isinstance(variants, list) and variants else variants))
    }
    digest = {
        "python": _licenses(values) | {"version": values["python_version"]},
        "extensions": found,
    }
    return json.dumps(digest, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def is_patchlevel(name: str) -> bool:
    """Whether a member is CPython's patchlevel.h, which names its exact version."""
    return _PATCHLEVEL.fullmatch(name) is not None


def version_in_patchlevel(content: bytes) -> str:
    """Return PY_VERSION of a patchlevel.h, or an empty text."""
    match = _PY_VERSION.search(content)
    return match.group(1).decode("ascii") if match else ""


def _licenses(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        return {}
    keys = ("licenses", "license_path", "license_paths", "license_public_domain")
    return {key: values[key] for key in keys if values.get(key)}


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object")
    return value


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r} is not a list")
    return [_text(value) for value in values]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value
