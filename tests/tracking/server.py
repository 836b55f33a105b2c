"""A real MLflow server on loopback that can be stopped and started again."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its queue's processes double the time to start
}


class Server:
    """Options and environment are those of `mlflow server`; with the file of an authority it speaks TLS."""

    def __init__(
        self,
        folder: Path,
        *,
        backend: str | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        authority: Path | None = None,
    ) -> None:
        self._folder = folder
        self._backend = backend or f"sqlite:///{folder / 'server.db'}"
        self._options = options
        self._environment = environment or {}
        self._trusted = None if authority is None else ssl.create_default_context(cafile=str(authority))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.uri = f"{'http' if authority is None else 'https'}://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)),
                    *("--workers", "1", "--backend-store-uri", self._backend),
                    *("--artifacts-destination", str(self._folder / "artifacts")),
                    *self._options,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_ENVIRONMENT, **self._environment},
                start_new_session=True,
            )
        deadline = time.monotonic() + 90
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()
            assert time.monotonic() < deadline, (self._folder / "server.log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server and the workers that it started."""
        if self._process is None:
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5, context=self._trusted) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
