"""Which way an embedding loss is computed: one rule, in one place.

`fused`   compiled kernels: neighbours, softmax and gradients of a tile of pixels in one pass
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

Path = Literal["fused", "dense", "search"]

# What the compiled kernels are exact for; the rest, NaN as well, is left to the plain engine. Logits whose last digit
# is below 0.1, and a scale for which a hidden class stays hidden.
_LARGEST_LOGIT = 1e6
_SMALLEST_SCALE = 1e-6

# What one own class costs (found, gathered, its gradient scattered), in classes of a dense chunk. Milliseconds of
# benchmarks/paths.py for 32,768 pixels of dimension 12, l2, one thread of an AMD EPYC with AVX-512:
#
#                     k = 7                    k = 31
#   classes    dense search fused       dense search fused
#        19       27     31    11
#        50       47     48    12          75    154    32
#       100       95     66    16         101    172    26
#       150      134     77    17         136    200    27
#       200      151     80    16         203    266    39
#       300      315    102    24         247    264    32
#     1,284    1,020    262    42         998    424    53
DENSE_CLASSES_PER_OWN_CLASS = 5


def choose_path(rows: Rows, candidates: Candidates, *, backend: str, search: str) -> Path:
    """Return the fastest path that these rows can take; a search that was asked for by name is done."""
    searches = candidates.num_neighbours > 0
    if searches and (backend != "auto" or search != "exact"):
        return "search"
    if fused_can_take(rows):
        return "fused"
    if not searches:
        return "dense"
    dense_pays = rows.num_classes <= DENSE_CLASSES_PER_OWN_CLASS * (1 + candidates.num_neighbours)
    return "dense" if dense_pays and not len(candidates.shared) else "search"


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
        import numba  # noqa: F401
    except ImportError:  # no wheel for this Python or processor
        return False
    return True
