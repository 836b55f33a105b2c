"""Where a sweep can run on a cluster."""

from __future__ import annotations

from pathlib import Path

from essnet.sweep.cluster import joined, own_address
from essnet.sweep.node_check import check_shared_output
from essnet.sweep.resources import Capacity, Node
from essnet.sweep.shared_store import check_store


def cluster_capacity(address: str, *, output: Path, tracking_uri: str | None) -> Capacity:
    """Return the nodes of a running cluster, which this process joins and leaves again.

    On several nodes, what a sweep writes to must be there for all of them.

    Parameters
    ----------
    address
        As `join_cluster` takes it.
    output
        The output folder.
    tracking_uri
        The sweep's `tracking.uri`.

    Raises
    ------
    InputError
        If no cluster answers at the address, or if there are several nodes and `output` is not the same folder on all,
        or the tracking store a file.
    """
    with joined(address) as nodes:
        if len(nodes) > 1:
            check_store(tracking_uri, output=output, host=own_address())
            check_shared_output(nodes, output)
        return Capacity(nodes=tuple(Node(cpus=node.cpus, gpus=node.gpus) for node in nodes), is_cluster=True)
