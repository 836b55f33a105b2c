"""A Ray cluster of several nodes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ray._private.authentication.authentication_token_setup import (
    enable_token_auth_by_default,
    ensure_token_if_auth_enabled,
)
from ray.cluster_utils import Cluster


@contextmanager
def loopback_cluster(*nodes: tuple[int, int]) -> Iterator[Cluster]:
    """Run a cluster of nodes with (cores, GPUs); the first is the head, and the GPUs are only counted."""
    # As `ray start` does once there is a token, which the first sweep on a machine leaves there.
    enable_token_auth_by_default()
    ensure_token_if_auth_enabled()
    cluster = Cluster()
    try:
        for cpus, gpus in nodes:
            cluster.add_node(num_cpus=cpus, num_gpus=gpus, include_dashboard=False)
        yield cluster
    finally:
        cluster.shutdown()
