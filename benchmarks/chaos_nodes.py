"""A Ray cluster of three nodes on one machine, with GPUs that are not there, of which any may be lost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Before ray is imported: it reads it once.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray.cluster_utils import Cluster

from benchmarks.tracking_server import tracking_server

_NODES = 3


class ThreeNodes:
    """Three nodes of one core and one GPU each, beside a head that no trial fits on."""

    def __init__(self, tracking_uri: str) -> None:
        self._cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self._nodes = [self._add() for _ in range(_NODES)]
        self.arguments: Sequence[str] = (
            *("--address", self._cluster.address),
            *("resources.gpus=1", "resources.max_concurrent=2", f"tracking.uri={tracking_uri}"),
        )

    def lose_node(self, choice: float) -> str:
        """Kill one of the nodes, add another, and return the id of the one that is gone."""
        node = self._nodes.pop(int(choice * len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._add())
        return str(node.node_id)

    def end(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, num_gpus=1, wait=True)


@contextmanager
def three_nodes(folder: Path) -> Iterator[ThreeNodes]:
    """Start the cluster, and an MLflow server that keeps its files in `folder`."""
    with tracking_server(folder / "server") as uri:
        nodes = ThreeNodes(uri)
        try:
            yield nodes
        finally:
            nodes.end()
