"""What requirement files say, as far as it must be known without pip: which files they are, and where pip looks.

Lines are read as pip's parser reads them (pip, "Requirements file format"); it is pip that judges them. A requirement
that no wheel can satisfy, a folder or a repository, is refused here, before pip would run code to build it.
"""

import codecs
import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from optparse import OptionParser, Values
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn
from urllib.parse import urljoin, urlsplit

from pyembed_gen.errors import PipError
from pyembed_gen.url import shown

__all__ = ["Input", "Reading", "Requirements", "read"]

_REMOTE = re.compile(r"(http|https|file):", re.IGNORECASE)
_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_REPOSITORY = re.compile(r"(?:^|@\s*)(?:git|hg|svn|bzr)\+\w", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://\S+")
_EXTRAS = re.compile(r"\[[^\[\]]*\]$")
_SDISTS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar", ".tar.xz", ".tbz", ".txz", ".tlz", ".tar.lz", ".tar.lzma")
# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What is asked for: requirement strings, requirement files, constraint files.

    Names of files are paths, relative to ``folder``, or URLs. Paths inside a file that name other such files are
    relative to that file, paths of wheels relative to ``folder``: so pip has it.
    """

    strings: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    folder: Path = field(default_factory=Path.cwd)


@dataclass(frozen=True, slots=True)
class Input:
    """A file that decides what is resolved: absolute path or URL without credentials, and sha256 in lower-case hex.

    The sum of a file that only a server has is empty: nobody knows whether it is still the same.
    """

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What requirement files come to.

    ``inputs`` are all files read and the wheels that they name by path, sorted. ``options`` are lines that say where
    pip looks, one option each, ready for another file. ``urls`` are the URLs of requirements, credentials and all,
    and none of them may be shown.
    """

    inputs: tuple[Input, ...]
    options: tuple[str, ...] = field(repr=False)
    urls: tuple[str, ...] = field(repr=False)


def read(requirements: Requirements) -> Reading:
    """Read all files, recursively. Raises PipError for one that cannot be read, and for what cannot be a wheel."""
    return _Reader(requirements.folder).read(requirements)


@dataclass(frozen=True, slots=True)
class _Line:
    requirement: str
    values: Values
    where: str


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._parser = _parser()
        self._inputs: dict[str, str] = {}
        self._options: list[str] = []
        self._urls: list[str] = []

    def read(self, requirements: Requirements) -> Reading:
        for string in requirements.strings:
            self._requirement(string, repr(string))
        for name in (*requirements.files, *requirements.constraints):
            self._file(name if _REMOTE.match(name) else str(self._folder / name), "")
        inputs = tuple(Input(path, digest) for path, digest in sorted(self._inputs.items()))
        return Reading(inputs, tuple(dict.fromkeys(self._options)), tuple(self._urls))

    def _file(self, name: str, where: str) -> None:
        """Read a file by its absolute path; what is at a URL stays unread. ``where`` is the line that names it."""
        key = shown(name) if _REMOTE.match(name) else os.path.abspath(name)  # noqa: PTH100 - as pip has it
        if key in self._inputs:
            return
        self._inputs[key] = ""
        if _REMOTE.match(name):
            return
        data = self._content(Path(key), where)
        self._inputs[key] = hashlib.sha256(data).hexdigest()
        for line in self._lines(_text(data), key):
            if line.requirement or line.values.editables:
                text = line.requirement or line.values.editables[0]
                self._requirement(text, line.where, editable=bool(line.values.editables))
            elif line.values.requirements or line.values.constraints:
                self._file(_beside(key, (line.values.requirements or line.values.constraints)[0]), line.where)
            else:
                self._options += _options(line.values, key)

    def _content(self, path: Path, where: str) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            what = f"{path}: {error.strerror or error}"
            doing = f"reading {where}" if where else "reading requirements"
            raise PipError(f"{doing}: {what}", hint="check the name; it is relative to the file that has it") from error

    def _lines(self, text: str, name: str) -> Iterator[_Line]:
        for number, line in _joined(text):
            arguments, options = _split(line)
            try:
                values, _ = self._parser.parse_args(shlex.split(options))
            except ValueError:
                continue  # pip will say what is wrong with it
            yield _Line(arguments, values, f"line {number} of {name}")

    def _requirement(self, text: str, where: str, *, editable: bool = False) -> None:
        """Take in one requirement."""
        self._urls += _URL.findall(text)
        bare = _EXTRAS.sub("", text.partition("; " if "://" in text else ";")[0].strip())
        target = bare.partition(" @ ")[2].strip() or bare
        path = urlsplit(target).path if _URL.match(target) else target
        local = self._folder / target
        if editable:
            problem = "it is editable, which no wheel is"
        elif _REPOSITORY.search(text):
            problem = "it is a repository, not a wheel"
        elif path.lower().endswith(_SDISTS):
            problem = "it is a source archive, not a wheel"
        elif _is_path(target) and local.is_dir():
            problem = "it is a folder, not a wheel"
        else:
            if path.lower().endswith(".whl") and not _URL.match(target) and local.is_file():
                self._inputs[str(local)] = hashlib.sha256(local.read_bytes()).hexdigest()
            return
        what = f"{shown(text)!r} ({where})" if where != repr(text) else where
        hint = "build a wheel of it (pip wheel --no-deps) and name that"
        raise PipError(f"resolving {what}: {problem}", hint=hint)


def _is_path(text: str) -> bool:
    return text.startswith(".") or os.sep in text or "/" in text


def _beside(name: str, other: str) -> str:
    """Return where a file is that another one names."""
    if _REMOTE.match(other):
        return other
    return urljoin(name, other) if _REMOTE.match(name) else str(Path(name).parent / other)


def _text(data: bytes) -> str:
    """Decode as pip does. What is in a legacy encoding of the machine has its options in ASCII all the same."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    for line in data.split(b"\n")[:2]:
        if line.startswith(b"#") and (match := _CODING.search(line)):
            try:
                return data.decode(match[1].decode("ascii"), "replace")
            except LookupError:
                break
    return data.decode("utf-8", "replace")


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with the number of their first: continued by a backslash, without comments, variables filled in."""
    first, parts = 0, list[str]()
    for number, line in enumerate([*text.splitlines(), None], 1):
        if line is not None and line.endswith("\\") and not _COMMENT.match(line):
            first = first if parts else number
            parts.append(line.strip("\\"))
            continue
        comment = " " if line is not None and _COMMENT.match(line) else ""
        whole = _COMMENT.sub("", "".join([*parts, comment, line or ""])).strip()
        if whole:
            yield (first if parts else number), _VARIABLE.sub(lambda match: os.environ.get(match[1]) or match[0], whole)
        parts = []


def _split(line: str) -> tuple[str, str]:
    """Split a line before its first option."""
    tokens = line.split(" ")
    end = next((index for index, token in enumerate(tokens) if token.startswith("-")), len(tokens))
    return " ".join(tokens[:end]), " ".join(tokens[end:])


def _options(values: Values, name: str) -> Iterator[str]:
    """Yield what an option line says about where pip looks."""
    if values.no_index:
        yield "--no-index"
    if values.pre:
        yield "--pre"
    for option, found in (
        ("--index-url", [values.index_url] if values.index_url else []),
        ("--extra-index-url", values.extra_index_urls or []),
        ("--find-links", [_near(link, name) for link in (values.find_links or [])[:1]]),
        ("--trusted-host", values.trusted_hosts or []),
    ):
        yield from (f"{option} {shlex.quote(value)}" for value in found)


def _near(link: str, name: str) -> str:
    """Return a folder of wheels beside the file, if it is there; else pip looks for it where it runs."""
    beside = Path(name).parent / link
    return str(beside) if beside.exists() else link


class _Parser(OptionParser):
    def exit(self, status: int = 0, msg: str | None = None) -> NoReturn:
        del status
        raise ValueError(msg)


_REPEATED: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "extra_index_urls": ("--extra-index-url",),
        "constraints": ("-c", "--constraint"),
        "requirements": ("-r", "--requirement"),
        "editables": ("-e", "--editable"),
        "find_links": ("-f", "--find-links"),
        "trusted_hosts": ("--trusted-host",),
        "others": (
            *("--no-binary", "--only-binary", "--all-releases", "--only-final", "--use-feature", "--hash"),
            *("-C", "--config-settings"),
        ),
    }
)
_FLAGS = ("--no-index", "--pre", "--prefer-binary", "--require-hashes", "--no-require-hashes")


def _parser() -> OptionParser:
    """Return a parser of all options that a line may have, so that abbreviations mean what they mean to pip."""
    parser = _Parser(add_help_option=False)
    parser.add_option("-i", "--index-url", "--pypi-url", dest="index_url")
    for dest, names in _REPEATED.items():
        parser.add_option(*names, action="append", dest=dest)  # no default: a list would be shared by all lines
    for name in _FLAGS:
        parser.add_option(name, action="store_true")
    return parser
