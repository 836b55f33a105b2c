"""Exact search with FAISS on the CPU, in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from essnet.config.errors import InputError
from essnet.neighbours.index import check_class_embeddings, check_queries


def import_faiss() -> Any:
    """Import faiss, late: it costs time, and not every machine has it. Raises InputError where it fails."""
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            f"backend 'faiss' needs the package faiss-gpu (Linux x86-64) or faiss-cpu (elsewhere), "
            f"and importing it failed ({error}); install it or choose backend 'torch'"
        ) from error
    return faiss


class FaissIndex:
    """Brute-force search by FAISS, without copies of float32 CPU tensors; others become such first."""

    def __init__(self, class_embeddings: Tensor, *, similarity: str) -> None:
        """Keep the class embeddings (C, D) as FAISS reads them."""
        check_class_embeddings(class_embeddings, similarity)
        self._faiss = import_faiss()
        self._classes = _as_faiss_reads(class_embeddings)
        self._metric = self._faiss.METRIC_L2 if similarity == "l2" else self._faiss.METRIC_INNER_PRODUCT

    @torch.no_grad()
    def search(self, queries: Tensor, k: int) -> Tensor:
        """Return the ids of the `k` nearest classes: queries (N, D) to (N, k) int64, nearest first."""
        num_classes, embedding_dim = self._classes.shape
        check_queries(queries, k, num_classes, embedding_dim)
        if len(queries) == 0:
            return torch.empty((0, k), dtype=torch.int64, device=queries.device)
        self._faiss.omp_set_num_threads(torch.get_num_threads())
        _, ids = self._faiss.knn(_as_faiss_reads(queries).numpy(), self._classes.numpy(), k, metric=self._metric)
        # FAISS answers -1 for a query that is not a number: keep such ids usable, the loss itself will be
        # NaN.
        return torch.from_numpy(ids).clamp_(min=0).to(queries.device)


def _as_faiss_reads(embeddings: Tensor) -> Tensor:
    return embeddings.detach().to(device="cpu", dtype=torch.float32).contiguous()
