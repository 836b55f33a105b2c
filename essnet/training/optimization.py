"""Optimizers and learning-rate schedules, from their configuration blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)

from essnet.config import OptimizerConfig, ScheduleConfig


def build_optimizer(groups: Mapping[str, list[Parameter]], config: OptimizerConfig) -> Optimizer:
    """Build the optimizer with a rate of its own for the encoder and for the class embeddings.

    Parameters
    ----------
    groups
        `encoder`, `decoder`, `class_embeddings` -> their parameters; one without any is left out.
    config
        The `optimizer` block.
    """
    parameters = list(_parameter_groups(groups, config))
    if config.name == "sgd":
        return SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    return AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)


def _parameter_groups(groups: Mapping[str, list[Parameter]], config: OptimizerConfig) -> Iterator[dict[str, Any]]:
    factors = {
        "encoder": config.encoder_lr_factor,
        "decoder": 1.0,
        "class_embeddings": config.class_embeddings_lr_factor,
    }
    decays = dict.fromkeys(factors, config.weight_decay)
    if config.class_embeddings_weight_decay is not None:
        decays["class_embeddings"] = config.class_embeddings_weight_decay
    for name, group in groups.items():
        decayed = [parameter for parameter in group if config.decay_norm_and_bias or parameter.ndim > 1]
        others = [parameter for parameter in group if not config.decay_norm_and_bias and parameter.ndim <= 1]
        for parameters, weight_decay in ((decayed, decays[name]), (others, 0.0)):
            if parameters:
                rate = config.lr * factors[name]
                yield {"name": name, "params": parameters, "lr": rate, "weight_decay": weight_decay}


def build_schedule(optimizer: Optimizer, config: ScheduleConfig, *, max_steps: int) -> LRScheduler:
    """Build the schedule, which moves once a step and ends after `max_steps`.

    Of `warmup_steps` = W the rate of step s < W is (s + 1) / (W + 1) of the group's own; from step W on the schedule
    runs as if it began there, over the max_steps - W steps that are left.
    """
    if config.name == "one_cycle":
        return _one_cycle(optimizer, config, max_steps=max_steps)
    warmup = config.warmup_steps
    # A run that ends within its warm-up leaves the schedule no step; none of them can be built over none.
    schedule = _SCHEDULES[config.name](optimizer, config, max_steps=max(1, max_steps - warmup))
    if not warmup:
        return schedule
    rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimizer, [rise, schedule], milestones=[warmup])


def _poly(optimizer: Optimizer, config: ScheduleConfig, *, max_steps: int) -> LRScheduler:
    return PolynomialLR(optimizer, total_iters=max_steps, power=config.power)


def _multi_poly(optimizer: Optimizer, config: ScheduleConfig, *, max_steps: int) -> LRScheduler:
    # The factors are functions of the step alone and no part of the state: a resumed run makes them anew.
    powers = {"class_embeddings": config.class_embeddings_power}
    return LambdaLR(
        optimizer,
        [
            partial(_poly_factor, max_steps=max_steps, power=powers.get(group["name"], config.power))
            for group in optimizer.param_groups
        ],
    )


def _poly_factor(step: int, *, max_steps: int, power: float) -> float:
    return float(max(0.0, 1 - step / max_steps) ** power)


def _step(optimizer: Optimizer, config: ScheduleConfig, *, max_steps: int) -> LRScheduler:
    return StepLR(optimizer, step_size=config.drop_every_steps, gamma=config.drop_factor)


def _cosine(optimizer: Optimizer, config: ScheduleConfig, *, max_steps: int) -> LRScheduler:
    return CosineAnnealingLR(optimizer, T_max=max_steps)


_SCHEDULES: dict[str, Callable[..., LRScheduler]] = {
    "poly": _poly,
    "multi_poly": _multi_poly,
    "step": _step,
    "cosine": _cosine,
}
"""Those that a warm-up can come before."""


def _one_cycle(optimizer: Optimizer, config: ScheduleConfig, *, max_steps: int) -> LRScheduler:
    total_steps = max_steps + 1  # the schedule moves after the last optimizer step as well
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=total_steps,
        # The rise takes one step at least: with none the schedule divides by zero.
        pct_start=max(config.warmup_fraction, 2 / total_steps),
        # AdamW's first moment moves against the rate; SGD keeps `optimizer.momentum`.
        cycle_momentum=isinstance(optimizer, AdamW),
    )


def base_learning_rate(optimizer: Optimizer) -> float:
    """Return the present rate of the decoder, which is `optimizer.lr` moved by the schedule."""
    return float(next(group["lr"] for group in optimizer.param_groups if group["name"] == "decoder"))
