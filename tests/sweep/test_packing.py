from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from essnet.config import ResourcesConfig, Sweep, TrialConfig
from essnet.sweep.measurement import Device, Measurement
from essnet.sweep.packing import Packing, unpacked
from essnet.sweep.resources import Capacity, Node, Placement, plan_placement
from essnet.sweep.shares import planned_share, whole_device
from essnet.sweep.trial_class import class_key
from tests.sweep.sweeps import tiny_sweep

GPU = Device("a GPU", host_memory_mib=64_000, gpu_memory_mib=24_000)
MACHINE = Device("a machine", host_memory_mib=64_000)
ARMS = {
    "full": {"objective.name": "full_softmax"},
    "knn": {"objective.name": "knn_softmax", "objective.embedding_dim": {"int": [2, 16]}},
    "on_cpu": {"trainer.device": "cpu"},
}


def placement_on(node: Node) -> Placement:
    return plan_placement(ResourcesConfig(packing="measured"), num_trials=100, capacity=Capacity(nodes=(node,)))


def trial(sweep: Sweep, arm: str, **point: int) -> TrialConfig:
    (found,) = [one for one in sweep.arms if one.name == arm]
    overrides = {path.replace("__", "."): value for path, value in point.items()}
    return sweep.trial_config({**found.fixed, **overrides, "name": "some", "seed": 5})


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return tiny_sweep(tmp_path, arms=ARMS, search={"algorithm": "random", "num_trials": 3})


@pytest.fixture
def packing(sweep: Sweep) -> Packing:
    """A GPU's: the full softmax takes a third of it, the others a tenth and a half, and the CPU's arm eight cores."""
    configs = {
        "full": trial(sweep, "full"),
        "small": trial(sweep, "knn", objective__embedding_dim=2),
        "large": trial(sweep, "knn", objective__embedding_dim=16),
        "on_cpu": trial(sweep, "on_cpu"),
    }
    keys = {name: class_key(one, device=(MACHINE if name == "on_cpu" else GPU).name) for name, one in configs.items()}
    return Packing(
        placement=placement_on(Node(16, 1)),
        margin=0.2,
        devices={True: GPU, False: MACHINE},
        measurements={
            keys["full"]: Measurement(gpu_memory_mib=6_000, host_memory_mib=2_000, busy_cores=1.2),
            keys["small"]: Measurement(gpu_memory_mib=2_000.4, host_memory_mib=4_000, busy_cores=1.0),
            keys["large"]: Measurement(gpu_memory_mib=10_000, host_memory_mib=3_000, busy_cores=0.8),
            keys["on_cpu"]: Measurement(host_memory_mib=20_000, busy_cores=9.0),
        },
        arms={
            "full": {keys["full"]: configs["full"]},
            "knn": {keys["small"]: configs["small"], keys["large"]: configs["large"]},
            "on_cpu": {keys["on_cpu"]: configs["on_cpu"]},
        },
    )


def test_each_class_takes_what_it_was_measured_to(sweep: Sweep, packing: Packing) -> None:
    full = packing.share(trial(sweep, "full"), arm="full")
    assert (full.cpus, full.gpus, full.threads) == (1.0, 0.3333, 1)
    assert full.params == {
        "placement.cpus": 1.0,
        "placement.gpus": 0.3333,
        "placement.device": "a GPU",
        "placement.measured_memory_mib": 6000,
        "placement.measured_host_memory_mib": 2000,
        "placement.measured_busy_cores": 1.2,
    }
    small = packing.share(trial(sweep, "knn", objective__embedding_dim=2), arm="knn")
    assert (small.gpus, small.params["placement.measured_memory_mib"]) == (0.1111, 2000)
    on_cpu = packing.share(trial(sweep, "on_cpu"), arm="on_cpu")
    assert (on_cpu.cpus, on_cpu.gpus, on_cpu.threads) == (9.0, 0.0, 9)
    assert on_cpu.params["placement.measured_memory_mib"] == 20_000


def test_between_the_ends_of_a_range_the_largest_counts(sweep: Sweep, packing: Packing) -> None:
    share = packing.share(trial(sweep, "knn", objective__embedding_dim=7), arm="knn")
    assert share.gpus == 0.5
    assert share.params["placement.measured_memory_mib"] == 10_000
    assert share.params["placement.measured_host_memory_mib"] == 4_000
    assert share.params["placement.measured_busy_cores"] == 1.0


def test_what_was_not_measured_takes_a_whole_device(sweep: Sweep, packing: Packing) -> None:
    failed = {key: Measurement(error="torch.OutOfMemoryError: no") for key in packing.arms["knn"]}
    broken = Packing(
        packing.placement, packing.margin, packing.devices, {**packing.measurements, **failed}, packing.arms
    )
    for dim in (2, 7, 16):
        share = broken.share(trial(sweep, "knn", objective__embedding_dim=dim), arm="knn")
        assert (share.cpus, share.gpus) == (16.0, 1.0)
        assert share.params == {
            "placement.cpus": 16.0,
            "placement.gpus": 1.0,
            "placement.device": "a GPU",
            "placement.not_measured": "torch.OutOfMemoryError: no",
        }
    assert broken.share(trial(sweep, "full"), arm="full").gpus == 0.3333
    assert "not measured: 2, which take a whole device (torch.OutOfMemoryError: no)" in broken.describe()


def test_a_trial_that_is_to_be_alone(sweep: Sweep, packing: Packing) -> None:
    alone = packing.share(trial(sweep, "full"), arm="full", alone=True)
    assert (alone.gpus, alone.params["placement.measured_memory_mib"]) == (1.0, 6000)
    on_cpu = packing.share(trial(sweep, "on_cpu"), arm="on_cpu", alone=True)
    assert (on_cpu.cpus, on_cpu.gpus, on_cpu.threads) == (16.0, 0.0, 16)


def test_what_is_said_of_a_packing(packing: Packing) -> None:
    # Nine of the smallest on the GPU; those on the CPU are fewer.
    assert packing.concurrent == 16
    assert packing.describe() == (
        "measured on a GPU and a machine: a trial takes 1 to 9 cores and 0 to 0.5 GPUs, so at most 16 run at once"
    )


def test_nothing_measured_is_the_placement(sweep: Sweep) -> None:
    for node in (Node(16, 2), Node(16, 0)):
        placement = placement_on(node)
        packing = unpacked(placement)
        assert packing.share(trial(sweep, "full"), arm="full") == planned_share(placement)
        alone = packing.share(trial(sweep, "full"), arm="full", alone=True)
        assert alone == whole_device(placement, on_gpu=node.gpus > 0)
        assert (packing.concurrent, packing.describe()) == (placement.concurrent, placement.describe())


def test_a_packing_can_be_pickled(sweep: Sweep, packing: Packing) -> None:
    copy = pickle.loads(pickle.dumps(packing))
    assert copy.share(trial(sweep, "full"), arm="full") == packing.share(trial(sweep, "full"), arm="full")
