"""What one needs to see when class embeddings collapse."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.losses.other_classes import nearest_other_classes
from essnet.models import EmbeddingOutput
from essnet.models.output_layers import OutputLayer
from essnet.neighbours import build_index

# A search and its results for so many classes at a time.
_CHUNK = 4096


@torch.no_grad()
def embedding_statistics(output_layer: OutputLayer, *, predicted: Tensor) -> dict[str, float]:
    """Return the `embedding/` figures of an output layer, or nothing for one without class embeddings.

    Parameters
    ----------
    predicted
        How many pixels of the evaluation each class was predicted for, (C,).

    Returns
    -------
    dict
        `class_norm_mean`, `class_norm_min`, `class_norm_max`: of the embeddings as they are learned.
        `smallest_class_distance`: between two classes as they are compared with pixels, normalised unless the
        similarity is the dot product; left out for a single class.
        `never_nearest_share`: of the classes, those that no pixel was nearest to.
    """
    if not isinstance(output_layer, EmbeddingOutput):
        return {}
    norms = torch.linalg.vector_norm(output_layer.class_embeddings.float(), dim=1)
    figures = {
        "class_norm_mean": norms.mean(),
        "class_norm_min": norms.min(),
        "class_norm_max": norms.max(),
        "never_nearest_share": (predicted == 0).double().mean(),
    }
    classes = output_layer.comparable_class_embeddings()
    if len(classes) > 1:
        figures["smallest_class_distance"] = smallest_distance(classes)
    return {f"embedding/{name}": float(figure) for name, figure in figures.items()}


def smallest_distance(points: Tensor) -> Tensor:
    """Return the Euclidean distance of the two points nearest to each other; points (N, D), N of at least 2."""
    index = build_index(points, similarity="l2")
    distances = []
    for start in range(0, len(points), _CHUNK):
        own = torch.arange(start, min(start + _CHUNK, len(points)), device=points.device)
        nearest = nearest_other_classes(index=index, queries=points[own], own=own, k=1)[:, 0]
        distances.append(torch.linalg.vector_norm(points[own] - points[nearest], dim=1).min())
    return torch.stack(distances).min()
