"""Servers on loopback that answer everything in one wrong way."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast


def _http(status: str, content: bytes = b"", kind: str = "text/html") -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(content)}", "Connection: close")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + content


ANSWERS = {
    "unauthorized": _http("401 Unauthorized"),
    "failing": _http("500 Internal Server Error"),
    "not-found": _http("404 Not Found"),
    "a-web-page": _http("200 OK", b"<html></html>"),
    "other-json": _http("200 OK", b"[]", "application/json"),
    "no-http": b"220 mail.example ESMTP\r\n",
    "closing": b"",
}


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    answer = b""


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        answer = cast(_Server, self.server).answer
        if answer.startswith(b"HTTP") or not answer:
            self.request.recv(65536)
        self.request.sendall(answer)


@contextmanager
def hostile_server(name: str) -> Iterator[int]:
    """Run a server that answers as `ANSWERS` says while the block runs; gives its port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.answer = ANSWERS[name]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
