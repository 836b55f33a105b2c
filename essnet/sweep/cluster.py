"""A Ray cluster that somebody else started: joined and left, never started or ended here."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._private.services import canonicalize_bootstrap_address

import essnet
from essnet.config import InputError
from essnet.config.extensions import imported_here

_STAYS = ("__pycache__",)
"""What stays behind of the packages that are shipped: what Python compiled."""

WORKERS_ENVIRONMENT = {"TUNE_FUNCTION_THREAD_TIMEOUT_S": "600"}
"""A worker that is to run the next trial waits so long, and not two seconds, for one that was stopped to end: it may
still be writing what it leaves."""

_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class ClusterNode:
    """A machine of the cluster, with the cores and GPUs that Ray counts there."""

    node_id: str
    address: str
    cpus: int
    gpus: int


@contextmanager
def joined(address: str) -> Iterator[list[ClusterNode]]:
    """Be part of a running cluster while the block runs; gives its nodes that are alive.

    Raises
    ------
    InputError
        As `join_cluster` does.
    """
    join_cluster(address)
    try:
        yield alive_nodes()
    finally:
        ray.shutdown()


def join_cluster(address: str) -> None:
    """Make this process part of a running cluster, whose workers then run the code that this process runs.

    `ray.shutdown` leaves the cluster, which runs on.

    Parameters
    ----------
    address
        `host:port` of the cluster's head, or `auto`: the cluster that RAY_ADDRESS names or that runs on this machine.

    Raises
    ------
    InputError
        If no cluster answers there, or this process cannot be part of it.
    """
    found = _find(address)
    # `ray job submit` may have shipped a working directory: essnet runs from there, and is shipped on from there.
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
    # Whatever git ignores, the package is shipped whole.
    os.environ.setdefault("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "1")
    logging.getLogger("ray").setLevel(logging.ERROR)
    # As `ray start` does: on a cluster without a token it is not looked at.
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        with shipped_code() as shipped:
            ray.init(address=found, runtime_env=shipped, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        if "AuthToken" in str(error.__cause__):
            raise InputError(
                f"--address: {found} asks for another token; copy ~/.ray/auth_token of its head here, "
                "or set RAY_AUTH_TOKEN to what that says"
            ) from error
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"--address: {found} is no cluster that this process can be part of ({reason})") from error


@contextmanager
def shipped_code() -> Iterator[dict[str, Any]]:
    """Give the `runtime_env` with which each worker has this process's essnet, and the user's code, imported here.

    A folder of links to these packages, which Ray packs when it is joined: nothing goes along that lies beside them
    (runs, data, .git, virtual environments, ...). As `working_dir`: with `py_modules` Ray would still put the
    folder from which the driver was started first on the path of every worker, and on another node another checkout may
    lie there.
    """
    with TemporaryDirectory(prefix="essnet-shipped-") as folder:
        for path in (Path(essnet.__file__).parent, *imported_here()):
            (Path(folder) / path.name).symlink_to(path)
        yield {"working_dir": folder, "excludes": list(_STAYS), "env_vars": dict(WORKERS_ENVIRONMENT)}


def alive_nodes() -> list[ClusterNode]:
    """Return the nodes of the cluster, which must be joined, that are alive, by their addresses."""
    nodes = [
        ClusterNode(
            node_id=node["NodeID"],
            address=node["NodeManagerAddress"],
            cpus=int(node["Resources"].get("CPU", 0)),
            gpus=int(node["Resources"].get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sorted(nodes, key=lambda node: (node.address, node.node_id))


def own_address() -> str:
    """Return the address of this machine, as the other nodes know it."""
    return str(ray.util.get_node_ip_address())


def _find(address: str) -> str:
    """Return `host:port` of a cluster that answers there: Ray itself would try for minutes, and end the process."""
    named = os.environ.get("RAY_ADDRESS") or address if address == "auto" else address
    if "://" in named or named == "local":
        raise InputError(
            f"--address: found {named!r}; expected host:port of a cluster's head, or auto, on a machine of the cluster"
        )
    try:
        found = str(canonicalize_bootstrap_address(named))
        host, _, port = found.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS):
            return found
    except ConnectionError as error:
        if named == "auto":
            raise InputError(
                "--address: auto finds no cluster on this machine; `ray start --head` starts one"
            ) from error
        raise InputError(f"--address: no cluster answers at {named}") from error
    except (OSError, ValueError) as error:  # an unknown host, no time to answer, no port
        raise InputError(f"--address: no cluster answers at {named} ({error})") from error
