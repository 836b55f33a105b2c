from __future__ import annotations

import pytest
import torch

from essnet.config import InputError, ResourcesConfig
from essnet.sweep import resources
from essnet.sweep.resources import plan_placement


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
    ],
)
def test_placement(machine, cpus: int, gpus: int, asked: dict, expected: tuple) -> None:
    machine(cpus, gpus)
    placement = plan_placement(ResourcesConfig(**asked), num_trials=100)
    assert (placement.cpus, placement.gpus, placement.concurrent, placement.threads) == expected


def test_what_can_never_be_placed_is_refused(machine) -> None:
    machine(2, 0)
    with pytest.raises(InputError, match=r"resources\.gpus: a trial asks for 1 GPUs, and this machine has 0"):
        plan_placement(ResourcesConfig(gpus=1.0), num_trials=1)
    with pytest.raises(InputError, match=r"resources\.cpus: a trial asks for 3 cores, and this machine has 2"):
        plan_placement(ResourcesConfig(cpus=3.0), num_trials=1)


@pytest.mark.parametrize(("num_trials", "expected"), [(1, (16.0, 1)), (5, (3.0, 5)), (8, (2.0, 8)), (100, (1.0, 16))])
def test_few_trials_take_more_cores_each(machine, num_trials: int, expected: tuple) -> None:
    machine(16, 0)
    placement = plan_placement(ResourcesConfig(), num_trials=num_trials)
    assert (placement.cpus, placement.concurrent) == expected
