"""What a trial takes, and whether that can ever be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from essnet.config import InputError, ResourcesConfig
from essnet.cores import available_cores

RAY_UNITS = 10_000
"""Ray counts cores and GPUs in ten-thousandths, rounded down."""


@dataclass(frozen=True)
class Node:
    """A machine: a trial runs on one."""

    cpus: int
    gpus: int

    def holds(self, *, cpus: float, gpus: float) -> int:
        """Return how many trials fit at once; a share of a GPU is one of a single GPU."""
        fit = self.cpus * RAY_UNITS // int(cpus * RAY_UNITS)
        if gpus >= 1:
            return min(fit, self.gpus // int(gpus))
        return min(fit, self.gpus * (RAY_UNITS // int(gpus * RAY_UNITS))) if gpus else fit


@dataclass(frozen=True)
class NodeType:
    """Nodes that an autoscaler could add to a cluster."""

    name: str
    cpus: int
    gpus: int
    most: int | None = None
    """How many there can be; None: as many as are asked for."""

    def describe(self) -> str:
        """Return number, name and size."""
        most = "any number of" if self.most is None else self.most
        return f"{most} {self.name} of {count(self.cpus, 'CPU core')} and {count(self.gpus, 'GPU')}"


@dataclass(frozen=True)
class Capacity:
    """Where trials can run."""

    nodes: tuple[Node, ...]
    is_cluster: bool = False
    could_be_added: tuple[NodeType, ...] = ()
    """What the cluster's autoscaler could add, as far as it tells; trials are placed on `nodes` alone."""

    def describe(self) -> str:
        """Return the capacity in a few words."""
        if not self.is_cluster:
            return f"{_sizes(self.nodes)} here"
        here = f"{_sizes(self.nodes)} on {count(len(self.nodes), 'node')}"
        if not self.could_be_added:
            return here
        return f"{here} (its autoscaler could add {_listed(self.could_be_added)}, which does not count)"

    def hint(self, *, cpus: float, gpus: float) -> str:
        """Return what to do where no node holds such a trial, to follow the line that says so."""
        if not self.is_cluster:
            return ""
        if not self.could_be_added:
            return "; what an autoscaler could add is not known here, so start such nodes first (min_workers)"
        able = [one for one in self.could_be_added if one.cpus >= cpus and one.gpus >= gpus]
        if able:
            return f"; its autoscaler could add {_listed(able)}: have one started first (min_workers)"
        return f"; its autoscaler could not add such a node either, only {_listed(self.could_be_added)}"


def this_machine() -> Capacity:
    """Return the cores and GPUs of this machine; no GPU is opened."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Capacity(nodes=(Node(cpus=available_cores(), gpus=gpus),))


@dataclass(frozen=True)
class Placement:
    """Cores and GPUs of one trial, and how many trials run at once."""

    capacity: Capacity
    cpus: float
    gpus: float
    max_concurrent: int | None = None

    @property
    def total_cpus(self) -> int:
        """CPU cores of all nodes."""
        return sum(node.cpus for node in self.capacity.nodes)

    @property
    def total_gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.capacity.nodes)

    @property
    def device_node(self) -> Node:
        """The node on which a trial can have most."""
        able = [node for node in self.capacity.nodes if node.holds(cpus=self.cpus, gpus=self.gpus)]
        return max(able, key=lambda node: (node.gpus if self.gpus else 0, node.cpus))

    @property
    def concurrent(self) -> int:
        """How many trials run at once."""
        return self.at_once(cpus=self.cpus, gpus=self.gpus)

    @property
    def threads(self) -> int:
        """Threads that torch takes in a trial."""
        return max(1, int(self.cpus))

    def at_once(self, *, cpus: float, gpus: float) -> int:
        """Return how many trials run at once where each takes that much."""
        fit = sum(node.holds(cpus=cpus, gpus=gpus) for node in self.capacity.nodes)
        return min(fit, self.max_concurrent or fit)

    def describe(self) -> str:
        """Return the placement in a sentence."""
        return (
            f"{self.capacity.describe()}; a trial takes {count(self.cpus, 'core')} and {count(self.gpus, 'GPU')}, "
            f"so {self.concurrent} run{'s' if self.concurrent == 1 else ''} at once"
        )


def plan_placement(config: ResourcesConfig, *, num_trials: int, capacity: Capacity | None = None) -> Placement:
    """Decide what a trial takes: one GPU where there are GPUs, else a share of the cores.

    Parameters
    ----------
    config
        What was asked for.
    num_trials
        Of the sweep: without GPUs few trials take more cores each.
    capacity
        Where trials can run; None: this machine.

    Raises
    ------
    InputError
        If no node could hold a trial; it would wait for ever.
    """
    capacity = this_machine() if capacity is None else capacity
    most_gpus = max((node.gpus for node in capacity.nodes), default=0)
    gpus = config.gpus if config.gpus is not None else float(most_gpus > 0)
    place = "the largest node of the cluster" if capacity.is_cluster else "this machine"
    if gpus > most_gpus:
        hint = capacity.hint(cpus=config.cpus or 1, gpus=gpus)
        raise InputError(f"resources.gpus: a trial asks for {count(gpus, 'GPU')}, and {place} has {most_gpus}{hint}")
    nodes = [node for node in capacity.nodes if node.gpus >= gpus]
    cpus = config.cpus if config.cpus is not None else _default_cpus(nodes, gpus=gpus, num_trials=num_trials)
    most_cpus = max((node.cpus for node in nodes), default=0)
    if cpus > most_cpus:
        hint = capacity.hint(cpus=cpus, gpus=gpus)
        of_those = f" with {count(gpus, 'GPU')}" if gpus and capacity.is_cluster else ""
        raise InputError(
            f"resources.cpus: a trial asks for {count(cpus, 'core')}, and {place}{of_those} has {most_cpus}{hint}"
        )
    return Placement(capacity=capacity, cpus=cpus, gpus=gpus, max_concurrent=config.max_concurrent)


def _default_cpus(nodes: Sequence[Node], *, gpus: float, num_trials: int) -> float:
    """Return an equal share per GPU; without GPUs as many cores as let the most trials run side by side."""
    if gpus:
        return max(1.0, float(min(node.cpus * gpus // node.gpus for node in nodes)))
    wanted = min(num_trials, sum(node.cpus for node in nodes))
    shares = range(max((node.cpus for node in nodes), default=0), 1, -1)
    return float(next((cpus for cpus in shares if sum(node.cpus // cpus for node in nodes) >= wanted), 1))


def count(number: float, what: str) -> str:
    """Return a number of things in words: `1 core`, `0.5 cores`."""
    return f"{number:g} {what}{'' if number == 1 else 's'}"


def _listed(node_types: Sequence[NodeType]) -> str:
    return ", ".join(one.describe() for one in node_types)


def _sizes(nodes: Sequence[Node]) -> str:
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    return f"{count(cpus, 'CPU core')} and {count(gpus, 'GPU')}"
