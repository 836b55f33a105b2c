"""Augmentation of an image together with its mask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from essnet.data.crop_window import CropWindow, draw_window
from essnet.data.image_regions import resized_region
from essnet.labels import IGNORE_INDEX

PADDING_COLOUR = (124, 116, 104)
"""ImageNet's mean colour in 0..255, used as padding: a normalised image has zeros there."""


def build_train_transform(
    *,
    crop_size: tuple[int, int],
    scale: tuple[float, float] = (0.5, 2.0),
    flip: float = 0.5,
    colour_jitter: float = 0.0,
) -> RandomScaledCrop:
    """Random scale and crop to `crop_size` (H, W), horizontal flip with probability `flip`, colour jitter.

    `scale` is relative to the image's own size; `colour_jitter` is the strength for brightness, contrast and
    saturation. Takes and returns an image uint8 (3, H, W) and a mask int64 (H, W); draws from torch's global
    generator. Raises ValueError for sizes, ranges or probabilities that are impossible.
    """
    return RandomScaledCrop(size=crop_size, scale=scale, flip=flip, colour_jitter=colour_jitter)


def unchanged(image: tv_tensors.Image, mask: tv_tensors.Mask) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Return image and mask as they are: the transform of data that is made at the right size."""
    return image, mask


class RandomScaledCrop:
    """Scale the image by a random factor, cut a random window of `size` (H, W) out of it, mirror and jitter it.

    The window is drawn first, from the image's size alone, and only its region is resized, and from files only
    decoded as far as it needs: the same picture, without computing pixels that the crop throws away. Where the
    scaled image is smaller than the window it lies at a random place in it; the rest is PADDING_COLOUR in the image
    and IGNORE_INDEX in the mask. Images are resized bilinearly with antialiasing, masks take the nearest pixel.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int],
        scale: tuple[float, float],
        flip: float = 0.0,
        colour_jitter: float = 0.0,
    ) -> None:
        if min(size) < 1:
            raise ValueError(f"crop size {size} must be at least 1 pixel high and wide")
        if not 0 < scale[0] <= scale[1] < float("inf"):
            raise ValueError(f"scale={scale} must be (low, high) with 0 < low <= high")
        if not 0 <= flip <= 1:
            raise ValueError(f"flip={flip} is a probability and must lie in 0..1")
        if colour_jitter < 0:
            raise ValueError(f"colour_jitter={colour_jitter} must not be negative")
        self.size = size
        self.scale = scale
        self.flip = flip
        self._jitter: Any = None
        if colour_jitter > 0:
            self._jitter = v2.ColorJitter(brightness=colour_jitter, contrast=colour_jitter, saturation=colour_jitter)

    def draw(self, image_size: tuple[int, int], *, focus: tuple[int, int] | None = None) -> CropWindow:
        """Draw the window for an image (H, W); `focus`, (row, column), is a pixel that it has to contain."""
        window = draw_window(image_size, size=self.size, scale=self.scale, focus=focus)
        if self.flip > 0 and float(torch.rand(1)) < self.flip:
            return replace(window, flipped=True)
        return window

    def crop_image(self, window: CropWindow, region: Tensor) -> tv_tensors.Image:
        """The crop, uint8 (3, H, W), from the window's region resized to its size; draws the jitter of colours."""
        image = tv_tensors.Image(window.placed(region, padding=PADDING_COLOUR))
        return image if self._jitter is None else self._jitter(image)

    def crop_targets(self, window: CropWindow, targets: npt.NDArray[np.integer]) -> tv_tensors.Mask:
        """The crop (H, W) of an image's labels (H, W), of their type."""
        region = torch.from_numpy(window.nearest(targets))
        return tv_tensors.Mask(window.placed(region[None], padding=[IGNORE_INDEX])[0])

    def __call__(
        self, image: tv_tensors.Image, mask: tv_tensors.Mask, *, focus: tuple[int, int] | None = None
    ) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        """The crop of an image that is there as a whole."""
        window = self.draw((mask.shape[0], mask.shape[1]), focus=focus)
        region = resized_region(image.as_subclass(Tensor), window.region, size=window.region_size)
        return self.crop_image(window, region), self.crop_targets(window, mask.numpy())
