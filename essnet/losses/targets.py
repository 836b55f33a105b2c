"""Target ids are checked before anything is computed with them."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.labels import IGNORE_INDEX
from essnet.losses.waiting import assert_on_device, host_waits_for


def check_targets(targets: Tensor, num_classes: int) -> None:
    """Raise ValueError that names the offending id unless every target is IGNORE_INDEX or lies in [0, C).

    Shapes: targets of any shape, int64. On a GPU, whose values are not read, ids out of range fail there instead
    (`assert_on_device`), with the range and without the id.
    """
    if targets.dtype != torch.int64:
        raise ValueError(f"targets must be int64; got {targets.dtype}; convert them with .long()")
    if targets.numel() == 0:
        return
    low, high = targets.aminmax()  # one pass over the labels; they are looked at again only where one is wrong
    if host_waits_for(targets.device):
        expected = f"targets hold a class id that is neither in 0..{num_classes - 1} nor {IGNORE_INDEX} (ignored)"
        assert_on_device((low >= IGNORE_INDEX) & (high < num_classes), expected)
    elif int(low) < IGNORE_INDEX or int(high) >= num_classes:
        outside = (targets < IGNORE_INDEX) | (targets >= num_classes)
        offending = int(targets[outside][0])
        raise ValueError(
            f"targets hold the class id {offending}, but with num_classes={num_classes} ids must lie in "
            f"0..{num_classes - 1}, or be {IGNORE_INDEX} where a pixel is ignored"
        )
