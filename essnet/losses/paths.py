"""Which way an embedding loss is computed: one rule, in one place.

`strips`  compiled kernels, where classes are few: vectors of pixels
`tiles`   compiled kernels, for any candidates: vectors of classes
`dense`   plain torch: all classes' logits of a chunk of pixels, of which a k-nearest loss keeps the k largest
`search`  plain torch: neighbours from an index, whose embeddings are gathered
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from essnet.losses.candidates import Candidates
from essnet.losses.rows import Rows

Path = Literal["strips", "tiles", "dense", "search"]

# What the compiled kernels are exact for; the rest, NaN as well, is left to the plain engine. Logits whose last digit
# is below 0.1, and a scale for which a hidden class stays hidden.
_LARGEST_LOGIT = 1e6
_SMALLEST_SCALE = 1e-6

# Milliseconds of benchmarks/paths.py for 32,768 pixels of dimension 12, l2, one thread of an AMD EPYC with AVX-512:
#
#                        k = 7                           k = 31
#   classes   dense search  tiles strips     dense search  tiles strips
#        19      27     31     10      2
#        50      44     46     11      3        65    118     23      5
#       100      77     58     14      6       104    156     25      8
#       150     109     67     15      9       135    183     26     12
#       200     138     72     17     13       167    204     28     16
#       300     204     87     19     15       234    237     30     24
#       500     235    108     22     28       367    283     34     46
#     1,284     588    196     34     78     1,263    537     66    136
#
# At dimension 64 tiles overtake strips at some 200 classes with k = 7 and 400 with k = 31; for the exact loss at
# 200 to 250 in either dimension.
MAX_STRIP_CLASSES = 192
STRIP_CLASSES_PER_NEIGHBOUR = 4

# What one own class costs (found, gathered, its gradient scattered), in classes of a dense chunk.
DENSE_CLASSES_PER_OWN_CLASS = 5


def choose_path(rows: Rows, candidates: Candidates, *, backend: str, search: str) -> Path:
    """Return the fastest path that these rows can take; a search that was asked for by name is done."""
    searches = candidates.num_neighbours > 0
    if searches and (backend != "auto" or search != "exact"):
        return "search"
    if fused_can_take(rows):
        return "strips" if _strips_pay(candidates, num_classes=rows.num_classes) else "tiles"
    if not searches:
        return "dense"
    dense_pays = rows.num_classes <= DENSE_CLASSES_PER_OWN_CLASS * (1 + candidates.num_neighbours)
    return "dense" if dense_pays and not len(candidates.shared) else "search"


def _strips_pay(candidates: Candidates, *, num_classes: int) -> bool:
    """Return whether classes are few, and a pixel's candidates are either all of them or its k nearest."""
    k, num_shared = candidates.num_neighbours, len(candidates.shared)
    if num_shared and (k > 0 or num_shared < num_classes or candidates.shared_logit_offset != 0):
        return False
    return num_classes <= MAX_STRIP_CLASSES + STRIP_CLASSES_PER_NEIGHBOUR * k


def fused_can_take(rows: Rows) -> bool:
    """Return whether the compiled kernels can: float32 of ordinary size on the CPU, and numba imports."""
    if rows.pixels.device.type != "cpu" or rows.pixels.dtype != torch.float32 or not _numba_imports():
        return False
    scale, pixel, class_ = float(rows.logit_scale), _largest(rows.pixels), _largest(rows.classes)
    dim = rows.classes.shape[1]
    largest_logit = scale * max(dim * pixel * class_, math.sqrt(dim) * (pixel + class_))
    return scale >= _SMALLEST_SCALE and largest_logit <= _LARGEST_LOGIT  # not so for NaN


def _largest(embeddings: Tensor) -> float:
    low, high = embeddings.detach().aminmax()
    return float(torch.maximum(-low, high))


def _numba_imports() -> bool:
    try:
        import numba  # noqa: F401  # whether it imports is all that is asked
    except ImportError:  # no wheel for this Python or processor
        return False
    return True
