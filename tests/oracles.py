"""What the fast code must equal: float64, one pixel at a time, no tricks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from essnet.labels import IGNORE_INDEX


def rows_of(pixel_embeddings: Tensor) -> Tensor:
    """(B, D, H, W) to (B H W, D)."""
    return pixel_embeddings.permute(0, 2, 3, 1).reshape(-1, pixel_embeddings.shape[1])


def all_logits(pixels: Tensor, classes: Tensor, similarity: str, logit_scale: float | Tensor) -> Tensor:
    """Logits (P, C) of pixels (P, D) and classes (C, D)."""
    if similarity == "l2":
        return -logit_scale * torch.linalg.vector_norm(pixels[:, None] - classes[None], dim=2)
    products = (pixels[:, None] * classes[None]).sum(dim=2)
    return logit_scale * products if similarity == "cosine" else products


def nearest_others(logits: Tensor, target: int, k: int) -> list[int]:
    """The k classes of largest logit (C,) other than the target."""
    order = logits.argsort(descending=True).tolist()
    return [c for c in order if c != target][:k]


def candidate_loss(
    *,
    pixel_embeddings: Tensor,
    class_embeddings: Tensor,
    targets: Tensor,
    similarity: str,
    logit_scale: float | Tensor,
    num_neighbours: int | None = None,
    negatives: list[int] | None = None,
) -> Tensor:
    """Mean over valid pixels of -log softmax at the target.

    Over all classes; or, with `num_neighbours`, over the target, the nearest others, and `negatives` with
    their correction.
    """
    num_classes = class_embeddings.shape[0]
    pixels, classes = rows_of(pixel_embeddings).double(), class_embeddings.double()
    logits = all_logits(pixels, classes, similarity, logit_scale)
    losses = []
    for row, target in zip(logits, targets.reshape(-1).tolist(), strict=True):
        if target == IGNORE_INDEX:
            continue
        if num_neighbours is None:
            terms = [row]
        else:
            near = nearest_others(row, target, num_neighbours)
            terms = [row[[target, *near]]]
            if negatives:
                far = [c for c in negatives if c != target and c not in near]
                terms.append(row[far] - math.log(len(negatives) / num_classes))
        losses.append(torch.logsumexp(torch.cat(terms), dim=0) - row[target])
    if not losses:
        return 0.0 * (pixels.sum() + classes.sum())
    return torch.stack(losses).mean()


def margin_loss(class_embeddings: Tensor, margin: float) -> Tensor:
    """(1/C) sum_c max(0, margin - distance to the nearest other class)."""
    classes = class_embeddings.double()
    num_classes = len(classes)
    total = 0.0 * classes.sum()
    for c in range(num_classes):
        distances = [torch.linalg.vector_norm(classes[c] - classes[o]) for o in range(num_classes) if o != c]
        if distances:
            total = total + (margin - torch.stack(distances).min()).clamp(min=0)
    return total / num_classes


def confusion_matrix(predictions: Tensor, targets: Tensor, num_classes: int) -> Tensor:
    """Counts (C, C): truth by row, prediction by column."""
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for predicted, truth in zip(predictions.reshape(-1).tolist(), targets.reshape(-1).tolist(), strict=True):
        if truth != IGNORE_INDEX:
            matrix[truth, predicted] += 1
    return matrix


def segmentation_metrics(matrix: Tensor) -> dict[str, float]:
    """The metrics of a confusion matrix, class by class."""
    total = int(matrix.sum())
    ious, recalls, weighted = [], [], 0.0
    for c in range(len(matrix)):
        hits, truth, predicted = int(matrix[c, c]), int(matrix[c].sum()), int(matrix[:, c].sum())
        if truth + predicted > 0:
            ious.append(hits / (truth + predicted - hits))
            weighted += truth * ious[-1]
        if truth > 0:
            recalls.append(hits / truth)
    return {
        "miou": sum(ious) / len(ious),
        "mean_accuracy": sum(recalls) / len(recalls),
        "pixel_accuracy": int(matrix.diagonal().sum()) / total,
        "fw_iou": weighted / total,
    }
