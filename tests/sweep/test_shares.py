from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from essnet.config import ResourcesConfig
from essnet.sweep.measurement import Device, Measurement
from essnet.sweep.resources import Capacity, Node, Placement, plan_placement
from essnet.sweep.shares import Share, cpu_share, gpu_share, planned_share, whole_device

GIB = 1024.0


def placement_on(node: Node, *, num_trials: int = 100) -> Placement:
    config = ResourcesConfig(packing="measured")
    return plan_placement(config, num_trials=num_trials, capacity=Capacity(nodes=(node,)))


def on_gpu(node: Node, *, gpu: float, host: float = 1.0, busy: float = 1.0, margin: float = 0.2) -> Share:
    device = Device("a GPU", host_memory_mib=64 * GIB, gpu_memory_mib=24 * GIB)
    measurement = Measurement(gpu_memory_mib=gpu * GIB, host_memory_mib=host * GIB, busy_cores=busy)
    return gpu_share(measurement, device, placement_on(node), margin=margin)


@pytest.mark.parametrize(
    ("node", "taken", "expected"),
    [
        (Node(16, 1), {"gpu": 5.0}, (1.0, 0.25)),
        (Node(16, 1), {"gpu": 5.0, "margin": 0.0}, (1.0, 0.25)),
        (Node(16, 1), {"gpu": 4.0, "margin": 0.0}, (1.0, 0.1666)),
        (Node(16, 1), {"gpu": 6.0}, (1.0, 0.3333)),
        (Node(16, 1), {"gpu": 21.0}, (1.0, 1.0)),
        # Cores allow four, then two.
        (Node(16, 1), {"gpu": 1.0, "busy": 4.4}, (4.0, 0.25)),
        (Node(16, 2), {"gpu": 1.0, "busy": 3.5}, (4.0, 0.5)),
        # It could use more cores than there are for each GPU.
        (Node(4, 8), {"gpu": 1.0, "busy": 3.0}, (1.0, 1.0)),
        # The host's 64 GiB hold two trials of 25 GiB with their margin, whatever their share of a GPU.
        (Node(16, 1), {"gpu": 1.0, "host": 25.0}, (8.0, 0.5)),
        (Node(16, 8), {"gpu": 1.0, "host": 25.0}, (8.0, 1.0)),
    ],
)
def test_shares_of_a_gpu(node: Node, taken: dict[str, float], expected: tuple[float, float]) -> None:
    share = on_gpu(node, **taken)
    assert (share.cpus, share.gpus) == expected
    assert share.params == {"placement.cpus": expected[0], "placement.gpus": expected[1]}


def on_cpu(cpus: int, *, host: float, busy: float, num_trials: int = 100, threads: int | None = None) -> Share:
    device = Device("a machine", host_memory_mib=64 * GIB)
    measurement = Measurement(host_memory_mib=host * GIB, busy_cores=busy)
    placement = placement_on(Node(cpus, 0), num_trials=num_trials)
    return cpu_share(measurement, device, placement, margin=0.0, threads=threads)


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        # Many trials: one core each, however many one could use.
        ({"host": 1.0, "busy": 12.0}, (1.0, 1)),
        # Memory for five: the cores are theirs.
        ({"host": 12.0, "busy": 12.0}, (3.2, 3)),
        ({"host": 12.0, "busy": 1.7}, (3.2, 2)),
        # Few trials: no more cores than they use.
        ({"host": 1.0, "busy": 12.0, "num_trials": 2}, (8.0, 8)),
        ({"host": 1.0, "busy": 2.6, "num_trials": 2}, (3.0, 3)),
        ({"host": 1.0, "busy": 0.2, "num_trials": 1}, (1.0, 1)),
        ({"host": 65.0, "busy": 4.0}, (16.0, 4)),
        # Threads that the trial sets itself.
        ({"host": 1.0, "busy": 3.9, "threads": 4}, (4.0, 4)),
        ({"host": 1.0, "busy": 40.0, "threads": 40}, (16.0, 16)),
    ],
)
def test_shares_of_a_machine(taken: dict[str, float], expected: tuple[float, int]) -> None:
    share = on_cpu(16, **taken)
    assert (share.cpus, share.gpus, share.threads) == (expected[0], 0.0, expected[1])


