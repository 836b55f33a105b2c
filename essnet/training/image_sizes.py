"""The sizes of images that a network takes: multiples of its stride, and not too small."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.config import InputError, TrialConfig
from essnet.data.transforms import PADDING_COLOUR
from essnet.models import SegmentationModel


def padded_size(size: tuple[int, int], model: SegmentationModel) -> tuple[int, int]:
    """Return the nearest (H, W) that the network takes and an image of `size` (H, W) fits into."""
    multiple, least = model.stride_multiple, model.minimum_side
    rows, columns = (-(-max(side, least) // multiple) * multiple for side in size)
    return rows, columns


def padded(images: Tensor, model: SegmentationModel) -> Tensor:
    """Pad images (B, 3, H, W) uint8 to the right and below, to the nearest size that the network takes."""
    height, width = images.shape[-2:]
    rows, columns = padded_size((height, width), model)
    larger = torch.tensor(PADDING_COLOUR, dtype=images.dtype, device=images.device)[:, None, None].repeat(
        len(images), 1, rows, columns
    )
    larger[..., :height, :width] = images
    return larger


def check_crop_size(config: TrialConfig, model: SegmentationModel) -> None:
    """Raise InputError unless the network takes images of the crop's size, as crops in training and as windows."""
    multiple = model.stride_multiple
    for size in config.data.crop_height_width:
        if size % multiple:
            nearest = max(multiple, model.minimum_side, round(size / multiple) * multiple)
            raise InputError(
                f"data.crop_size={config.data.crop_size} must be divisible by {multiple}, the stride of "
                f"{config.model.architecture} with {config.model.encoder}; nearest is {nearest}"
            )
    if min(config.data.crop_height_width) < model.minimum_side:
        raise InputError(
            f"data.crop_size={config.data.crop_size} is too small for {config.model.architecture}; "
            f"at least {model.minimum_side}"
        )
