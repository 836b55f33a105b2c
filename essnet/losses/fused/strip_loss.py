"""The fused loss of rows by strips of pixels, for few classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from essnet.losses.candidates import Candidates, LossSum
from essnet.losses.fused.class_blocks import padded_rows
from essnet.losses.fused.strips import softmax_strips
from essnet.losses.fused.threads import even_parts, on_threads
from essnet.losses.rows import Rows

# Fewer are not worth a thread: half a millisecond.
MIN_PART_ROWS = 4096


@torch.no_grad()
def strip_loss_sum(rows: Rows, candidates: Candidates, *, by_distance: bool, with_gradients: bool) -> LossSum:
    """Return the sum of the rows' losses and its gradients; rows are finite float32 on the CPU.

    The candidates are the k nearest classes, or for k = 0 all that there are, of at least two.
    """
    num_classes, embedding_dim = rows.classes.shape
    pixels, classes = padded_rows(rows.pixels), padded_rows(rows.classes)
    scale = float(rows.logit_scale)
    grad_pixels = torch.empty_like(pixels) if with_gradients else pixels[:0]

    def part_sum(part: _Part) -> float:
        total: float = softmax_strips(
            pixels[part.rows].numpy(),
            rows.targets[part.rows].numpy(),
            classes.numpy(),
            candidates.num_neighbours or num_classes - 1,
            np.float32(scale),
            by_distance,
            with_gradients,
            grad_pixels[part.rows].numpy(),
            part.grad_classes.numpy(),
        )
        return total

    parts = [
        _Part(rows=part, grad_classes=torch.zeros_like(classes))
        for part in even_parts(len(pixels), at_least=MIN_PART_ROWS)
    ]
    loss = rows.pixels.new_tensor(sum(on_threads(part_sum, parts)))
    if not with_gradients:
        return LossSum(loss)
    grad_classes = parts[0].grad_classes
    for part in parts[1:]:
        grad_classes += part.grad_classes
    return LossSum(loss, grad_pixels[:, :embedding_dim], grad_classes[:, :embedding_dim])


@dataclass(frozen=True)
class _Part:
    """Rows for one thread, and the class gradients that it writes."""

    rows: slice
    grad_classes: Tensor