def fill(node: Node, shares: list[Share]) -> list[int]:
    """Place the shares in turn as long as one fits, on the first GPU with room; return which were placed."""
    # In ten-thousandths, as Ray counts.
    free, gpus, placed = round(node.cpus * 10_000), [10_000] * node.gpus, []
    stuck = 0
    while stuck < len(shares):
        index = (placed[-1] + 1 if placed else 0) + stuck
        share = shares[index % len(shares)]
        room = [place for place, left in enumerate(gpus) if left >= round(share.gpus * 10_000)]
        if round(share.cpus * 10_000) > free or (share.gpus and not room):
            stuck += 1
            continue
        free -= round(share.cpus * 10_000)
        if share.gpus:
            gpus[room[0]] -= round(share.gpus * 10_000)
        placed.append(index % len(shares))
        stuck = 0
    return placed


taken = st.builds(
    Measurement,
    gpu_memory_mib=st.floats(300, 30_000),
    host_memory_mib=st.floats(300, 40_000),
    busy_cores=st.floats(0, 20),
)


@given(
    node=st.builds(Node, cpus=st.integers(1, 64), gpus=st.integers(1, 8)),
    measurements=st.lists(taken, min_size=1, max_size=3),
    margin=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_trials_that_share_a_gpu_fit_into_its_memory(
    node: Node, measurements: list[Measurement], margin: float
) -> None:
    device = Device("a GPU", host_memory_mib=65_536.0, gpu_memory_mib=24_576.0)
    shares = [gpu_share(one, device, placement_on(node), margin=margin) for one in measurements]
    # A trial that alone is too large is not held back: it is then alone on its device.
    assume(all(one.gpu_memory_mib * (1 + margin) <= device.gpu_memory_mib for one in measurements))
    assume(all(one.host_memory_mib * (1 + margin) <= device.host_memory_mib for one in measurements))
    for one, share in zip(measurements, shares, strict=True):
        on_one = int(1 / share.gpus + 1e-9)
        assert on_one * one.gpu_memory_mib * (1 + margin) <= device.gpu_memory_mib * (1 + 1e-9)
    placed = fill(node, shares)
    assert placed
    host = sum(measurements[index].host_memory_mib * (1 + margin) for index in placed)
    assert host <= device.host_memory_mib * (1 + 1e-3)  # Ray's rounding


@given(
    cpus=st.integers(1, 64),
    measurements=st.lists(taken, min_size=1, max_size=3),
    num_trials=st.integers(1, 200),
    threads=st.none() | st.integers(1, 64),
)
def test_trials_that_share_a_machine_fit_into_its_memory(
    cpus: int, measurements: list[Measurement], num_trials: int, threads: int | None
) -> None:
    node, device = Node(cpus, 0), Device("a machine", host_memory_mib=65_536.0)
    placement = placement_on(node, num_trials=num_trials)
    shares = [cpu_share(one, device, placement, margin=0.2, threads=threads) for one in measurements]
    placed = fill(node, shares)
    host = sum(measurements[index].host_memory_mib * 1.2 for index in placed)
    assert host <= device.host_memory_mib * (1 + 1e-3)
    assert sum(shares[index].threads for index in placed) <= cpus
    assert all(1 <= share.threads <= share.cpus <= cpus for share in shares)


def test_shares_that_are_not_measured() -> None:
    gpus = placement_on(Node(16, 2))
    assert planned_share(gpus) == Share(8.0, 1.0, 8, {"placement.cpus": 8.0, "placement.gpus": 1.0})
    assert whole_device(gpus, on_gpu=True) == planned_share(gpus)
    assert (whole_device(gpus, on_gpu=False).cpus, whole_device(gpus, on_gpu=False).gpus) == (16.0, 0.0)
    halves = plan_placement(ResourcesConfig(gpus=0.5), num_trials=9, capacity=Capacity(nodes=(Node(16, 2),)))
    assert (whole_device(halves, on_gpu=True).gpus, planned_share(halves).gpus) == (1.0, 0.5)
    machine = placement_on(Node(16, 0))
    assert (planned_share(machine).cpus, whole_device(machine, on_gpu=False).cpus) == (1.0, 16.0)
