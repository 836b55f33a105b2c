"""Which nodes a cluster's autoscaler could add, as far as anybody tells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ray._private.state import state  # no public way to it

from essnet.sweep.resources import NodeType

BOOTSTRAP_CONFIG = Path("~/ray_bootstrap_config.yaml")
"""What `ray up` leaves on the head, with the resources of each type of node filled in."""


def node_types() -> tuple[NodeType, ...]:
    """Return the types of nodes that the autoscaler of the cluster that this process has joined could add.

    Managed clusters put them into Ray's own state, which Ray's autoscalers leave empty (2.60); `ray up` has them in a
    file on the head. Empty where there is neither, as on KubeRay, or from another machine than the head.
    """
    return _from_state() or _from_file(BOOTSTRAP_CONFIG.expanduser())


def _from_state() -> tuple[NodeType, ...]:
    config = state.get_cluster_config()
    groups = config.node_group_configs if config is not None else ()
    return tuple(
        NodeType(
            name=group.name,
            cpus=int(group.resources.get("CPU", 0)),
            gpus=int(group.resources.get("GPU", 0)),
            most=group.max_count if group.max_count >= 0 else None,
        )
        for group in groups
        if group.max_count
    )


def _from_file(path: Path) -> tuple[NodeType, ...]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        head = config["head_node_type"]
        found = [_node_type(name, values) for name, values in config["available_node_types"].items() if name != head]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return ()  # only a hint is made of it
    return tuple(one for one in found if one.most)


def _node_type(name: str, values: Mapping[str, Any]) -> NodeType:
    resources = values.get("resources") or {}
    return NodeType(
        name=str(name),
        cpus=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        most=int(values.get("max_workers", 0)),
    )
