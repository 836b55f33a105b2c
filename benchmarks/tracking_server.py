"""An MLflow server on loopback that keeps its files in a folder."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.sessions import Session
from essnet.atomic_files import read_json, write_json

_SECONDS = 90.0


class TrackingServer:
    """A server that can be killed and started again, at an address that is always the same for a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / "port.json"
        if not note.exists():
            write_json(note, {"port": _free_port()})
        self._folder = folder
        self.port = int(read_json(note)["port"])
        self.uri = f"http://127.0.0.1:{self.port}"
        self._session = Session(f"{folder} {uuid.uuid4()}")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        folder = self._folder
        # Its queue's processes double the time to start.
        os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
        command = (
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
            *("--artifacts-destination", str(folder / "files")),
        )
        process = self._session.start(command, folder=folder, log=folder / "server.log")
        _wait_until_it_answers(process, self.uri, folder)

    def kill(self) -> None:
        """End it and its workers at once."""
        self._session.kill_all()


@contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """Run a server while the block runs; return its address, which is always the same for a folder."""
    server = TrackingServer(folder)
    try:
        server.start()
        yield server.uri
    finally:
        server.kill()


def _wait_until_it_answers(process: subprocess.Popen[bytes], uri: str, folder: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{uri}/health", timeout=5):
            return
        time.sleep(0.2)
    raise SystemExit(f"{folder}/server.log: MLflow's server does not answer at {uri}")


def _free_port() -> int:
    """Return a port that nobody uses, also not for a moment while the server is away: systems hand out those above."""
    for port in random.sample(range(20_000, 32_000), 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise SystemExit("no free port on loopback")
