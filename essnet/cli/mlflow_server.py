"""MLflow's own server as a child of a command: started, waited for, ended with all its processes.

It ends with the command, even where that is killed: see `end_with_parent`.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_START_SECONDS = 180.0
_END_SECONDS = 20.0
_END_WITH_PARENT = Path(__file__).with_name("end_with_parent.py")
_WILDCARDS = ("0.0.0.0", "::")
_KNOWN_TO_MLFLOW = ("127.0.0.1", "localhost", "::1")
"""By other names it lets nobody in who does not say so beforehand: pages of others could use a browser for that."""
# The UI only shows: no background jobs, and one process instead of four.
_SETTINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@dataclass(frozen=True)
class Credentials:
    """Who may look."""

    username: str
    password: str


@dataclass(frozen=True)
class MlflowServer:
    """A server that runs."""

    address: str
    process: subprocess.Popen[bytes]


@contextmanager
def mlflow_server(
    store: str, *, host: str, port: int, artifacts: Path, credentials: Credentials | None = None
) -> Iterator[MlflowServer]:
    """Start MLflow's server on a store, wait until it answers, and end it with all its processes afterwards.

    Parameters
    ----------
    store
        The address of its database.
    host, port
        Where it listens.
    artifacts
        Folder for artifacts of experiments that are made through it.
    credentials
        Whom it lets in; None: everybody.

    Raises
    ------
    RuntimeError
        If it ends or is silent instead, with the last line of what it said.
    """
    with tempfile.TemporaryDirectory(prefix="essnet-ui-") as folder:
        command = [sys.executable, "-I", str(_END_WITH_PARENT), folder,
                   sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1",
                   "--artifacts-destination", str(artifacts.absolute())]  # fmt: skip
        if host not in _KNOWN_TO_MLFLOW:
            names = [f"{name}:{port}" for name in (_own_names() if host in _WILDCARDS else [_in_address(host)])]
            command += ["--allowed-hosts", ",".join(names)]
            command += ["--cors-allowed-origins", ",".join(f"http://{name}" for name in names)]
        # The store by the environment, as secrets are: everybody sees command lines.
        environment = {**os.environ, **_SETTINGS, "MLFLOW_BACKEND_STORE_URI": store}
        if credentials is not None:
            command += ["--app-name", "basic-auth"]
            environment |= _with_password(credentials, Path(folder))
        log = Path(folder) / "server.log"
        with log.open("wb") as stream:
            # A session of its own, so that the server and its workers end together.
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait(process, f"http://{_in_address(_reachable(host))}:{port}/health", log)
            yield MlflowServer(f"http://{_in_address(_known_as(host))}:{port}", process)
        finally:
            _end(process)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens on `host`."""
    return host in ("localhost", "::1") or host.startswith("127.")


def take_port(host: str, port: int) -> int:
    """Return a port of `host` that a server can listen on: `port`, or any where it is 0.

    Raises
    ------
    OSError
        If it is in use, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as probe:
        return int(probe.getsockname()[1])


def _with_password(credentials: Credentials, folder: Path) -> Mapping[str, str]:
    """Write the settings of a server that lets in one user, who is forgotten with the folder."""
    settings = folder / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = MANAGE\n"
        f"database_uri = sqlite:///{folder / 'users.db'}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
        encoding="utf-8",
    )
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": credentials.username,
        "MLFLOW_AUTH_ADMIN_PASSWORD": credentials.password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
    }


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(address):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
            said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
            raise RuntimeError(f"MLflow's server does not start; the last that it said: {said}")
        time.sleep(0.1)


def _answers(address: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    # The impatient press Ctrl-C again; the server would stay.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    assert process.stdin is not None
    process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reachable(host: str) -> str:
    """Return the address by which this machine itself reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _known_as(host: str) -> str:
    """Return the name by which others reach a server that listens on `host`."""
    return socket.getfqdn() if host in _WILDCARDS else host


def _own_names() -> list[str]:
    """Return the names and addresses by which this machine may be called."""
    names = {"localhost", "127.0.0.1", "[::1]", socket.gethostname(), socket.getfqdn()}
    with suppress(OSError):
        for info in socket.getaddrinfo(socket.gethostname(), None):
            names.add(_in_address(str(info[4][0])))
    return sorted(names)


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
