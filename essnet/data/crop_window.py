"""Which part of an image a training crop shows, and where in the crop it lies: chosen before a pixel is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Region: TypeAlias = tuple[slice, slice]
"""Rows and columns of an image, in pixels."""


class Span:
    """One axis of a crop: which pixels of the image it covers (`source`), and which of the crop they fill (`target`).

    `length` is the image's, `window` the crop's. `region` pixels of the image, from `start` on, are resized to the
    whole window; those before 0 and from `length` on are padding.
    """

    def __init__(self, *, length: int, window: int, region: int, start: int) -> None:
        stop = start + region
        self.window = window
        self.source = slice(max(start, 0), min(stop, length))
        first = round((self.source.start - start) * window / region)
        last = round((self.source.stop - start) * window / region)
        # A source that shrinks to nothing still fills one pixel.
        first = min(first, window - 1)
        self.target = slice(first, max(last, first + 1))

    @property
    def filled(self) -> int:
        """How many pixels of the crop are not padding."""
        return self.target.stop - self.target.start

    def nearest(self) -> npt.NDArray[np.intp]:
        """For each target pixel the source pixel that its centre falls into."""
        source = self.source.stop - self.source.start
        centres: npt.NDArray[np.intp] = (np.arange(self.filled) * 2 + 1) * source // (2 * self.filled)
        return centres + self.source.start


@dataclass(frozen=True, kw_only=True)
class CropWindow:
    """A crop of an image and its mask: a region, resized, placed in the crop with padding, and maybe mirrored."""

    rows: Span
    columns: Span
    flipped: bool = False

    @property
    def region(self) -> Region:
        """The part of the image that the crop shows."""
        return self.rows.source, self.columns.source

    @property
    def region_size(self) -> tuple[int, int]:
        """(H, W) that the region has to be resized to before it is placed."""
        return self.rows.filled, self.columns.filled

    def nearest(self, values: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """The region of an image's labels (H, W), brought to `region_size`: each pixel takes the nearest."""
        region = values[self.rows.source].take(self.columns.nearest(), axis=1)
        return region.take(self.rows.nearest() - self.rows.source.start, axis=0)

    def placed(self, region: Tensor, *, padding: Sequence[int]) -> Tensor:
        """The crop (N, H, W): a region (N, h, w) of `region_size` where it belongs, `padding` around it.

        `padding` has a value for each of the N planes. A region that fills the crop keeps its order in memory.
        """
        columns = self.columns.target
        if self.flipped:
            region = region.flip(-1)
            columns = slice(self.columns.window - columns.stop, self.columns.window - columns.start)
        size = (self.rows.window, self.columns.window)
        if self.region_size == size:
            return region
        crop = region.new_empty((region.shape[0], *size))
        for plane, value in zip(crop, padding, strict=True):  # three times as fast as all planes at once
            plane.fill_(value)
        crop[:, self.rows.target, columns] = region
        return crop


def draw_window(
    image_size: tuple[int, int],
    *,
    size: tuple[int, int],
    scale: tuple[float, float],
    focus: tuple[int, int] | None = None,
) -> CropWindow:
    """Draw a crop of `size` (H, W) out of an image (H, W) that is scaled by a factor drawn from `scale`.

    Its place is uniform among those that the scaled image and the crop have in common; with `focus`, (row, column)
    of a pixel of the image, among those of them that contain this pixel. Draws from torch's global generator.
    Raises ValueError for a focus that is no pixel of the image.
    """
    factor = float(torch.empty(()).uniform_(*scale))
    spans = []
    for axis, (length, window) in enumerate(zip(image_size, size, strict=True)):
        region = max(1, round(window / factor))
        first, last = min(0, length - region), max(0, length - region)
        if focus is not None:
            pixel = focus[axis]
            if not 0 <= pixel < length:
                raise ValueError(f"focus={focus} is no (row, column) of an image of {image_size[0]} x {image_size[1]}")
            first, last = max(first, pixel - region + 1), min(last, pixel)
        spans.append(Span(length=length, window=window, region=region, start=_integer_between(first, last)))
    return CropWindow(rows=spans[0], columns=spans[1])


def _integer_between(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))
