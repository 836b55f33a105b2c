"""`ui`: MLflow's own UI on the project's store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import Annotated

import typer

from essnet.cli.terminal import DEFAULT_OUTPUT, Debug, Output


def ui(
    output: Output = DEFAULT_OUTPUT,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0 takes a free one.")] = 0,
    debug: Debug = False,
) -> None:
    """Open MLflow's UI on the store in OUTPUT, on loopback; Ctrl-C ends it.

    In the UI: tick the trials below a sweep, then Compare, for parallel coordinates over d, k and val/miou.

    Examples:

      launch.py ui

      launch.py ui --port 5000
    """
    from essnet.config import InputError

    if not (output / "mlflow.db").exists():
        raise InputError(f"{output / 'mlflow.db'}: no such store; a train or sweep with --output {output} makes it")
    from essnet.tracking import default_uri

    chosen = port or _free_port()
    if port and not _is_free(port):
        raise InputError(f"--port: {port} is in use; choose another, or leave it out for a free one")
    typer.echo(f"MLflow on http://127.0.0.1:{chosen} (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", default_uri(output),
               "--host", "127.0.0.1", "--port", str(chosen), "--workers", "1"]  # fmt: skip
    # No background jobs: the UI only shows. A session of its own, so that server and workers end together.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(command, env={**os.environ, **quiet}, start_new_session=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = server.wait()
    except KeyboardInterrupt:
        code = 0
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    raise typer.Exit(code)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
