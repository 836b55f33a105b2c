"""A Ray cluster of three nodes on one machine, with GPUs that are not there, of which any may be lost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Before ray is imported: it reads it once.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray.cluster_utils import Cluster

from benchmarks.tracking_server import tracking_server
from tests.sweep.loopback_cluster import loopback_cluster

_HEAD = (0, 0)
_NODE = (1, 1)
"""Cores and GPUs."""


class ThreeNodes:
    """Three nodes of one core and one GPU each, beside a head that no trial fits on."""

    def __init__(self, cluster: Cluster, *, tracking_uri: str) -> None:
        self._cluster = cluster
        self._nodes = [*cluster.worker_nodes]
        self.arguments: Sequence[str] = (
            *("--address", cluster.address),
            *("resources.gpus=1", "resources.max_concurrent=2", f"tracking.uri={tracking_uri}"),
        )

    def lose_node(self, choice: float) -> str:
        """Kill one of the nodes, add another, and return the id of the one that is gone."""
        node = self._nodes.pop(int(choice * len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        cpus, gpus = _NODE
        self._nodes.append(self._cluster.add_node(num_cpus=cpus, num_gpus=gpus, include_dashboard=False))
        return str(node.node_id)


@contextmanager
def three_nodes(folder: Path) -> Iterator[ThreeNodes]:
    """Start the cluster, and an MLflow server that keeps its files in `folder`."""
    with tracking_server(folder / "server") as uri, loopback_cluster(_HEAD, _NODE, _NODE, _NODE) as cluster:
        yield ThreeNodes(cluster, tracking_uri=uri)
