from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from essnet.config import InputError, ResourcesConfig
from essnet.sweep import resources
from essnet.sweep.resources import Capacity, Node, NodeType, plan_placement


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def make(cpus: int, gpus: int) -> None:
        monkeypatch.setattr(resources, "available_cores", lambda: cpus)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    return make


@pytest.mark.parametrize(
    ("cpus", "gpus", "asked", "expected"),
    [
        (2, 0, {}, (1.0, 0.0, 2, 1)),
        (2, 0, {"cpus": 2.0}, (2.0, 0.0, 1, 2)),
        (8, 0, {"cpus": 3.0}, (3.0, 0.0, 2, 3)),
        (8, 0, {"max_concurrent": 3}, (1.0, 0.0, 3, 1)),
        (64, 8, {}, (8.0, 1.0, 8, 8)),
        (4, 8, {}, (1.0, 1.0, 4, 1)),
        (16, 1, {"gpus": 0.5, "cpus": 4.0}, (4.0, 0.5, 2, 4)),
        (16, 2, {"gpus": 0.0}, (1.0, 0.0, 16, 1)),
        (16, 1, {"gpus": 0.3, "cpus": 1.0}, (1.0, 0.3, 3, 1)),
        (16, 2, {"gpus": 0.4, "cpus": 1.0}, (1.0, 0.4, 4, 1)),
        (16, 2, {"gpus": 0.6, "cpus": 1.0}, (1.0, 0.6, 2, 1)),
        (16, 4, {"gpus": 2.0}, (8.0, 2.0, 2, 8)),
        (16, 5, {"gpus": 2.0, "cpus": 1.0}, (1.0, 2.0, 2, 1)),
        (3, 0, {"cpus": 0.3}, (0.3, 0.0, 10, 1)),
    ],
)
def test_placement(machine, cpus: int, gpus: int, asked: dict, expected: tuple) -> None:
    machine(cpus, gpus)
    placement = plan_placement(ResourcesConfig(**asked), num_trials=100)
    assert (placement.cpus, placement.gpus, placement.concurrent, placement.threads) == expected


def test_what_can_never_be_placed_is_refused(machine) -> None:
    machine(2, 0)
    with pytest.raises(InputError, match=r"resources\.gpus: a trial asks for 1 GPU, and this machine has 0"):
        plan_placement(ResourcesConfig(gpus=1.0), num_trials=1)
    with pytest.raises(InputError, match=r"resources\.cpus: a trial asks for 3 cores, and this machine has 2"):
        plan_placement(ResourcesConfig(cpus=3.0), num_trials=1)


@pytest.mark.parametrize(("num_trials", "expected"), [(1, (16.0, 1)), (5, (3.0, 5)), (8, (2.0, 8)), (100, (1.0, 16))])
def test_few_trials_take_more_cores_each(machine, num_trials: int, expected: tuple) -> None:
    machine(16, 0)
    placement = plan_placement(ResourcesConfig(), num_trials=num_trials)
    assert (placement.cpus, placement.concurrent) == expected


