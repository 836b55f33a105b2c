"""Which class is taken for which: the wrong pixels by their pair of classes, without a C x C matrix."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from essnet.labels import IGNORE_INDEX

MOST_PAIRS = 1 << 21
"""Pairs that are kept at most, 16 bytes each: all that there can be of 1,448 classes."""
_NO_PAIR = -1


class Confusion(TypedDict):
    """How many pixels of the class `truth` were predicted to be of the class `predicted`."""

    truth: int
    predicted: int
    pixels: int


class ConfusionPairs:
    """Counts the wrong pixels of each pair of classes, in int64 over as many batches as there are.

    Only pairs that occur are kept. Where they become more than `most_pairs`, those with the fewest pixels so far are
    forgotten; one that comes back begins at zero, so that its count is then a lower bound. Counts live on the device
    of the last update; on a GPU counting does not wait for it, for which all that may be kept is taken at once.

    Parameters
    ----------
    num_classes
        C.
    most_pairs
        How many pairs are kept.
    """

    def __init__(self, num_classes: int, *, most_pairs: int = MOST_PAIRS) -> None:
        self._num_classes = num_classes
        self._capacity = min(num_classes * (num_classes - 1), most_pairs)
        # A pair is truth * C + prediction.
        self._pairs = torch.empty(0, dtype=torch.int64)
        self._pixels = torch.empty(0, dtype=torch.int64)

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Count a batch; any shape, both the same, int64, ids in [0, C). IGNORE_INDEX in `targets` does not count."""
        predicted, truth = predictions.flatten(), targets.flatten()
        wrong = (truth != predicted) & (truth != IGNORE_INDEX)
        pairs = torch.where(wrong, truth * self._num_classes + predicted, _NO_PAIR)
        add = _add_queued if pairs.is_cuda else _add
        self._pairs, self._pixels = add(
            self._pairs.to(pairs.device), self._pixels.to(pairs.device), pairs, capacity=self._capacity
        )

    def largest(self, count: int) -> list[Confusion]:
        """Return the pairs with the most pixels, the largest first; among equals the smaller ids."""
        pairs, pixels = self._pairs.cpu().numpy(), self._pixels.cpu().numpy()
        order = np.lexsort((pairs, -pixels))[:count]
        return [
            {"truth": pair // self._num_classes, "predicted": pair % self._num_classes, "pixels": number}
            for pair, number in zip(pairs[order].tolist(), pixels[order].tolist(), strict=True)
            if number > 0
        ]


def _add(pairs: Tensor, pixels: Tensor, new: Tensor, *, capacity: int) -> tuple[Tensor, Tensor]:
    """Return pairs and pixels with those of a batch; numpy sorts integers many times as fast as torch on a CPU."""
    found, counts = np.unique(new.numpy(), return_counts=True)
    if len(found) and found[0] == _NO_PAIR:
        found, counts = found[1:], counts[1:]
    merged, place = np.unique(np.concatenate([pairs.numpy(), found]), return_inverse=True)
    sums: npt.NDArray[np.int64] = np.zeros(len(merged), np.int64)
    np.add.at(sums, place, np.concatenate([pixels.numpy(), counts]))
    if len(merged) > capacity:
        kept = np.sort(np.lexsort((merged, -sums))[:capacity])
        merged, sums = merged[kept], sums[kept]
    return torch.from_numpy(merged), torch.from_numpy(sums)


def _add_queued(pairs: Tensor, pixels: Tensor, new: Tensor, *, capacity: int) -> tuple[Tensor, Tensor]:
    """Return what `_add` does, in sizes that do not depend on values: places without a pair have no pixels."""
    together = torch.cat([pairs, new])
    in_order, order = together.sort()
    begins = torch.ones_like(in_order)
    begins[1:] = in_order[1:] != in_order[:-1]
    group = begins.cumsum(0) - 1
    counts = torch.cat([pixels, (new != _NO_PAIR).to(pixels.dtype)])
    sums = torch.zeros_like(together).index_add_(0, group, counts[order])
    merged = torch.full_like(together, _NO_PAIR).scatter_(0, group, in_order)
    kept = sums.topk(min(capacity, len(sums)))
    return merged[kept.indices], kept.values
