"""The paper's loss: a softmax over the target and its nearest rivals."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.losses.candidate_softmax import Candidates, candidate_softmax_loss
from essnet.losses.embedding_softmax import exact_softmax_loss
from essnet.losses.other_classes import nearest_other_classes
from essnet.losses.rows import valid_rows
from essnet.neighbours import build_index


def knn_softmax_loss(
    *,
    pixel_embeddings: Tensor,
    class_embeddings: Tensor,
    targets: Tensor,
    num_neighbours: int,
    similarity: str = "l2",
    logit_scale: float | Tensor = 20.0,
    backend: str = "auto",
    chunk_bytes: int | None = None,
) -> Tensor:
    """Return mean_p -log softmax(z_p) at the target, over the target and the `num_neighbours` nearest other
    classes.

    Arguments, shapes and errors are those of `embedding_softmax_loss`, which this equals from num_neighbours
    >= C - 1 on; `backend` is that of `build_index`. Also raises ValueError for num_neighbours < 1. Source:
    Jain et al., ICCV 2021, arXiv 2012.07489.
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
        neighbours = nearest_other_classes(
            index=build_index(rows.classes, similarity=similarity, backend=backend),
            queries=rows.pixels,
            own=rows.targets,
            k=num_neighbours,
        )
        candidates = Candidates(
            own=torch.cat([rows.targets[:, None], neighbours], dim=1), shared=rows.targets.new_empty(0)
        )
        return candidate_softmax_loss(rows, candidates, similarity=similarity, chunk_bytes=chunk_bytes)
