"""What every neighbour search offers."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from essnet.neighbours.similarity import check_similarity


class NeighbourIndex(Protocol):
    """Class embeddings made ready to be searched."""

    def search(self, queries: Tensor, k: int) -> Tensor:
        """Return the ids of the `k` nearest classes of each query, nearest first.

        Shapes: queries (N, D), result (N, k) int64 on the queries' device. Raises ValueError unless 1 <= k <=
        C. A query that is not finite gets ids inside [0, C) without meaning.
        """


def check_class_embeddings(class_embeddings: Tensor, similarity: str) -> None:
    """Raise ValueError unless the embeddings are floating (C, D), C >= 1, and the similarity is known."""
    check_similarity(similarity)
    if class_embeddings.ndim != 2 or class_embeddings.shape[0] == 0 or not class_embeddings.is_floating_point():
        raise ValueError(
            f"class_embeddings must be a floating tensor of shape (C, D) with C >= 1; "
            f"got {class_embeddings.dtype} of shape {tuple(class_embeddings.shape)}"
        )


def check_queries(queries: Tensor, k: int, num_classes: int, embedding_dim: int) -> None:
    """Raise ValueError unless the queries are (N, D) and 1 <= k <= C."""
    if queries.ndim != 2 or queries.shape[1] != embedding_dim:
        raise ValueError(f"queries must have shape (N, {embedding_dim}); got {tuple(queries.shape)}")
    if not 1 <= k <= num_classes:
        raise ValueError(f"k={k} neighbours of {num_classes} classes: k must lie in 1..{num_classes}")


def search_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to search in: float64 stays, anything narrower than float32 is widened.

    bfloat16 changes the set of the 7 nearest in some 5 % of rows.
    """
    return torch.float64 if dtype == torch.float64 else torch.float32
