"""The fused loss of rows by tiles of pixels and blocks of classes, for any candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from essnet.losses.candidates import Candidates, LossSum
from essnet.losses.fused.class_blocks import class_blocks, classes_of_blocks, padded_rows
from essnet.losses.fused.threads import even_parts, on_threads
from essnet.losses.fused.tiles import softmax_tiles
from essnet.losses.rows import Rows

# Fewer are not worth a thread.
MIN_PART_ROWS = 512

# Ranks that one pixel holds at once; where there are more shared classes, they are ranked twice.
MAX_HELD_RANKS = 1 << 13

# Pixels that pass over a block of classes while it is in cache.
TILE_PIXELS = 32


@torch.no_grad()
def tile_loss_sum(rows: Rows, candidates: Candidates, *, by_distance: bool, with_gradients: bool) -> LossSum:
    """Return the sum of the rows' losses and its gradients; rows are finite float32 on the CPU.

    Beside the gradients, each thread takes memory for class gradients of its own and for a tile of ranks.
    """
    num_classes, embedding_dim = rows.classes.shape
    pixels, classes = padded_rows(rows.pixels), padded_rows(rows.classes)
    blocks = class_blocks(rows.classes)
    searched = blocks if candidates.num_neighbours else blocks[:0]
    shared = class_blocks(rows.classes[candidates.shared]) if len(candidates.shared) else blocks[:0]
    place_in_shared = torch.full((num_classes,), -1)
    place_in_shared[candidates.shared] = torch.arange(len(candidates.shared))
    scale = float(rows.logit_scale)
    grad_pixels = torch.empty_like(pixels) if with_gradients else pixels[:0]

    def part_sum(part: _Part) -> float:
        total: float = softmax_tiles(
            pixels[part.rows].numpy(),
            rows.targets[part.rows].numpy(),
            classes.numpy(),
            searched.numpy(),
            candidates.num_neighbours,
            shared.numpy(),
            len(candidates.shared),
            place_in_shared.numpy(),
            np.float32(-candidates.shared_logit_offset / scale),
            np.float32(scale),
            by_distance,
            with_gradients,
            grad_pixels[part.rows].numpy(),
            part.grad_classes.numpy(),
            part.grad_shared.numpy(),
            part.searched_ranks.numpy(),
            part.shared_ranks.numpy(),
        )
        return total

    written = slice(None) if with_gradients else slice(0)
    parts = [
        _Part(
            rows=part,
            grad_classes=torch.zeros_like(classes[written]),
            grad_shared=torch.zeros_like(shared[written]),
            searched_ranks=_tile_of_ranks(searched),
            shared_ranks=_tile_of_ranks(shared),
        )
        for part in even_parts(len(pixels), at_least=MIN_PART_ROWS)
    ]
    loss = rows.pixels.new_tensor(sum(on_threads(part_sum, parts)))
    if not with_gradients:
        return LossSum(loss)
    grad_classes, grad_shared = parts[0].grad_classes, parts[0].grad_shared
    for part in parts[1:]:
        grad_classes += part.grad_classes
        grad_shared += part.grad_shared
    grad_classes = grad_classes[:, :embedding_dim]
    if len(shared):
        of_shared = classes_of_blocks(grad_shared, len(candidates.shared), embedding_dim)
        grad_classes.index_add_(0, candidates.shared, of_shared)
    return LossSum(loss, grad_pixels[:, :embedding_dim], grad_classes)


@dataclass(frozen=True)
class _Part:
    """Rows for one thread, and what it writes to."""

    rows: slice
    grad_classes: Tensor
    grad_shared: Tensor
    searched_ranks: Tensor
    shared_ranks: Tensor


def _tile_of_ranks(blocks: Tensor) -> Tensor:
    """Return an empty (blocks held at once, pixels of a tile, classes of a block)."""
    num_blocks, _, width = blocks.shape
    held = max(1, min(num_blocks, MAX_HELD_RANKS // width))
    return blocks.new_empty((held, TILE_PIXELS, width))
