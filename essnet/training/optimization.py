"""Optimizers and learning-rate schedules, from their configuration blocks."""

from __future__ import annotations

from collections.abc import Mapping

from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, PolynomialLR

from essnet.config import OptimizerConfig, ScheduleConfig


def build_optimizer(groups: Mapping[str, list[Parameter]], config: OptimizerConfig) -> Optimizer:
    """Build the optimizer with a rate of its own for the encoder and for the class embeddings.

    Parameters
    ----------
    groups
        `encoder`, `decoder`, `class_embeddings` -> their parameters.
    config
        The `optimizer` block.
    """
    factors = {
        "encoder": config.encoder_lr_factor,
        "decoder": 1.0,
        "class_embeddings": config.class_embeddings_lr_factor,
    }
    parameters = [
        {"name": name, "params": group, "lr": config.lr * factors[name]} for name, group in groups.items() if group
    ]
    if config.name == "sgd":
        return SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    return AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)


def build_schedule(optimizer: Optimizer, config: ScheduleConfig, *, max_steps: int) -> LRScheduler:
    """Build the schedule, which moves once a step and ends after `max_steps`."""
    if config.name == "poly":
        return PolynomialLR(optimizer, total_iters=max_steps, power=config.power)
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
