"""A local package index with tiny wheels: PEP 503 pages, PEP 691 answers, PEP 658 metadata, over http.

with Index() as index:
    index.add(dist("click", "8.1.8", requires=("colorama; sys_platform == 'win32'",)))
    ... f"--index-url={index.url}/simple" ...
    assert index.asked("/simple/click/")
"""

import base64
import hashlib
import html
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

from web import _PATIENCE, Reply, _Running
from wheels import PURE, Build, archive

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, slots=True)
class Dist:
    """A file of an index: a wheel, or anything that is called like a source archive."""

    filename: str
    data: bytes = field(repr=False)
    metadata: bytes = field(default=b"", repr=False)
    python: str = ""

    @property
    def name(self) -> str:
        """The normalised name of the distribution."""
        wheel = self.filename.endswith(".whl")
        return parse_wheel_filename(self.filename)[0] if wheel else parse_sdist_filename(self.filename)[0]

    @property
    def sha256(self) -> str:
        """The sum of the file."""
        return hashlib.sha256(self.data).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write the file into a folder."""
        path = folder / self.filename
        path.write_bytes(self.data)
        return path


def dist(
    name: str,
    version: str = "1.0",
    *,
    requires: Iterable[str] = (),
    extras: Iterable[str] = (),
    python: str = "",
    tag: str = PURE,
    files: Mapping[str, bytes] | None = None,
) -> Dist:
    """Build a wheel."""
    module = name.replace("-", "_").replace(".", "_")
    lines = [
        *("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"),
        *([f"Requires-Python: {python}"] if python else []),
        *(f"Provides-Extra: {extra}" for extra in extras),
        *(f"Requires-Dist: {requirement}" for requirement in requires),
    ]
    metadata = "".join(f"{line}\n" for line in lines)
    content = {f"{module}.py": b"" if files is None else b"#", **(files or {})}
    build = Build(module, version, content, tag=tag, metadata=metadata)
    return Dist(build.filename, archive(build.members()), metadata.encode(), python)


class Index(_Running):
    """An index. ``faults`` are answers given instead, by path; with ``account``, others get a 401.

    ``html``: no JSON. ``hashes``: links have sums. ``metadata``: it is served apart (PEP 658).
    """

    def __init__(
        self, *, account: str = "", html: bool = False, hashes: bool = True, metadata: bool = True, sums: str = ""
    ) -> None:
        super().__init__(_Handler)
        self.account = account
        self.html = html
        self.hashes = hashes
        self.metadata = metadata
        self.sums = sums
        self.faults: dict[str, Reply] = {}
        self.paths: list[str] = []
        self.files: dict[str, Dist] = {}

    @property
    def simple(self) -> str:
        """The URL for ``--index-url``, without an account."""
        return f"{self.url}/simple"

    @property
    def secret(self) -> str:
        """The URL for ``--index-url``, with the account."""
        return self.simple.replace("://", f"://{self.account}@")

    def add(self, *files: Dist) -> None:
        """Take files in."""
        self.files |= {file.filename: file for file in files}

    def link(self, file: Dist) -> str:
        """Return the URL of a file."""
        return f"{self.url}/files/{file.filename}"

    def asked(self, path: str) -> int:
        """Return how often a path was asked for."""
        return self.paths.count(path)

    def answer(self, path: str, accept: str) -> Reply:
        """Return what is at a path."""
        top, _, rest = path.strip("/").partition("/")
        if top == "simple":
            files = [file for file in self.files.values() if file.name == canonicalize_name(rest)]
            return self._page(files, accept) if files else Reply(status=404)
        name = rest.removesuffix(".metadata")
        if top == "files" and name in self.files:
            file = self.files[name]
            return Reply(file.data if name == rest else file.metadata)
        return Reply(status=404)

    def _page(self, files: list[Dist], accept: str) -> Reply:
        if self.html or JSON not in accept:
            anchors = "".join(self._anchor(file) for file in files)
            return Reply(f"<!DOCTYPE html>{anchors}".encode(), headers={"Content-Type": "text/html"})
        entries = [
            {
                "filename": file.filename,
                "url": f"../../files/{file.filename}",
                "hashes": {"sha256": self.sums or file.sha256} if self.hashes else {},
                **({"requires-python": file.python} if file.python else {}),
                **({"core-metadata": True} if self.metadata and file.metadata else {}),
            }
            for file in files
        ]
        page = {"meta": {"api-version": "1.1"}, "name": files[0].name, "versions": [], "files": entries}
        return Reply(json.dumps(page).encode(), headers={"Content-Type": JSON})

    def _anchor(self, file: Dist) -> str:
        fragment = f"#sha256={self.sums or file.sha256}" if self.hashes else ""
        python = f' data-requires-python="{html.escape(file.python)}"' if file.python else ""
        metadata = ' data-core-metadata="true"' if self.metadata and file.metadata else ""
        return f'<a href="../../files/{file.filename}{fragment}"{python}{metadata}>{file.filename}</a>'


class _Handler(BaseHTTPRequestHandler):
    owner: Index
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.owner.paths.append(path)
        account = base64.b64encode(self.owner.account.encode()).decode()
        if self.owner.account and self.headers.get("Authorization") != f"Basic {account}":
            reply = Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="index"'})
        else:
            reply = self.owner.faults.get(path) or self.owner.answer(path, self.headers.get("Accept", ""))
        self.owner.closing.wait(reply.delay)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body[: reply.cut])
        if reply.stall is not None:
            end = time.monotonic() + _PATIENCE
            while not self.owner.closing.wait(0.02) and time.monotonic() < end:
                pass
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass
