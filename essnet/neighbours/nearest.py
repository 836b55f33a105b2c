"""Prediction: the nearest class of every pixel."""

from __future__ import annotations

from torch import Tensor

from essnet.neighbours.backends import build_index


def nearest_class(*, pixel_embeddings: Tensor, class_embeddings: Tensor, similarity: str) -> Tensor:
    """Return the id of the class embedding nearest to each pixel, never holding a pixels x classes tensor.

    Shapes: pixel_embeddings (B, D, H, W), class_embeddings (C, D), result (B, H, W) int64. Both as they meet
    in the logit: normalising is the caller's. Raises ValueError for shapes that do not fit, InputError for an
    unknown similarity. Source: Jain et al., ICCV 2021, arXiv 2012.07489 (inference by 1-NN).
    """
    if pixel_embeddings.ndim != 4:
        raise ValueError(f"pixel_embeddings must have shape (B, D, H, W); got {tuple(pixel_embeddings.shape)}")
    index = build_index(class_embeddings, similarity=similarity)
    batch, embedding_dim, height, width = pixel_embeddings.shape
    queries = pixel_embeddings.detach().permute(0, 2, 3, 1).reshape(-1, embedding_dim)
    return index.search(queries, 1).view(batch, height, width)
