"""What may lie between a trial and its MLflow server: a proxy on loopback that can be told to misbehave."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FORWARD, HANG, SWALLOW, FAIL = "forward", "hang", "swallow", "fail"
"""SWALLOW: requests arrive, but their answers never come back. HANG: connections are taken, and that is all."""


class Proxy:
    def __init__(self, target: str) -> None:
        self.mode = FORWARD
        self.swallow_only = ""
        self.swallowed: list[str] = []
        self.requests = 0
        self._target = urlsplit(target).netloc
        self._ended = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                proxy.answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: object) -> None:  # clients that have gone
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        mode, self.requests = self.mode, self.requests + 1
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if mode == HANG:
            self._ended.wait()
            return
        if mode == FAIL:
            request.send_error(500, "out of order")
            return
        connection = http.client.HTTPConnection(self._target, timeout=60)
        connection.request(request.command, request.path, body=body, headers={**request.headers, "Host": self._target})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if mode == SWALLOW and self.swallow_only in request.path:
            self.swallowed.append(request.path)
            self._ended.wait()
            return
        request.send_response(answer.status)
        request.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
