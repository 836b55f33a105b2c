"""Which way an embedding loss is computed: one rule, in one place.

`fused`   compiled kernels: neighbours, softmax and gradients of a tile of pixels in one pass
`dense`   plain torch: all classes' logits of a chunk of pixels, of which a k-nearest loss keeps the k largest
`search`  plain torch: neighbours from an index, whose embeddings are gathered
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from essnet.losses.candidates import Candidates
from essnet.losses.rows import Rows

Path = Literal["fused", "dense", "search"]

# Larger numbers could overflow float32 in a square; they are left to the plain engine, and NaN as well.
_LARGEST_FUSED = 1e8

DENSE_UP_TO_CLASSES = 200


def choose_path(rows: Rows, candidates: Candidates, *, backend: str, search: str) -> Path:
    """Return the fastest path that these rows can take; a search that was asked for by name is done."""
    searches = candidates.num_neighbours > 0
    if searches and (backend != "auto" or search != "exact"):
        return "search"
    if fused_can_take(rows):
        return "fused"
    if searches and (len(candidates.shared) or rows.num_classes > DENSE_UP_TO_CLASSES):
        return "search"
    return "dense"


def fused_can_take(rows: Rows) -> bool:
    """Return whether the compiled kernels can: finite float32 on the CPU, and numba imports."""
    if rows.pixels.device.type != "cpu" or rows.pixels.dtype != torch.float32 or not _numba_imports():
        return False
    return all(_is_bounded(tensor.detach()) for tensor in (rows.pixels, rows.classes, rows.logit_scale))


def _is_bounded(tensor: Tensor) -> bool:
    low, high = tensor.aminmax()
    return float(low) > -_LARGEST_FUSED and float(high) < _LARGEST_FUSED


def _numba_imports() -> bool:
    try:
        import numba  # noqa: F401
    except ImportError:  # no wheel for this Python or processor
        return False
    return True
