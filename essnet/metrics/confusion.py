"""What a confusion matrix says of each class, counted over a whole data set, and the metrics that gives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from essnet.labels import IGNORE_INDEX


class ConfusionCounts:
    """How often each class was true, was predicted, and was both, in int64 over as many batches as there are.

    These are the row sums, the column sums and the diagonal of the C x C confusion matrix: all that the metrics need,
    in 24 bytes a class. Metrics are those of the counts, never means of per-image scores. Counts live on the device
    of the last update; on a GPU counting does not wait for it.
    """

    def __init__(self, num_classes: int) -> None:
        """Start at zero; raises ValueError for num_classes < 1."""
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes} must be at least 1")
        self.num_classes = num_classes
        # Rows: truth, prediction, both. The last column takes the pixels that do not count.
        self._counts = torch.zeros((3, num_classes + 1), dtype=torch.int64)
        self._outside = torch.zeros((), dtype=torch.int64)

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Count a batch.

        Shapes: any, both the same; int64. Pixels whose target is IGNORE_INDEX do not count, whatever their
        prediction. Raises ValueError for shapes that differ and for ids outside [0, C); on a GPU, where looking at
        ids means waiting for it, the latter when the counts are read.
        """
        if predictions.shape != targets.shape:
            raise ValueError(
                f"predictions and targets must have the same shape; "
                f"got {tuple(predictions.shape)} and {tuple(targets.shape)}"
            )
        predicted, truth = predictions.flatten(), targets.flatten()
        valid = truth != IGNORE_INDEX
        usable = valid & self._in_range(truth) & self._in_range(predicted)
        if truth.is_cuda:
            self._outside = self._outside.to(truth.device) + (valid.sum() - usable.sum())
        elif not torch.equal(valid, usable):
            self._refuse(targets=truth[valid], predictions=predicted[valid])
        truth = torch.where(usable, truth, self.num_classes)
        predicted = torch.where(usable, predicted, self.num_classes)
        both = torch.where(truth == predicted, truth, self.num_classes)
        counted = torch.stack([self._count(ids) for ids in (truth, predicted, both)])
        self._counts = self._counts.to(counted.device) + counted

    def true(self) -> Tensor:
        """Return how many pixels of each class there were, (C,) int64."""
        return self._read()[0]

    def predicted(self) -> Tensor:
        """Return how often each class was predicted where a pixel counts, (C,) int64."""
        return self._read()[1]

    def per_class_iou(self) -> Tensor:
        """Return the IoU of each class, (C,) float64; NaN for a class in neither truth nor prediction."""
        true, predicted, hits = self._read()
        return hits.double() / (true + predicted - hits)

    def per_class_accuracy(self) -> Tensor:
        """Return the recall of each class, (C,) float64; NaN for a class that is not in the truth."""
        true, _, hits = self._read()
        return hits.double() / true

    def compute(self, groups: Sequence[str | None] = ()) -> dict[str, float]:
        """Return the metrics, each in [0, 1], and 0 where nothing was counted.

        `miou`: mean IoU over classes in truth or prediction. `mean_accuracy`: mean recall over classes in
        truth. `pixel_accuracy`: share of right pixels. `fw_iou`: IoU weighted by the classes' share of the
        truth. `groups` names a group for each class, or none: for each of them `miou_<group>` is the mean IoU
        over those of its classes that are in truth or prediction. Raises ValueError for groups of another
        number of classes.
        """
        if groups and len(groups) != self.num_classes:
            raise ValueError(f"groups name {len(groups)} classes, but there are {self.num_classes}")
        true, _, hits = self._read()
        iou = self.per_class_iou()
        total = true.sum()
        metrics = {
            "miou": iou.nanmean(),
            "mean_accuracy": self.per_class_accuracy().nanmean(),
            "pixel_accuracy": hits.sum().double() / total,
            "fw_iou": (iou.nan_to_num() * true).sum() / total,
        }
        for group in dict.fromkeys(group for group in groups if group is not None):
            members = torch.tensor([other == group for other in groups], device=iou.device)
            metrics[f"miou_{group}"] = iou[members].nanmean()
        return {name: float(value.nan_to_num()) for name, value in metrics.items()}

    def _in_range(self, ids: Tensor) -> Tensor:
        return (ids >= 0) & (ids < self.num_classes)

    def _count(self, ids: Tensor) -> Tensor:
        if not ids.is_cuda:
            return torch.bincount(ids, minlength=self.num_classes + 1)
        # Its bincount asks for the largest id first, and so waits.
        counts = torch.zeros(self.num_classes + 1, dtype=torch.int64, device=ids.device)
        return counts.index_add_(0, ids, torch.ones_like(ids))

    def _refuse(self, **ids: Tensor) -> None:
        for name, values in ids.items():
            outside = values[~self._in_range(values)]
            if len(outside):
                raise ValueError(
                    f"{name} hold the class id {int(outside[0])}; ids must lie in 0..{self.num_classes - 1}"
                )

    def _read(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return truth, prediction and hits of each class, (C,) int64 each."""
        if int(self._outside):
            raise ValueError(f"{int(self._outside)} pixels have class ids outside 0..{self.num_classes - 1}")
        true, predicted, hits = self._counts[:, : self.num_classes].unbind()
        return true, predicted, hits
