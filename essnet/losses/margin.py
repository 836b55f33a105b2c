"""The regulariser that keeps class embeddings apart."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.losses.other_classes import nearest_other_classes
from essnet.neighbours import TorchIndex


def margin_regulariser(*, class_embeddings: Tensor, margin: float = 0.2, chunk_bytes: int | None = None) -> Tensor:
    """Return (1/C) sum_c max(0, margin - min_{c' != c} ||w_c - w_c'||), never holding a C x C matrix at once.

    Shapes: class_embeddings (C, D), already normalised; result scalar in at least float32. One class is as
    far away as it can be: 0. Two equal embeddings cost the whole margin and get no gradient, as no direction
    is better than another. Raises ValueError for a wrong shape. Source: Jain et al., ICCV 2021, arXiv
    2012.07489.
    """
    if class_embeddings.ndim != 2 or class_embeddings.shape[0] == 0:
        raise ValueError(f"class_embeddings must have shape (C, D) with C >= 1; got {tuple(class_embeddings.shape)}")
    num_classes = class_embeddings.shape[0]
    with torch.autocast(class_embeddings.device.type, enabled=False):
        classes = class_embeddings if class_embeddings.dtype == torch.float64 else class_embeddings.float()
        if num_classes == 1:
            return classes[:0].sum()
        nearest = nearest_other_classes(
            index=TorchIndex(classes, similarity="l2", chunk_bytes=chunk_bytes),
            queries=classes,
            own=torch.arange(num_classes, device=classes.device),
            k=1,
        )
        distances: Tensor = torch.linalg.vector_norm(classes - classes[nearest[:, 0]], dim=1)
        loss: Tensor = (margin - distances).clamp(min=0).mean()
        return loss
