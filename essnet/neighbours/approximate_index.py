"""Approximate search for very many classes: FAISS's inverted lists, on the CPU."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from essnet.config.errors import InputError
from essnet.neighbours.faiss_index import as_faiss_reads, faiss_metric, import_faiss
from essnet.neighbours.index import check_class_embeddings, check_queries

# Below, an exact search costs no more than building lists anew in every step.
APPROXIMATE_FROM_CLASSES = 50_000

# sqrt(C) lists, of which a query looks into so many. benchmarks/approximate_search.py shows what is found.
SHARE_OF_LISTS = 1 / 8

# The lists' centres need not be good, only quick: they are fitted in every step.
_FITTING_ROUNDS = 5
_CLASSES_PER_CENTRE = 64


class ApproximateIndex:
    """Classes in sqrt(C) lists around centres; a query looks into the lists whose centres are nearest.

    Some of the k nearest may be missed, and classes a little farther are taken in their place. Source: Sivic and
    Zisserman, ICCV 2003; Douze et al., "The Faiss library", 2024, arXiv 2401.08281, section 5.
    """

    def __init__(self, class_embeddings: Tensor, *, similarity: str) -> None:
        """Sort the class embeddings (C, D) into lists.

        Raises InputError where FAISS cannot be imported, and below APPROXIMATE_FROM_CLASSES classes.
        """
        check_class_embeddings(class_embeddings, similarity)
        check_worth_it(len(class_embeddings))
        self._faiss = import_faiss()
        self._faiss.omp_set_num_threads(torch.get_num_threads())
        # FAISS refuses to fit NaN. With zeros the search goes on, and it is the loss that tells.
        classes = as_faiss_reads(class_embeddings, torch.device("cpu")).nan_to_num(0.0, 0.0, 0.0).numpy()
        num_classes, embedding_dim = classes.shape
        num_lists = round(math.sqrt(num_classes))
        metric = faiss_metric(self._faiss, similarity)
        centres: Any = (
            self._faiss.IndexFlatL2(embedding_dim) if similarity == "l2" else self._faiss.IndexFlatIP(embedding_dim)
        )
        self._index = self._faiss.IndexIVFFlat(centres, embedding_dim, num_lists, metric)
        self._index.cp.niter = _FITTING_ROUNDS
        self._index.cp.max_points_per_centroid = _CLASSES_PER_CENTRE
        self._index.train(classes)
        self._index.add(classes)
        self._index.nprobe = max(1, math.ceil(num_lists * SHARE_OF_LISTS))
        self._shape = num_classes, embedding_dim

    @torch.no_grad()
    def search(self, queries: Tensor, k: int) -> Tensor:
        """Return the ids of `k` near classes: queries (N, D) to (N, k) int64, nearest first, all distinct.

        Where the lists that were looked into hold fewer than k, the rest are ids that are not among them.
        """
        check_queries(queries, k, *self._shape)
        if len(queries) == 0:
            return torch.empty((0, k), dtype=torch.int64, device=queries.device)
        self._faiss.omp_set_num_threads(torch.get_num_threads())
        _, found = self._index.search(as_faiss_reads(queries, torch.device("cpu")).numpy(), k)
        ids = torch.from_numpy(found)
        short = (ids < 0).any(dim=1)
        if short.any():
            ids[short] = _filled_up(ids[short], num_classes=self._shape[0])
        return ids.to(queries.device)


def check_worth_it(num_classes: int) -> None:
    """Raise InputError where there are too few classes for an approximate search to be of use."""
    if num_classes < APPROXIMATE_FROM_CLASSES:
        raise InputError(
            f"objective.search=approximate: worth it from {APPROXIMATE_FROM_CLASSES:,} classes on; "
            f"found {num_classes:,}; choose exact"
        )


def _filled_up(ids: Tensor, *, num_classes: int) -> Tensor:
    """Replace each row's -1 by the smallest ids that the row does not hold."""
    rows = []
    for row in ids.tolist():
        known = {class_id for class_id in row if class_id >= 0}
        spare = (class_id for class_id in range(num_classes) if class_id not in known)
        rows.append([class_id if class_id >= 0 else next(spare) for class_id in row])
    return torch.tensor(rows, dtype=torch.int64)
