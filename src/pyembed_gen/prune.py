"""Decides what of an installation is kept, by name alone.

Order: the drop rules (named, gitignore patterns), then the keep-globs: what none of them matches goes
under the rule ``not-kept``.
"""

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pathspec

from pyembed_gen.errors import UsageError
from pyembed_gen.matrix import Rule

__all__ = ["Globs", "Pruner", "anchored_globs"]

NOT_KEPT = "not-kept"
TESTS = "tests"

_WILDCARD = re.compile(r"(\*+|\?|\[[^]]+\])")


@dataclass(frozen=True, slots=True)
class Globs:
    """Compiled globs. Unlike with gitignore patterns, a folder that matches says nothing of what is in it."""

    expression: re.Pattern[str]

    def match_file(self, name: str) -> bool:
        """Whether one of the globs matches this file."""
        return self.expression.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Pruner:
    """Compiled drop rules and keep-globs of one installation; ``stdlib`` is its standard library's path."""

    stdlib: str
    rules: tuple[tuple[str, pathspec.GitIgnoreSpec], ...]
    keep: Globs
    test_packages: frozenset[str] = frozenset()

    @classmethod
    def compile(cls, drop: Sequence[Rule], keep: Sequence[str], *, stdlib: str) -> "Pruner":
        """Compile rules for an installation; UsageError for a pattern that is none."""
        return cls(
            stdlib=stdlib,
            rules=tuple(
                (rule.name, _spec([pattern.replace("{stdlib}", stdlib) for pattern in rule.patterns])) for rule in drop
            ),
            keep=anchored_globs(keep),
        )

    def with_test_packages(self, packages: Iterable[str]) -> "Pruner":
        """Return a pruner that also drops these dotted packages (python_stdlib_test_packages of PYTHON.json)."""
        if not any(name == TESTS for name, _ in self.rules):
            return self
        paths = frozenset(f"{self.stdlib}/{package.replace('.', '/')}" for package in packages)
        return Pruner(self.stdlib, self.rules, self.keep, paths)

    def rule(self, name: str) -> str | None:
        """Return the rule that drops the file of this name, or None if it is kept."""
        for rule, spec in self.rules:
            if spec.match_file(name):
                return rule
        if self._is_test(name):
            return TESTS
        return None if self.keep.match_file(name) else NOT_KEPT

    def _is_test(self, name: str) -> bool:
        if not self.test_packages:
            return False
        path = name.removesuffix(".py")
        while path:
            if path in self.test_packages:
                return True
            path = posixpath.dirname(path)
        return False


def anchored_globs(globs: Iterable[str]) -> Globs:
    """Compile globs that are relative to the root, so that ``*.dll`` does not match in a subfolder.

    ``*``, ``?`` and ``[ab]`` do not match ``/``, ``**`` is any number of folders, or at the end everything below.
    ``glob.translate`` does that from Python 3.13 on. Raises UsageError for a glob that is none.
    """
    sources = tuple(globs)
    try:
        return Globs(re.compile("|".join(map(_expression, sources)) or "(?!)", re.DOTALL))
    except re.error as error:
        raise UsageError(f"compiling the globs {sources}: {error}", hint="see glob(7)") from error


def _expression(glob: str) -> str:
    *folders, last = glob.removeprefix("/").split("/")
    above = ["(?:[^/]+/)*" if folder == "**" else f"{_element(folder)}/" for folder in folders]
    return "".join(above) + (".+" if last in ("**", "") else _element(last))


def _element(element: str) -> str:
    pieces = _WILDCARD.split(element)
    return "".join(_wildcard(piece) if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))


def _wildcard(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    negated = "^" if piece[1] in "!^" else ""
    return f"(?!/)[{negated}{re.escape(piece[len(negated) + 1 : -1])}]".replace(r"\-", "-")


def _spec(patterns: Sequence[str]) -> pathspec.GitIgnoreSpec:
    try:
        return pathspec.GitIgnoreSpec.from_lines(patterns)
    except (ValueError, re.error) as error:
        raise UsageError(f"compiling the patterns {patterns}: {error}", hint="see gitignore(5)") from error
