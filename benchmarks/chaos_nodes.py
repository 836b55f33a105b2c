"""A Ray cluster of three nodes on one machine, with GPUs that are not there, of which any may be lost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# Before ray is imported: it reads it once.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray._private.node import Node
from ray.cluster_utils import Cluster as RayCluster

from benchmarks.sessions import Session, start
from essnet.atomic_files import read_json, write_json

_NODES = 3
_SERVER_SECONDS = 90.0


class ThreeNodes:
    """Three nodes of one core and one GPU each, beside a head that no trial fits on."""

    def __init__(self, tracking_uri: str) -> None:
        self._cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self._nodes = [self._add() for _ in range(_NODES)]
        self.arguments: Sequence[str] = (
            *("--address", str(self._cluster.address)),
            *("resources.gpus=1", "resources.max_concurrent=2", f"tracking.uri={tracking_uri}"),
        )

    def lose_node(self, choice: float) -> str:
        """Kill one of the nodes, add another, and return the name of the one that is gone."""
        node = self._nodes.pop(int(choice * len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._add())
        return str(node.unique_id)

    def end(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()  # type: ignore[no-untyped-call]

    def _add(self) -> Node:
        return self._cluster.add_node(num_cpus=1, num_gpus=1, wait=True)


@contextmanager
def three_nodes(folder: Path) -> Iterator[ThreeNodes]:
    """Start the cluster and an MLflow server that keeps its files in `folder`, always at the same address."""
    folder = folder / "server"
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "port.json"
    if not note.exists():
        write_json(note, {"port": _free_port()})
    uri = f"http://127.0.0.1:{read_json(note)['port']}"
    process = _start_server(folder, uri)
    try:
        _wait_for_server(process, uri, folder)
        nodes = ThreeNodes(uri)
        try:
            yield nodes
        finally:
            nodes.end()
    finally:
        Session(process.pid, folder).kill_all()


def _start_server(folder: Path, uri: str) -> subprocess.Popen[bytes]:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    port = uri.rpartition(":")[2]
    command = (
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "files")),
    )
    return start(command, folder=folder, log=folder / "server.log")


def _wait_for_server(process: subprocess.Popen[bytes], uri: str, folder: Path) -> None:
    deadline = time.monotonic() + _SERVER_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{uri}/health", timeout=5):
            return
        time.sleep(0.2)
    raise SystemExit(f"{folder}/server.log: MLflow's server does not answer at {uri}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
