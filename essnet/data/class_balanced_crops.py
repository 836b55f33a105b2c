"""Where a training crop is to look, so that small and rare classes are not mostly cut away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from essnet.labels import IGNORE_INDEX


def draw_focus(targets: npt.NDArray[np.integer]) -> tuple[int, int] | None:
    """A pixel (row, column) that a crop should hold: first a class is drawn, then one of its pixels.

    Every class that is in `targets`, (H, W) with IGNORE_INDEX, is as likely as any other, however few pixels it has.
    None where all pixels are ignored. Draws from torch's global generator.
    """
    counts = np.bincount(targets[targets != IGNORE_INDEX])
    present = np.flatnonzero(counts)
    if not len(present):
        return None
    label = present[int(torch.randint(len(present), ()))]
    chosen = int(torch.randint(int(counts[label]), ()))
    row, column = divmod(int(np.flatnonzero(targets == label)[chosen]), targets.shape[1])
    return row, column
