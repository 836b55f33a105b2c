"""How quickly the running statistics of batch norms follow the batches."""

from __future__ import annotations

from torch import nn


def set_batch_norm_momentum(module: nn.Module, momentum: float) -> int:
    """Set the momentum of every batch norm in `module`; return how many there are.

    As in torch, `momentum` is the weight of the newest batch: statistics = (1 - momentum) statistics + momentum batch.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = momentum
    return len(norms)
