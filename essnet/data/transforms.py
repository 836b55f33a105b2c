"""Augmentation of an image together with its mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from essnet.labels import IGNORE_INDEX

PADDING_COLOUR = (124, 116, 104)
"""ImageNet's mean colour in 0..255, used as padding: a normalised image has zeros there."""


def build_train_transform(
    *,
    crop_size: tuple[int, int],
    scale: tuple[float, float] = (0.5, 2.0),
    flip: float = 0.5,
    colour_jitter: float = 0.0,
) -> Callable[[tv_tensors.Image, tv_tensors.Mask], tuple[tv_tensors.Image, tv_tensors.Mask]]:
    """Random scale and crop to `crop_size` (H, W), horizontal flip with probability `flip`, colour jitter.

    `scale` is relative to the image's own size; `colour_jitter` is the strength for brightness, contrast and
    saturation. Takes and returns an image uint8 (3, H, W) and a mask int64 (H, W); draws from torch's global
    generator. Raises ValueError for sizes, ranges or probabilities that are impossible.
    """
    if not 0 <= flip <= 1:
        raise ValueError(f"flip={flip} is a probability and must lie in 0..1")
    if colour_jitter < 0:
        raise ValueError(f"colour_jitter={colour_jitter} must not be negative")
    steps: list[Callable[..., Any]] = [RandomScaledCrop(size=crop_size, scale=scale)]
    if flip > 0:
        steps.append(v2.RandomHorizontalFlip(p=flip))
    if colour_jitter > 0:
        steps.append(v2.ColorJitter(brightness=colour_jitter, contrast=colour_jitter, saturation=colour_jitter))
    return steps[0] if len(steps) == 1 else v2.Compose(steps)


def unchanged(image: tv_tensors.Image, mask: tv_tensors.Mask) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Return image and mask as they are: the transform of data that is made at the right size."""
    return image, mask


class RandomScaledCrop(v2.Transform):  # type: ignore[misc]  # torchvision is untyped
    """Scale the image by a random factor, then cut a random window of `size` (H, W) out of it.

    The window's region is cut out first and only that is resized: the same picture, without computing pixels
    that the crop throws away. Where the scaled image is smaller than the window it lies at a random place in
    it; the rest is PADDING_COLOUR in the image and IGNORE_INDEX in the mask. Images are resized bilinearly
    with antialiasing, masks take the nearest pixel.
    """

    def __init__(self, *, size: tuple[int, int], scale: tuple[float, float]) -> None:
        super().__init__()
        if min(size) < 1:
            raise ValueError(f"crop size {size} must be at least 1 pixel high and wide")
        if not 0 < scale[0] <= scale[1] < float("inf"):
            raise ValueError(f"scale={scale} must be (low, high) with 0 < low <= high")
        self.size = size
        self.scale = scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the region: its height and width in pixels of the image, and where it begins."""
        factor = float(torch.empty(()).uniform_(*self.scale))
        spans = []
        for length, window in zip(flat_inputs[0].shape[-2:], self.size, strict=True):
            region = max(1, round(window / factor))
            start = _integer_between(min(0, length - region), max(0, length - region))
            spans.append(_Span(length=length, window=window, region=region, start=start))
        return {"rows": spans[0], "columns": spans[1]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The window of `inpt` that `make_params` drew."""
        rows, columns = params["rows"], params["columns"]
        if isinstance(inpt, tv_tensors.Mask):
            mask = inpt.as_subclass(Tensor)[..., rows.nearest()[:, None], columns.nearest()]
            return tv_tensors.Mask(_placed(mask, rows, columns, torch.tensor(IGNORE_INDEX)))
        region = inpt.as_subclass(Tensor)[..., rows.source, columns.source]
        # Channels last in memory: faster, and torch's resizing to 1x1 fails for the other order.
        region = region.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        size = [rows.target.stop - rows.target.start, columns.target.stop - columns.target.start]
        resized = v2.functional.resize(region, size, v2.InterpolationMode.BILINEAR, antialias=True)
        return tv_tensors.Image(_placed(resized, rows, columns, torch.tensor(PADDING_COLOUR)[:, None, None]))


class _Span:
    """One axis of the region: which source pixels it covers, and which pixels of the window they fill."""

    def __init__(self, *, length: int, window: int, region: int, start: int) -> None:
        stop = start + region
        self.window = window
        self.source = slice(max(start, 0), min(stop, length))
        first = round((self.source.start - start) * window / region)
        last = round((self.source.stop - start) * window / region)
        # A source that shrinks to nothing still fills one pixel.
        first = min(first, window - 1)
        self.target = slice(first, max(last, first + 1))

    def nearest(self) -> Tensor:
        """For each target pixel the source pixel that its centre falls into."""
        source, target = self.source.stop - self.source.start, self.target.stop - self.target.start
        centres = (torch.arange(target) * 2 + 1) * source // (2 * target)
        return centres + self.source.start


def _placed(part: Tensor, rows: _Span, columns: _Span, fill: Tensor) -> Tensor:
    if part.shape[-2:] == (rows.window, columns.window):
        return part.contiguous()
    window = part.new_empty((*part.shape[:-2], rows.window, columns.window))
    window[...] = fill
    window[..., rows.target, columns.target] = part
    return window


def _integer_between(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))
