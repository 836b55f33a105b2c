"""The fused engine: compiled kernels for float32 on a CPU, on as many threads as torch uses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from essnet.losses.candidates import Candidates, LossSum
from essnet.losses.fused.class_blocks import class_blocks, classes_of_blocks, padded_rows
from essnet.losses.fused.tiles import softmax_tiles
from essnet.losses.rows import Rows

# The class gradients of so many rows are summed by themselves first: a long float32 sum of small numbers would
# lose them.
SPAN_ROWS = 1 << 14

# Fewer are not worth a thread.
MIN_PART_ROWS = 512

# Ranks that one pixel holds at once; where there are more shared classes, they are ranked twice.
MAX_HELD_RANKS = 1 << 13

# Pixels that pass over a block of classes while it is in cache.
TILE_PIXELS = 32

_Result = TypeVar("_Result")


@torch.no_grad()
def fused_loss_sum(rows: Rows, candidates: Candidates, *, by_distance: bool, with_gradients: bool) -> LossSum:
    """Return the sum of the rows' losses and its gradients; rows are finite float32 on the CPU.

    Beside the gradients, memory is one gradient of the classes for each span of rows in flight, and a tile of
    ranks for each thread.
    """
    num_classes, embedding_dim = rows.classes.shape
    pixels, classes = padded_rows(rows.pixels), padded_rows(rows.classes)
    blocks = class_blocks(rows.classes)
    searched = blocks if candidates.num_neighbours else blocks[:0]
    shared = class_blocks(rows.classes[candidates.shared]) if len(candidates.shared) else blocks[:0]
    place_in_shared = torch.full((num_classes,), -1)
    place_in_shared[candidates.shared] = torch.arange(len(candidates.shared))
    scale = float(rows.logit_scale)
    grad_pixels = torch.empty_like(pixels)

    def part_sum(part: slice) -> tuple[float, Tensor, Tensor]:
        total, grad_classes, grad_shared = 0.0, torch.zeros_like(classes), torch.zeros_like(shared)
        searched_ranks, shared_ranks = _tile_of_ranks(searched), _tile_of_ranks(shared)
        for start in range(part.start, part.stop, SPAN_ROWS):
            span = slice(start, min(start + SPAN_ROWS, part.stop))
            span_classes, span_shared = torch.zeros_like(classes), torch.zeros_like(shared)
            total += softmax_tiles(
                pixels[span].numpy(),
                rows.targets[span].numpy(),
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
                grad_pixels[span].numpy(),
                span_classes.numpy(),
                span_shared.numpy(),
                searched_ranks.numpy(),
                shared_ranks.numpy(),
            )
            grad_classes += span_classes
            grad_shared += span_shared
        return total, grad_classes, grad_shared

    totals, of_classes, of_blocks = zip(*_on_threads(part_sum, len(pixels)), strict=True)
    total, grad_classes, grad_shared = sum(totals), sum(of_classes), sum(of_blocks)
    loss = rows.pixels.new_tensor(total)
    if not with_gradients:
        return LossSum(loss)
    grad_classes = grad_classes[:, :embedding_dim]
    if len(shared):
        of_shared = classes_of_blocks(grad_shared, len(candidates.shared), embedding_dim)
        grad_classes.index_add_(0, candidates.shared, of_shared)
    return LossSum(loss, grad_pixels[:, :embedding_dim], grad_classes)


def _tile_of_ranks(blocks: Tensor) -> Tensor:
    """Return an empty (blocks held at once, pixels of a tile, classes of a block)."""
    num_blocks, _, width = blocks.shape
    held = max(1, min(num_blocks, MAX_HELD_RANKS // width))
    return blocks.new_empty((held, TILE_PIXELS, width))


def _on_threads(work: Callable[[slice], _Result], num_rows: int) -> list[_Result]:
    """Return the results for as many even parts of the rows as torch has threads; this thread does the first."""
    num_parts = max(1, min(torch.get_num_threads(), num_rows // MIN_PART_ROWS))
    bounds = [num_rows * part // num_parts for part in range(num_parts + 1)]
    first, *others = [slice(start, stop) for start, stop in pairwise(bounds)]
    if not others:
        return [work(first)]
    with ThreadPoolExecutor(len(others)) as threads:
        running = [threads.submit(work, part) for part in others]
        return [work(first), *(future.result() for future in running)]
