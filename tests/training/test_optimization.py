from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch.nn import BatchNorm2d, Conv2d, Linear, Parameter, Sequential
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


def test_class_embeddings_have_a_weight_decay_of_their_own() -> None:
    for own, expected in ((None, 0.02), (0.0, 0.0), (0.5, 0.5)):
        optimizer = optimizer_of(weight_decay=0.02, class_embeddings_weight_decay=own)
        decays = {group["name"]: group["weight_decay"] for group in optimizer.param_groups}
        assert decays == {"encoder": 0.02, "decoder": 0.02, "class_embeddings": expected}


def test_norms_and_biases_may_go_without_weight_decay() -> None:
    network = Sequential(Conv2d(3, 4, 3), BatchNorm2d(4), Linear(4, 2))
    matrices = {"0.weight", "2.weight"}
    scale, embeddings = Parameter(torch.zeros(())), Parameter(torch.ones(5, 2))
    groups = {"encoder": [], "decoder": list(network.parameters()), "class_embeddings": [embeddings, scale]}
    options = {"lr": 0.1, "class_embeddings_lr_factor": 3.0, "weight_decay": 0.02}

    one_group_each = build_optimizer(groups, OptimizerConfig(**options)).param_groups
    assert [(group["name"], len(group["params"])) for group in one_group_each] == [
        ("decoder", 6),
        ("class_embeddings", 2),
    ]

    optimizer = build_optimizer(groups, OptimizerConfig(decay_norm_and_bias=False, **options))
    decay = {id(parameter): group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}
    found = {name: decay.pop(id(parameter)) for name, parameter in network.named_parameters()}
    assert found == {name: 0.02 if name in matrices else 0.0 for name, _ in network.named_parameters()}
    assert decay == {id(embeddings): 0.02, id(scale): 0.0}
    assert {(group["name"], group["lr"]) for group in optimizer.param_groups} == {
        ("decoder", 0.1),
        ("class_embeddings", 0.1 * 3.0),
    }
    assert base_learning_rate(optimizer) == 0.1


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


NO_WARM_UP = ["poly", "multi_poly", "step", "cosine"]
RATES = {"lr": 0.1, "encoder_lr_factor": 0.5, "class_embeddings_lr_factor": 10.0}


def naive_factor(config: ScheduleConfig, group: str, step: int, max_steps: int) -> float:
    """What a group's own rate is multiplied by at a step, from 0; warm-up aside."""
    if config.name == "poly":
        return (1 - step / max_steps) ** config.power
    if config.name == "multi_poly":
        power = config.class_embeddings_power if group == "class_embeddings" else config.power
        return (1 - step / max_steps) ** power
    if config.name == "step":
        return config.drop_factor ** (step // config.drop_every_steps)
    return (1 + math.cos(math.pi * step / max_steps)) / 2


def naive_rates(config: ScheduleConfig, step: int, max_steps: int) -> list[float]:
    warmup = config.warmup_steps
    found = []
    for group, factor in zip(GROUPS, (0.5, 1.0, 10.0), strict=True):
        if step < warmup:
            moved = (step + 1) / (warmup + 1)
        else:
            moved = naive_factor(config, group, step - warmup, max(1, max_steps - warmup))
        found.append(0.1 * factor * moved)
    return found


@pytest.mark.parametrize("name", NO_WARM_UP)
@pytest.mark.parametrize(("max_steps", "warmup"), [(1, 0), (2, 0), (2, 1), (17, 0), (17, 5), (17, 16), (400, 33)])
def test_every_step_has_the_rates_of_the_formula(name: Any, max_steps: int, warmup: int) -> None:
    config = ScheduleConfig(
        name=name, power=0.9, class_embeddings_power=1.7, drop_every_steps=4, drop_factor=0.3, warmup_steps=warmup
    )
    found = rates(config, max_steps, optimizer_of(**RATES))
    for step in range(max_steps + 1):
        assert found[step] == pytest.approx(naive_rates(config, step, max_steps), rel=1e-9, abs=1e-15), step


@pytest.mark.parametrize("name", NO_WARM_UP)
@pytest.mark.parametrize("warmup", [6, 7, 50])
def test_a_run_within_its_warm_up_only_rises(name: Any, warmup: int) -> None:
    found = rates(ScheduleConfig(name=name, warmup_steps=warmup), 6, optimizer_of(lr=0.1))
    assert [step[1] for step in found] == pytest.approx([0.1 * (step + 1) / (warmup + 1) for step in range(7)])


def test_defaults_are_the_originals() -> None:
    """Its multi_poly has the powers 0.9 and, for class embeddings, 0.95; its step a tenth every 10,000 steps."""
    multi_poly = rates(ScheduleConfig(name="multi_poly"), 8, optimizer_of(lr=1.0))
    assert multi_poly[4] == pytest.approx([0.5**0.9, 0.5**0.9, 0.5**0.95])
    step = ScheduleConfig(name="step")
    assert (step.drop_every_steps, step.drop_factor) == (10_000, 0.1)


@pytest.mark.parametrize("name", [*NO_WARM_UP, "one_cycle"])
@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize("stop", [0, 1, 4, 5, 6, 11, 12])
def test_resumed_midway_the_rates_are_exactly_those_of_the_uninterrupted_run(name: Any, warmup: int, stop: int) -> None:
    config = ScheduleConfig(name=name, warmup_steps=0 if name == "one_cycle" else warmup, drop_every_steps=3)
    max_steps = 12
    whole = rates(config, max_steps, optimizer_of(**RATES))

    optimizer = optimizer_of(**RATES)
    schedule = build_schedule(optimizer, config, max_steps=max_steps)

    def take_step() -> list[float]:
        for group in optimizer.param_groups:
            group["params"][0].grad = torch.zeros(2)
        optimizer.step()
        schedule.step()
        return [group["lr"] for group in optimizer.param_groups]

    for _ in range(stop):
        take_step()
    kept = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, kept)
    kept.seek(0)
    state = torch.load(kept, weights_only=True)

    optimizer = optimizer_of(**RATES)
    schedule = build_schedule(optimizer, config, max_steps=max_steps)
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    assert [group["lr"] for group in optimizer.param_groups] == whole[stop]
    assert [take_step() for _ in range(stop, max_steps)] == whole[stop + 1 :]


@pytest.mark.parametrize("name", [*NO_WARM_UP, "one_cycle"])
def test_a_rate_of_zero_stays_zero(name: Any) -> None:
    optimizer = optimizer_of(lr=0.1, encoder_lr_factor=0.0)
    found = rates(ScheduleConfig(name=name), 6, optimizer)
    assert all(step[0] == 0.0 for step in found)
    assert found[2][1] > 0
