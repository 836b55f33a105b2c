"""An HTTP server on loopback that sends files well, or badly in a way that is asked for."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


@dataclass
class Served:
    """One address: what is sent, and how."""

    content: bytes = b""
    etag: str | None = '"first"'
    modified: str | None = None
    ranges: bool = True
    wrong_range: bool = False
    """Answers a request for the rest with a rest that begins elsewhere."""
    unsaid_total: bool = False
    """Sends the rest as `bytes a-b/*`: without saying how long the whole is."""
    refuses_rest: bool = False
    """Answers every request for the rest with 416."""
    length: bool = True
    """Says how long the file is."""
    kind: str = "application/octet-stream"
    encoding: str | None = None
    statuses: list[int] = field(default_factory=list)
    """For the next requests, one each, instead of the file."""
    cuts: list[int] = field(default_factory=list)
    """For the next requests, one each: close the connection after so many bytes."""
    stalls: list[int] = field(default_factory=list)
    """For the next requests, one each: say nothing more after so many bytes."""
    location: str | None = None
    silent_seconds: float = 0.0


@dataclass
class Asked:
    """A request, and how many bytes of content go out for it."""

    path: str
    range: str | None
    sent: int = 0


class Server(ThreadingHTTPServer):
    """Serves `files`; `asked` is what was asked for, in order."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Served] = {}
        self.asked: list[Asked] = []
        self.stopping = threading.Event()

    def address(self, name: str, *, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.server_address[1]}/{name}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = cast(Server, self.server)
        asked = Asked(self.path, self.headers.get("Range"))
        server.asked.append(asked)
        file = server.files.get(self.path.lstrip("/"))
        if file is None:
            self._answer(404, {"Content-Length": "0"})
            return
        time.sleep(file.silent_seconds)
        if file.statuses:
            self._answer(file.statuses.pop(0), {"Content-Length": "0"})
        elif file.location is not None:
            self._answer(302, {"Location": file.location, "Content-Length": "0"})
        else:
            self._send(file, asked)

    def _send(self, file: Served, asked: Asked) -> None:
        begin, total = self._begin(file), len(file.content)
        headers = {"Content-Type": file.kind}
        if file.etag:
            headers["ETag"] = file.etag
        if file.modified:
            headers["Last-Modified"] = file.modified
        if file.encoding:
            headers["Content-Encoding"] = file.encoding
        if begin is not None and (begin >= total or file.refuses_rest):
            self._answer(416, {"Content-Range": f"bytes */{total}", "Content-Length": "0"})
            return
        if begin is not None:
            begin -= 1 if file.wrong_range else 0
            headers["Content-Range"] = f"bytes {begin}-{total - 1}/{'*' if file.unsaid_total else total}"
        content = file.content[begin or 0 :]
        if file.length:
            headers["Content-Length"] = str(len(content))
        else:
            headers["Connection"] = "close"
        self._answer(200 if begin is None else 206, headers)
        stalls = file.stalls.pop(0) if file.stalls else None
        content = content[: file.cuts.pop(0)] if file.cuts else content[:stalls]
        asked.sent = len(content)  # before the client has it all and looks
        self.wfile.write(content)
        if stalls is not None:
            cast(Server, self.server).stopping.wait()
        self.close_connection = True

    def _begin(self, file: Served) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, file.etag, file.modified)
        return int(match[1]) if match and file.ranges and same else None

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server while the block runs; with a context for https."""
    with Server() as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()
