"""From the network's resolution to that of the labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def upsample(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return maps (B, N, h, w) bilinearly interpolated to (B, N, *size), corners not aligned, as in the paper."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
