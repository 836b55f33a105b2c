"""The paper's loss: a softmax over the target and its nearest rivals."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.losses.candidate_softmax import candidate_softmax_loss
from essnet.losses.candidates import Candidates
from essnet.losses.embedding_softmax import exact_softmax_loss
from essnet.losses.rows import valid_rows


def knn_softmax_loss(
    *,
    pixel_embeddings: Tensor,
    class_embeddings: Tensor,
    targets: Tensor,
    num_neighbours: int,
    similarity: str = "l2",
    logit_scale: float | Tensor = 20.0,
    backend: str = "auto",
    search: str = "exact",
    chunk_bytes: int | None = None,
) -> Tensor:
    """Return mean_p -log softmax(z_p) at the target, over the target and the `num_neighbours` nearest other
    classes.

    Arguments, shapes and errors are those of `embedding_softmax_loss`, which this equals where
    num_neighbours is C - 1 or more. `backend` and `search` are those of `build_index`; by default the fastest exact
    way is taken, with an index or without. Also raises ValueError for num_neighbours < 1. Source: Jain et al.,
    ICCV 2021, arXiv 2012.07489.
    """
    if num_neighbours < 1:
        raise ValueError(f"num_neighbours={num_neighbours} must be at least 1: a target needs a rival")
    with torch.autocast(pixel_embeddings.device.type, enabled=False):
        rows = valid_rows(
            pixel_embeddings=pixel_embeddings,
            class_embeddings=class_embeddings,
            targets=targets,
            similarity=similarity,
            logit_scale=logit_scale,
        )
        if rows.nothing_to_tell_apart or num_neighbours >= rows.num_classes - 1:
            return exact_softmax_loss(rows, similarity=similarity, chunk_bytes=chunk_bytes)
        candidates = Candidates(num_neighbours=num_neighbours, shared=rows.targets.new_empty(0))
        return candidate_softmax_loss(
            rows, candidates, similarity=similarity, backend=backend, search=search, chunk_bytes=chunk_bytes
        )
