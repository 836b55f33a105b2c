"""Where a sweep can run on a cluster."""

from __future__ import annotations

from pathlib import Path

from essnet.sweep.autoscaler import node_types
from essnet.sweep.cluster import joined, own_address
from essnet.sweep.node_check import check_shared_output, check_shared_storage
from essnet.sweep.resources import Capacity, Node
from essnet.sweep.shared_store import check_store


def cluster_capacity(address: str, *, output: Path, tracking_uri: str | None, storage: str | None = None) -> Capacity:
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
    storage
        The sweep's; None: nodes have to share `output`.

    Raises
    ------
    InputError
        If no cluster answers at the address, or if there are several nodes and `output` is not the same folder on all,
        one does not reach `storage`, or the tracking store is a file.
    """
    with joined(address) as nodes:
        if len(nodes) > 1:
            check_store(tracking_uri, output=output, host=own_address())
            if storage is None:
                check_shared_output(nodes, output)
            else:
                check_shared_storage(nodes, storage)
        return Capacity(
            nodes=tuple(Node(cpus=node.cpus, gpus=node.gpus) for node in nodes),
            is_cluster=True,
            could_be_added=node_types(),
        )
