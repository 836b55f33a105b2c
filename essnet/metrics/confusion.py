"""Confusion counts over a whole data set, and the metrics they give."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from essnet.labels import IGNORE_INDEX

# Up to here the C x C matrix (32 MiB of int64) is held and counted into directly; beyond, only the pairs that
# occur.
DENSE_UP_TO_CLASSES = 2048


class _Counts(Protocol):
    """How often each pair occurred; the code of a pair is truth * C + prediction."""

    def add(self, codes: Tensor) -> None: ...

    def items(self) -> tuple[Tensor, Tensor]: ...

    def add_items(self, codes: Tensor, counts: Tensor) -> None: ...


class _DenseCounts:
    def __init__(self, num_codes: int) -> None:
        self._counts = torch.zeros(num_codes, dtype=torch.int64)

    def add(self, codes: Tensor) -> None:
        self._counts = self._counts.to(codes.device)
        self._counts += torch.bincount(codes, minlength=len(self._counts))

    def items(self) -> tuple[Tensor, Tensor]:
        codes = self._counts.nonzero().squeeze(1)
        return codes, self._counts[codes]

    def add_items(self, codes: Tensor, counts: Tensor) -> None:
        self._counts = self._counts.to(codes.device).index_add(0, codes, counts)


class _SparseCounts:
    def __init__(self) -> None:
        self._codes = torch.zeros(0, dtype=torch.int64)
        self._counts = torch.zeros(0, dtype=torch.int64)

    def add(self, codes: Tensor) -> None:
        self.add_items(codes, torch.ones_like(codes))

    def items(self) -> tuple[Tensor, Tensor]:
        return self._codes, self._counts

    def add_items(self, codes: Tensor, counts: Tensor) -> None:
        codes, order = torch.cat([self._codes.to(codes.device), codes]).sort()
        counts = torch.cat([self._counts.to(codes.device), counts])[order]
        first = torch.ones_like(codes, dtype=torch.bool)
        first[1:] = codes[1:] != codes[:-1]
        self._codes = codes[first]
        self._counts = torch.zeros_like(self._codes).index_add_(0, first.cumsum(0) - 1, counts)


class ConfusionCounts:
    """Counts of (truth, prediction) pairs in int64, over as many batches as there are.

    Metrics are those of the counts, never means of per-image scores. Counts live on the device of the last
    update.
    """

    def __init__(self, num_classes: int) -> None:
        """Start at zero; raises ValueError for num_classes < 1."""
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes} must be at least 1")
        self.num_classes = num_classes
        dense = num_classes <= DENSE_UP_TO_CLASSES
        self._counts: _Counts = _DenseCounts(num_classes**2) if dense else _SparseCounts()

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Count a batch.

        Shapes: any, both the same; int64. Pixels whose target is IGNORE_INDEX do not count, whatever their
        prediction. Raises ValueError for shapes that differ and for ids outside [0, C).
        """
        if predictions.shape != targets.shape:
            raise ValueError(
                f"predictions and targets must have the same shape; "
                f"got {tuple(predictions.shape)} and {tuple(targets.shape)}"
            )
        valid = targets != IGNORE_INDEX
        truth, predicted = targets[valid], predictions[valid]
        self._check_ids("targets", truth)
        self._check_ids("predictions", predicted)
        self._counts.add(truth * self.num_classes + predicted)

    def merge(self, other: ConfusionCounts) -> None:
        """Add the counts of another; raises ValueError unless it has as many classes."""
        if other.num_classes != self.num_classes:
            raise ValueError(f"counts of {other.num_classes} classes cannot be added to {self.num_classes}")
        self._counts.add_items(*other._counts.items())

    def matrix(self) -> Tensor:
        """Return the counts as (C, C) int64, truth by row and prediction by column."""
        codes, counts = self._counts.items()
        flat = torch.zeros(self.num_classes**2, dtype=torch.int64, device=codes.device)
        return flat.index_add_(0, codes, counts).view(self.num_classes, self.num_classes)

    def per_class_iou(self) -> Tensor:
        """Return the IoU of each class, (C,) float64; NaN for a class in neither truth nor prediction."""
        hits, truths, predictions = self._totals()
        return hits.double() / (truths + predictions - hits)

    def compute(self) -> dict[str, float]:
        """Return the metrics, each in [0, 1], and 0 where nothing was counted.

        `miou`: mean IoU over classes in truth or prediction. `mean_accuracy`: mean recall over classes in
        truth. `pixel_accuracy`: share of right pixels. `fw_iou`: IoU weighted by the classes' share of the
        truth.
        """
        hits, truths, _ = self._totals()
        total = truths.sum()
        if total == 0:
            return {"miou": 0.0, "mean_accuracy": 0.0, "pixel_accuracy": 0.0, "fw_iou": 0.0}
        iou = self.per_class_iou()
        recall = hits.double() / truths
        return {
            "miou": float(iou.nanmean()),
            "mean_accuracy": float(recall.nanmean()),
            "pixel_accuracy": float(hits.sum().double() / total),
            "fw_iou": float((iou.nan_to_num() * truths).sum() / total),
        }

    def _totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return per class how often it was hit, true, and predicted: (C,) int64 each."""
        codes, counts = self._counts.items()
        truth, predicted = codes // self.num_classes, codes % self.num_classes
        zeros = torch.zeros(self.num_classes, dtype=torch.int64, device=codes.device)
        hits = zeros.index_add(0, truth, counts * (truth == predicted))
        return hits, zeros.index_add(0, truth, counts), zeros.index_add(0, predicted, counts)

    def _check_ids(self, name: str, ids: Tensor) -> None:
        outside = (ids < 0) | (ids >= self.num_classes)
        if outside.any():
            raise ValueError(
                f"{name} hold the class id {int(ids[outside][0])}; ids must lie in 0..{self.num_classes - 1}"
            )
