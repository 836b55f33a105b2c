"""An MLflow server on loopback that keeps its files in a folder."""

from __future__ import annotations

import os
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


@contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """Run a server while the block runs; return its address, which is always the same for a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "port.json"
    if not note.exists():
        write_json(note, {"port": _free_port()})
    port = read_json(note)["port"]
    # Its queue's processes double the time to start.
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    command = (
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "files")),
    )
    session = Session(f"{folder} {uuid.uuid4()}")
    process = session.start(command, folder=folder, log=folder / "server.log")
    try:
        uri = f"http://127.0.0.1:{port}"
        _wait_until_it_answers(process, uri, folder)
        yield uri
    finally:
        session.kill_all()


def _wait_until_it_answers(process: subprocess.Popen[bytes], uri: str, folder: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{uri}/health", timeout=5):
            return
        time.sleep(0.2)
    raise SystemExit(f"{folder}/server.log: MLflow's server does not answer at {uri}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
