"""Exact search with FAISS, in float32: on the CPU, or where FAISS sees a GPU on the tensors that lie there."""

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
    """Brute-force search by FAISS, without copies of float32 tensors that lie where it searches.

    CUDA tensors are searched in place if FAISS was built for GPUs and sees one; else they travel to the CPU and
    the ids back. Not yet run on a GPU: whether FAISS (built for CUDA 12) and torch (for CUDA 13) can share a
    process there is not known, and `auto` searches with torch.
    """

    def __init__(self, class_embeddings: Tensor, *, similarity: str) -> None:
        """Keep the class embeddings (C, D) as FAISS reads them."""
        check_class_embeddings(class_embeddings, similarity)
        self._faiss = import_faiss()
        self._metric = faiss_metric(self._faiss, similarity)
        on_gpu = class_embeddings.is_cuda and self._faiss.get_num_gpus() > 0
        self._gpu = GpuSearch(self._faiss) if on_gpu else None
        self._device = class_embeddings.device if on_gpu else torch.device("cpu")
        self._classes = as_faiss_reads(class_embeddings, self._device)

    @torch.no_grad()
    def search(self, queries: Tensor, k: int) -> Tensor:
        """Return the ids of the `k` nearest classes: queries (N, D) to (N, k) int64, nearest first."""
        num_classes, embedding_dim = self._classes.shape
        check_queries(queries, k, num_classes, embedding_dim)
        if len(queries) == 0:
            return torch.empty((0, k), dtype=torch.int64, device=queries.device)
        ready = as_faiss_reads(queries, self._device)
        if self._gpu is not None:
            ids = self._gpu.search(ready, self._classes, k, metric=self._metric)
        else:
            self._faiss.omp_set_num_threads(torch.get_num_threads())
            ids = torch.from_numpy(self._faiss.knn(ready.numpy(), self._classes.numpy(), k, metric=self._metric)[1])
        return usable_ids(ids).to(queries.device)


class GpuSearch:
    """FAISS's brute-force search of CUDA tensors, on torch's stream."""

    # FAISS takes 1.5 GB as scratch of its own accord.
    SCRATCH_BYTES = 128 << 20

    def __init__(self, faiss: Any) -> None:
        import faiss.contrib.torch_utils as faiss_with_torch  # teaches faiss.knn_gpu to take tensors

        self._faiss, self._using_stream = faiss, faiss_with_torch.using_stream
        self._resources = faiss.StandardGpuResources()
        self._resources.setTempMemory(self.SCRATCH_BYTES)

    def search(self, queries: Tensor, classes: Tensor, k: int, *, metric: int) -> Tensor:
        """Return ids (N, k) on the queries' device; both tensors float32, contiguous, on the same GPU."""
        with self._using_stream(self._resources):
            _, ids = self._faiss.knn_gpu(
                self._resources, queries, classes, k, metric=metric, device=queries.device.index
            )
        found: Tensor = ids
        return found


def faiss_metric(faiss: Any, similarity: str) -> int:
    """Return FAISS's name of the similarity."""
    metric: int = faiss.METRIC_L2 if similarity == "l2" else faiss.METRIC_INNER_PRODUCT
    return metric


def as_faiss_reads(embeddings: Tensor, device: torch.device) -> Tensor:
    """Return embeddings as contiguous float32 on `device`, without gradients; not copied if they are so."""
    return embeddings.detach().to(device=device, dtype=torch.float32).contiguous()


def usable_ids(ids: Tensor) -> Tensor:
    """Replace FAISS's -1, its answer to a query that is not a number: the loss itself will be NaN then."""
    return ids.clamp_(min=0)
