"""The regulariser that keeps class embeddings apart."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.losses.other_classes import nearest_other_classes
from essnet.losses.waiting import sent_to
from essnet.neighbours import build_index

# Up to so many rows all count; of more, so many are drawn anew at each call.
ALL_ROWS_UP_TO = 4096


def margin_regulariser(*, class_embeddings: Tensor, margin: float = 0.2, backend: str = "auto") -> Tensor:
    """Return the mean over classes of max(0, margin - min_{c' != c} ||w_c - w_c'||), c' over all classes.

    Shapes: class_embeddings (C, D), already normalised; result scalar in at least float32. Where C is over
    ALL_ROWS_UP_TO, the mean is over that many classes, drawn uniformly with torch's global CPU generator: an
    unbiased estimate, at no more than ALL_ROWS_UP_TO x C distances, never all held at once. One class is as far
    away as it can be: 0. Two equal embeddings cost the whole margin and get no gradient, as no direction is
    better than another. `backend` is that of `build_index`. Raises ValueError for a wrong shape. Source: Jain et
    al., ICCV 2021, arXiv 2012.07489.
    """
    if class_embeddings.ndim != 2 or class_embeddings.shape[0] == 0:
        raise ValueError(f"class_embeddings must have shape (C, D) with C >= 1; got {tuple(class_embeddings.shape)}")
    num_classes = class_embeddings.shape[0]
    with torch.autocast(class_embeddings.device.type, enabled=False):
        classes = class_embeddings if class_embeddings.dtype == torch.float64 else class_embeddings.float()
        if num_classes == 1:
            return classes[:0].sum()
        if num_classes > ALL_ROWS_UP_TO:
            # Drawn on the CPU whatever the device: that generator's state is in every checkpoint.
            rows = sent_to(torch.randperm(num_classes)[:ALL_ROWS_UP_TO], classes.device)
        else:
            rows = torch.arange(num_classes, device=classes.device)
        chosen = classes[rows]
        index = build_index(classes, similarity="l2", backend=backend)
        nearest = nearest_other_classes(index=index, queries=chosen, own=rows, k=1)
        distances: Tensor = torch.linalg.vector_norm(chosen - classes[nearest[:, 0]], dim=1)
        loss: Tensor = (margin - distances).clamp(min=0).mean()
        return loss
