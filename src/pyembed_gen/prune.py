"""Decides what of an installation is kept, by name alone.

Order: the drop rules (named, gitignore patterns), then the keep-globs: what none of them matches goes
under the rule ``not-kept``.
"""

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pathspec

from pyembed_gen.errors import UsageError
from pyembed_gen.matrix import Rule

__all__ = ["Pruner", "anchored_globs"]

NOT_KEPT = "not-kept"
TESTS = "tests"


@dataclass(frozen=True, slots=True)
class Pruner:
    """Compiled drop rules and keep-globs of one installation; ``stdlib`` is its standard library's path."""

    stdlib: str
    rules: tuple[tuple[str, pathspec.GitIgnoreSpec], ...]
    keep: pathspec.GitIgnoreSpec
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


def anchored_globs(globs: Iterable[str]) -> pathspec.GitIgnoreSpec:
    """Compile globs that are relative to the root, so that ``*.dll`` does not match in a subfolder."""
    return _spec([f"/{glob.removeprefix('/')}" for glob in globs])


def _spec(patterns: Sequence[str]) -> pathspec.GitIgnoreSpec:
    try:
        return pathspec.GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise UsageError(f"compiling the patterns {patterns}: {error}", hint="see gitignore(5)") from error
