"""Every node of a cluster is looked at, by a process there, before a sweep relies on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from essnet.config import InputError
from essnet.sweep.cluster import ClusterNode
from essnet.sweep.node_facts import look_around, versions, visit, visit_storage
from essnet.sweep.node_findings import Expected, Finding, judge
from essnet.sweep.shared_output import probe_folder, problem_with_output
from essnet.sweep.shared_storage import probe_storage, problem_with_storage

ANSWER_SECONDS = 120.0
"""A worker has to start there, and to import torch from a disk that may be slow."""


def check_nodes(
    nodes: Sequence[ClusterNode],
    *,
    output: Path,
    paths: Sequence[str] = (),
    tracking_uri: str | None = None,
    storage: str | None = None,
    seconds: float = ANSWER_SECONDS,
) -> dict[str, list[Finding]]:
    """Look at nodes of the cluster, which must be joined, and return what was found, by the node's id.

    Parameters
    ----------
    nodes
        Those to look at.
    output
        Where the sweep is to write.
    paths
        Files and folders that its trials read.
    tracking_uri
        Address of its tracking server; None: there is none to ask.
    storage
        The sweep's; None: nodes have to share `output`.
    seconds
        How long a node may take to answer.

    Raises
    ------
    InputError
        If this process cannot write `output`, or the storage, itself.
    """
    with probe_folder(output) as probe, probe_storage(storage) if storage else nullcontext() as key:
        place = (storage, key) if storage and key else None
        question = {"probe": str(probe), "paths": list(paths), "tracking_uri": tracking_uri, "storage": place}
        answers = _ask(nodes, look_around, question, seconds=seconds)
        found = {}
        for node in nodes:
            answer = answers[node.node_id]
            if isinstance(answer, _NoAnswer):
                found[node.node_id] = [Finding("node", False, answer.reason)]
            else:
                expected = Expected(node, versions=versions(), output=output, probe=probe, storage=place)
                found[node.node_id] = judge(answer, expected)
        return found


def check_shared_output(nodes: Sequence[ClusterNode], output: Path) -> None:
    """Check that `output` is the same folder on all nodes of the cluster, which must be joined.

    Raises
    ------
    InputError
        If it is not; names the first node where it is not.
    """
    with probe_folder(output) as probe:
        answers = _ask(nodes, visit, {"probe": str(probe)}, seconds=ANSWER_SECONDS)
        for node in nodes:
            answer = answers[node.node_id]
            if isinstance(answer, _NoAnswer):
                raise InputError(f"--address: {node.address}: {answer.reason}")
            problem = problem_with_output(answer, output=output, probe=probe, node_id=node.node_id)
            if problem is not None:
                raise InputError(f"--output: {node.address}: {problem}")


def check_shared_storage(nodes: Sequence[ClusterNode], storage: str) -> None:
    """Check that all nodes of the cluster, which must be joined, read and write a storage.

    Raises
    ------
    InputError
        If one does not; names the first.
    """
    with probe_storage(storage) as key:
        answers = _ask(nodes, visit_storage, {"storage": (storage, key)}, seconds=ANSWER_SECONDS)
        for node in nodes:
            answer = answers[node.node_id]
            if isinstance(answer, _NoAnswer):
                raise InputError(f"--address: {node.address}: {answer.reason}")
            problem = problem_with_storage(answer, address=storage, key=key, node_id=node.node_id)
            if problem is not None:
                raise InputError(f"storage: {node.address}: {problem}")


@dataclass(frozen=True)
class _NoAnswer:
    reason: str


def _ask(
    nodes: Sequence[ClusterNode], look: Callable[..., Any], question: Mapping[str, Any], *, seconds: float
) -> dict[str, Any]:
    """Return what `look` returns on each node, by the node's id."""
    task: Any = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(look)
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        asked[task.options(scheduling_strategy=there).remote(**question, node_id=node.node_id)] = node.node_id
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=seconds)
    answers: dict[str, Any] = {}
    for one in silent:
        ray.cancel(one, force=True)
        reason = f"no answer within {seconds:g} s; look at Ray's logs there, or take the node out"
        answers[asked[one]] = _NoAnswer(reason)
    for one in answered:
        try:
            answers[asked[one]] = ray.get(one)
        except RayError as error:
            reason = str(getattr(error, "cause", None) or error).strip().splitlines()[-1]
            answers[asked[one]] = _NoAnswer(f"no process starts there ({reason[:200]})")
    return answers
