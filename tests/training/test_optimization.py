from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer

from essnet.config import OptimizerConfig, ScheduleConfig
from essnet.training.optimization import base_learning_rate, build_optimizer, build_schedule

GROUPS = ("encoder", "decoder", "class_embeddings")


def optimizer_of(**options: Any) -> Optimizer:
    groups = {name: [Parameter(torch.ones(2))] for name in GROUPS}
    return build_optimizer(groups, OptimizerConfig(**options))


def rates(schedule: ScheduleConfig, max_steps: int, optimizer: Optimizer) -> list[list[float]]:
    """The groups' rates of each step, and those after the last."""
    moving = build_schedule(optimizer, schedule, max_steps=max_steps)
    found = [[group["lr"] for group in optimizer.param_groups]]
    for _ in range(max_steps):
        for group in optimizer.param_groups:
            group["params"][0].grad = torch.zeros(2)
        optimizer.step()
        moving.step()
        found.append([group["lr"] for group in optimizer.param_groups])
    return found


def test_every_group_has_its_rate() -> None:
    optimizer = optimizer_of(lr=0.1, encoder_lr_factor=0.25, class_embeddings_lr_factor=10.0)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == {
        "encoder": 0.025,
        "decoder": 0.1,
        "class_embeddings": 1.0,
    }
    assert base_learning_rate(optimizer) == 0.1


def test_empty_groups_are_left_out() -> None:
    parameter = Parameter(torch.ones(1))
    optimizer = build_optimizer({"encoder": [], "decoder": [parameter]}, OptimizerConfig())
    assert [group["name"] for group in optimizer.param_groups] == ["decoder"]


def test_options_reach_the_optimizer() -> None:
    sgd = optimizer_of(name="sgd", momentum=0.7, weight_decay=0.02)
    assert isinstance(sgd, SGD)
    assert all(group["momentum"] == 0.7 and group["weight_decay"] == 0.02 for group in sgd.param_groups)
    adamw = optimizer_of(name="adamw", weight_decay=0.03)
    assert isinstance(adamw, AdamW)
    assert all(group["weight_decay"] == 0.03 for group in adamw.param_groups)


@pytest.mark.parametrize("max_steps", [1, 2, 10, 1000])
@pytest.mark.parametrize("power", [0.9, 2.0])
def test_poly_is_its_formula(max_steps: int, power: float) -> None:
    optimizer = optimizer_of(lr=0.1, encoder_lr_factor=0.5)
    found = rates(ScheduleConfig(name="poly", power=power), max_steps, optimizer)
    for step in {0, max_steps // 2, max_steps - 1, max_steps}:
        expected = 0.1 * (1 - step / max_steps) ** power
        assert found[step] == pytest.approx([0.5 * expected, expected, expected], rel=1e-6, abs=1e-12)


def one_cycle(step: int, max_steps: int, warmup: float) -> float:
    """Factor of the highest rate: a half cosine up from 1/25, then one down to 1/250000."""
    peak = max(warmup * (max_steps + 1), 2) - 1
    if step <= peak:
        low, done = 1 / 25, step / peak
        return low + (1 - low) * (1 - math.cos(math.pi * done)) / 2
    low, done = 1 / 250_000, (step - peak) / (max_steps - peak)
    return low + (1 - low) * (1 + math.cos(math.pi * done)) / 2


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("max_steps", "warmup"),
    [(1, 0.3), (2, 0.3), (3, 0.25), (9, 0.1), (10, 0.3), (300, 0.3), (100, 0.001), (100, 0.999)],
)
def test_one_cycle_is_its_formula(name: str, max_steps: int, warmup: float) -> None:
    optimizer = optimizer_of(name=name, lr=0.1, class_embeddings_lr_factor=10.0)
    found = rates(ScheduleConfig(name="one_cycle", warmup_fraction=warmup), max_steps, optimizer)
    for step in range(max_steps + 1):
        expected = 0.1 * one_cycle(step, max_steps, warmup)
        assert found[step] == pytest.approx([expected, expected, 10 * expected], rel=1e-6)


def test_one_cycle_leaves_momentum_as_configured() -> None:
    optimizer = optimizer_of(name="sgd", momentum=0.5)
    rates(ScheduleConfig(name="one_cycle"), 5, optimizer)
    assert all(group["momentum"] == 0.5 for group in optimizer.param_groups)


@pytest.mark.parametrize("name", ["poly", "one_cycle"])
def test_a_frozen_encoder_stays_frozen(name: str) -> None:
    optimizer = optimizer_of(lr=0.1, encoder_lr_factor=0.0)
    found = rates(ScheduleConfig(name=name), 6, optimizer)
    assert all(step[0] == 0.0 for step in found)
    assert found[2][1] > 0
