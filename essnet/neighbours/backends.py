"""Which search to use."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.config.errors import InputError
from essnet.neighbours.approximate_index import ApproximateIndex
from essnet.neighbours.faiss_index import FaissIndex, import_faiss
from essnet.neighbours.index import NeighbourIndex
from essnet.neighbours.torch_index import TorchIndex

BACKENDS: dict[str, type[FaissIndex] | type[TorchIndex]] = {"faiss": FaissIndex, "torch": TorchIndex}

SEARCHES = ("exact", "approximate")

# Milliseconds for 65,536 queries of dimension 12, l2, on an AMD EPYC with AVX-512, best of 9 (faiss 1.15,
# torch 2.15):
#
#              k = 8, 1 thread   k = 8, 2 threads   k = 1, 1 thread   k = 1, 2 threads
#   classes     torch   faiss     torch   faiss      torch   faiss     torch   faiss
#       19         23      24        10      12          5       5         2       2
#      150        106      60        47      28         20       7         8       3
#    1,284        181     141        94      82        135      17        44       8
#    5,000        497     351       261     201        312      44       173      24
#
# FAISS is never clearly slower; with a handful of classes the two are equal and torch saves the import.
FAISS_FROM_CLASSES = 32


def fastest_backend(class_embeddings: Tensor) -> str:
    """Return the faster importable backend for these embeddings' device, dtype and number."""
    if class_embeddings.device.type != "cpu" or class_embeddings.dtype == torch.float64:
        return "torch"  # FAISS would copy to the CPU, or round to float32
    if class_embeddings.shape[0] < FAISS_FROM_CLASSES:
        return "torch"
    try:
        import_faiss()
    except InputError:
        return "torch"
    return "faiss"


def build_index(
    class_embeddings: Tensor, *, similarity: str, backend: str = "auto", search: str = "exact"
) -> NeighbourIndex:
    """Make class embeddings (C, D) ready to be searched; gradients do not pass through.

    `search(queries, k)` of what is returned takes queries (N, D), and gives the ids of the k nearest classes of each,
    (N, k) int64, nearest first.

    `backend` is `auto`, `faiss` or `torch`; `search` is `exact`, or `approximate`, which FAISS does. Raises
    InputError for an unknown name, for FAISS where it cannot be imported, and for an approximate search by torch
    or of too few classes; ValueError for a wrong shape.
    """
    if search not in SEARCHES:
        raise InputError(f"search={search!r} is unknown; choose one of {', '.join(SEARCHES)}")
    if backend != "auto" and backend not in BACKENDS:
        raise InputError(f"backend={backend!r} is unknown; choose one of auto, {', '.join(BACKENDS)}")
    if search == "approximate":
        if backend == "torch":
            raise InputError("backend='torch' searches exactly; an approximate search needs backend 'faiss' or 'auto'")
        return ApproximateIndex(class_embeddings, similarity=similarity)
    if backend == "auto":
        backend = fastest_backend(class_embeddings)
    return BACKENDS[backend](class_embeddings, similarity=similarity)
