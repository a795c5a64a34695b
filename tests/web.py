"""A local web server that misbehaves on request, and a small forwarding proxy.

    with Web() as web:
        web.serve("/20261021/a.tar.zst", Reply(status=503), Reply(archive, etag='"1"'))
        ... f"{web.url}/20261021/a.tar.zst" ...
        assert web.requests[1].headers["Range"] == "bytes=100-"

The replies of a path are given one after the other, and the last one again and again.
"""

import socket
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

CERTIFICATE = Path(__file__).parent / "data" / "tls" / "localhost-certificate.pem"

_BLOCK = 1 << 16
_PATIENCE = 10.0  # seconds after which no server thread waits any longer


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server does with one request.

    ``body`` is the whole file; with ``etag`` or ``modified`` given, Range is answered with 206 if If-Range
    agrees (``ranges=False``: never). ``cut``: close the connection after so many bytes of the body. ``stall``:
    after so many bytes, send nothing more and keep the connection. ``announce``: Content-Length to claim.
    ``chunked``: no Content-Length. ``endless``: repeat the body, chunked, until the client goes away.
    ``delay``: seconds before the answer.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""
    modified: str = ""
    ranges: bool = True
    cut: int | None = None
    stall: int | None = None
    announce: int | None = None
    chunked: bool = False
    endless: bool = False
    delay: float = 0.0

    def facts(self) -> dict[str, str]:
        """Return the headers that say which version of the file this is."""
        return {name: value for name, value in (("ETag", self.etag), ("Last-Modified", self.modified)) if value}


def page(text: str = "<!DOCTYPE html><title>Sign in</title>") -> Reply:
    """Answer with a web page, as login pages and captive portals do."""
    return Reply(text.encode(), headers={"Content-Type": "text/html; charset=utf-8"})


def redirect(to: str, status: int = 302) -> Reply:
    """Send the client to another URL or path."""
    return Reply(status=status, headers={"Location": to})


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for: method, path as sent, headers."""

    method: str
    path: str
    headers: Message


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them, so that no socket is left open

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up; they are meant to."""
        del request, client_address
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError, ssl.SSLError)):
            raise  # noqa: PLE0704 - called from an except clause


class _Running:
    """A server in a thread, for a ``with`` statement."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> None:
        self.closing = threading.Event()
        bound = type(handler.__name__, (handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), bound)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Web(_Running):
    """A server of scripted replies. ``requests`` is what it was asked; a path without a script is a 404."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(_Handler, tls)
        self.requests: list[Request] = []
        self._scripts: dict[str, list[Reply]] = {}
        self._guard = threading.Lock()

    def serve(self, path: str, *replies: Reply | bytes) -> str:
        """Set the replies of a path (unquoted, as ``/a+b``), or of ``*``: any other; return its URL."""
        script = [reply if isinstance(reply, Reply) else Reply(reply) for reply in replies]
        with self._guard:
            self._scripts[path] = script
        return self.url + path

    def next_reply(self, request: Request) -> Reply:
        """Note a request and return what is its turn."""
        path = unquote(urlsplit(request.path).path)
        with self._guard:
            self.requests.append(request)
            script = self._scripts.get(path) or self._scripts.get("*") or [Reply(b"no such file", status=404)]
            return script.pop(0) if len(script) > 1 else script[0]

    def asked(self, path: str) -> list[Request]:
        """Return the requests for one path (unquoted)."""
        return [request for request in self.requests if unquote(urlsplit(request.path).path) == path]


class _Handler(BaseHTTPRequestHandler):
    owner: Web
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE

    def do_GET(self) -> None:
        reply = self.owner.next_reply(Request(self.command, self.path, self.headers))
        self.owner.closing.wait(reply.delay)
        offset = self._offset(reply)
        if offset is not None and offset >= len(reply.body):
            self._head(416, {"Content-Range": f"bytes */{len(reply.body)}", "Content-Length": "0"})
        elif reply.chunked or reply.endless:
            self._head(reply.status, {"Transfer-Encoding": "chunked"} | reply.facts() | dict(reply.headers))
            self._chunks(reply)
        else:
            self._whole(reply, offset)
        self.close_connection = True

    def _offset(self, reply: Reply) -> int | None:
        """Return where the answer is to begin, or None for a plain 200."""
        asked = self.headers.get("Range", "")
        condition = self.headers.get("If-Range")
        if not asked or not reply.ranges or not reply.facts() or reply.status != 200:
            return None
        if condition is not None and condition not in reply.facts().values():
            return None
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def _whole(self, reply: Reply, offset: int | None) -> None:
        body = reply.body[offset or 0 :]
        length = len(body) if reply.announce is None else reply.announce
        headers = {"Content-Length": str(length)} | reply.facts()
        if offset is not None:
            headers["Content-Range"] = f"bytes {offset}-{len(reply.body) - 1}/{len(reply.body)}"
        self._head(reply.status if offset is None else 206, headers | dict(reply.headers))
        self._send(body, reply)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def _send(self, body: bytes, reply: Reply) -> None:
        end = min((limit for limit in (reply.cut, reply.stall) if limit is not None), default=len(body))
        for start in range(0, min(end, len(body)), _BLOCK):
            self.wfile.write(body[start : min(start + _BLOCK, end)])
        self.wfile.flush()
        if reply.stall is not None:
            self._wait_for_the_client_to_leave()

    def _wait_for_the_client_to_leave(self) -> None:
        end = time.monotonic() + _PATIENCE
        self.connection.settimeout(0.02)
        while not self.owner.closing.is_set() and time.monotonic() < end:
            with suppress(TimeoutError):
                if not self.connection.recv(1):
                    return

    def _chunks(self, reply: Reply) -> None:
        while not self.owner.closing.is_set():
            for start in range(0, len(reply.body), _BLOCK):
                block = reply.body[start : start + _BLOCK]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            if not reply.endless:
                break
        if reply.cut is None:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


class Proxy(_Running):
    """A forwarding proxy for http. ``urls`` is what went through it; with ``status``, it refuses everything."""

    def __init__(self, status: int | None = None) -> None:
        super().__init__(_Forwarder)
        self.status = status
        self.urls: list[str] = []


class _Forwarder(BaseHTTPRequestHandler):
    owner: Proxy
    timeout = _PATIENCE

    def do_GET(self) -> None:
        self.owner.urls.append(self.path)
        if self.owner.status is not None:
            self.send_error(self.owner.status)
            return
        target = urlsplit(self.path)
        connection = HTTPConnection(target.hostname or "", target.port, timeout=_PATIENCE)
        try:
            connection.request("GET", target.path, headers=dict(self.headers))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.owner.urls.append(self.path)
        self.send_error(self.owner.status or 405)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def closed_port() -> int:
    """Return a port of this machine at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tls() -> ssl.SSLContext:
    """Return a server's context with :data:`CERTIFICATE`, which vouches for 127.0.0.1 and for itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_name("localhost-test-key.pem"))
    return context