def hold_one_by_one(node: Node, *, cpus: int, gpus: int) -> int:
    """Place trials, in hundredths of a core and of a GPU, until none fits: a share of a GPU is all of one GPU's."""
    free_cpus, free_gpus, placed = 100 * node.cpus, [100] * node.gpus, 0
    while True:
        whole = [place for place, free in enumerate(free_gpus) if free == 100]
        sharing = [place for place, free in enumerate(free_gpus) if free >= gpus]
        if free_cpus < cpus or (len(whole) < gpus // 100 if gpus >= 100 else not sharing and gpus):
            return placed
        free_cpus -= cpus
        for place in whole[: gpus // 100] if gpus >= 100 else sharing[:1]:
            free_gpus[place] -= min(gpus, 100)
        placed += 1


@given(
    node=st.builds(Node, cpus=st.integers(0, 12), gpus=st.integers(0, 4)),
    cpus=st.integers(1, 400),
    gpus=st.one_of(st.just(0), st.integers(1, 100), st.integers(1, 4).map(lambda whole: 100 * whole)),
)
def test_a_node_holds_what_can_be_placed_one_by_one(node: Node, cpus: int, gpus: int) -> None:
    assert node.holds(cpus=cpus / 100, gpus=gpus / 100) == hold_one_by_one(node, cpus=cpus, gpus=gpus)


@pytest.mark.parametrize("gpus", [1.5, 2.01, 0.001])
def test_shares_that_ray_does_not_have_are_refused(gpus: float) -> None:
    with pytest.raises(ValidationError, match=r"expected a share of one GPU, 0\.01 to 1, or a whole number"):
        ResourcesConfig(gpus=gpus)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"gpus": 0.5}, "gpus: found 0.5, but packing=measured finds a trial's share; leave it out"),
        ({"gpus": 2.0}, "gpus: found 2, but packing=measured finds a trial's share; leave it out"),
        ({"cpus": 1.0}, "cpus: found 1, but packing=measured finds a trial's cores; leave it out"),
    ],
)
def test_what_is_measured_is_not_asked_for(asked: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ResourcesConfig(packing="measured", **asked)


BIG, SMALL, HEAD = Node(cpus=32, gpus=4), Node(cpus=8, gpus=1), Node(cpus=16, gpus=0)


@pytest.mark.parametrize(
    ("nodes", "asked", "expected"),
    [
        ((BIG, SMALL), {}, (8.0, 1.0, 5)),
        ((BIG, SMALL), {"gpus": 0.4, "cpus": 1.0}, (1.0, 0.4, 10)),
        ((BIG, SMALL), {"gpus": 2.0}, (16.0, 2.0, 2)),
        ((BIG, SMALL, HEAD), {"gpus": 1.0, "cpus": 9.0}, (9.0, 1.0, 3)),
        ((BIG, SMALL, HEAD), {"gpus": 0.0, "cpus": 9.0}, (9.0, 0.0, 4)),
        ((BIG, SMALL, HEAD), {"max_concurrent": 2}, (8.0, 1.0, 2)),
    ],
)
def test_placement_on_a_cluster(nodes: tuple, asked: dict, expected: tuple) -> None:
    capacity = Capacity(nodes=nodes, is_cluster=True)
    placement = plan_placement(ResourcesConfig(**asked), num_trials=100, capacity=capacity)
    assert (placement.cpus, placement.gpus, placement.concurrent) == expected


@pytest.mark.parametrize(("num_trials", "expected"), [(1, 16.0), (2, 16.0), (3, 8.0), (5, 5.0), (100, 1.0)])
def test_few_trials_on_several_nodes_take_more_cores_each(num_trials: int, expected: float) -> None:
    capacity = Capacity(nodes=(HEAD, HEAD), is_cluster=True)
    placement = plan_placement(ResourcesConfig(), num_trials=num_trials, capacity=capacity)
    assert placement.cpus == expected
    assert placement.concurrent >= min(num_trials, 32)


@pytest.mark.parametrize(
    ("nodes", "asked", "message"),
    [
        (
            (BIG, SMALL),
            {"gpus": 8.0},
            "resources.gpus: a trial asks for 8 GPUs, and the largest node of the cluster has 4",
        ),
        (
            (HEAD, BIG),
            {"gpus": 0.0, "cpus": 40.0},
            "resources.cpus: a trial asks for 40 cores, and the largest node of the cluster has 32",
        ),
        (
            (HEAD, SMALL),
            {"gpus": 1.0, "cpus": 9.0},
            "resources.cpus: a trial asks for 9 cores, and the largest node of the cluster with 1 GPU has 8",
        ),
        ((), {}, "resources.cpus: a trial asks for 1 core, and the largest node of the cluster has 0"),
        (
            (HEAD,),
            {"gpus": 0.5},
            "resources.gpus: a trial asks for 0.5 GPUs, and the largest node of the cluster has 0",
        ),
    ],
)
def test_a_trial_has_to_fit_on_one_node(nodes: tuple, asked: dict, message: str) -> None:
    with pytest.raises(InputError) as refused:
        plan_placement(ResourcesConfig(**asked), num_trials=9, capacity=Capacity(nodes=nodes, is_cluster=True))
    told, _, hint = str(refused.value).partition("; ")
    assert told == message
    assert hint == "what an autoscaler could add is not known here, so start such nodes first (min_workers)"


SMALL_TYPE, BIG_TYPE = NodeType("small", cpus=8, gpus=0, most=10), NodeType("big", cpus=64, gpus=8)


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        (
            {"gpus": 8.0},
            "its autoscaler could add any number of big of 64 CPU cores and 8 GPUs: "
            "have one started first (min_workers)",
        ),
        (
            {"gpus": 9.0},
            "its autoscaler could not add such a node either, only 10 small of 8 CPU cores and 0 GPUs, "
            "any number of big of 64 CPU cores and 8 GPUs",
        ),
        (
            {"gpus": 0.0, "cpus": 60.0},
            "its autoscaler could add any number of big of 64 CPU cores and 8 GPUs: "
            "have one started first (min_workers)",
        ),
    ],
)
def test_what_an_autoscaler_could_add_is_told(asked: dict, hint: str) -> None:
    capacity = Capacity(nodes=(HEAD, BIG), is_cluster=True, could_be_added=(SMALL_TYPE, BIG_TYPE))
    with pytest.raises(InputError) as refused:
        plan_placement(ResourcesConfig(**asked), num_trials=9, capacity=capacity)
    assert str(refused.value).partition("; ")[2] == hint
    few = Capacity(nodes=(HEAD, BIG), is_cluster=True, could_be_added=(SMALL_TYPE,))
    assert few.describe().endswith(
        "on 2 nodes (its autoscaler could add 10 small of 8 CPU cores and 0 GPUs, which does not count)"
    )


def test_what_is_said_of_a_placement(machine) -> None:
    machine(16, 1)
    here = plan_placement(ResourcesConfig(gpus=0.3, cpus=2.0), num_trials=9)
    assert here.describe() == ("16 CPU cores and 1 GPU here; a trial takes 2 cores and 0.3 GPUs, so 3 run at once")
    capacity = Capacity(nodes=(BIG, HEAD), is_cluster=True)
    cluster = plan_placement(ResourcesConfig(), num_trials=9, capacity=capacity)
    assert cluster.describe() == (
        "48 CPU cores and 4 GPUs on 2 nodes; a trial takes 8 cores and 1 GPU, so 4 run at once"
    )


@pytest.mark.parametrize(
    ("nodes", "asked", "expected"),
    [
        ((BIG, SMALL, HEAD), {}, BIG),
        ((SMALL, HEAD), {"gpus": 0.0}, HEAD),
    ],
)
def test_where_a_trial_has_a_device_for_itself(nodes: tuple, asked: dict, expected: Node) -> None:
    capacity = Capacity(nodes=nodes, is_cluster=True)
    assert plan_placement(ResourcesConfig(**asked), num_trials=9, capacity=capacity).device_node == expected
