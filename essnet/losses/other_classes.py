"""The classes nearest to an embedding, its own class excepted."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.neighbours import NeighbourIndex


@torch.no_grad()
def nearest_other_classes(*, index: NeighbourIndex, queries: Tensor, own: Tensor, k: int) -> Tensor:
    """Return the `k` nearest classes of each query other than its own, in no particular order.

    Shapes: queries (N, D), own (N,) int64, result (N, k) int64; 1 <= k < C. Searches k + 1 and drops the own
    class, or the farthest where the own class is not among them: by id, so that another class at the same
    place stays.
    """
    found = index.search(queries.detach(), k + 1)
    nearer, farthest = found[:, :k], found[:, k:]
    return torch.where(nearer == own[:, None], farthest, nearer)
