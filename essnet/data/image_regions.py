"""Part of a picture at the size that is asked for, with no more decoded than that needs."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from essnet.data.crop_window import Region
from essnet.data.image_files import content_of, opened, read_image, size_mismatch, turn_of
from essnet.data.jpeg_pixels import is_plain_jpeg, jpeg_pixels

_REDUCTIONS = (8, 4, 2)
"""What JPEG's transform can be shortened by: to 1, 2 or 4 of each 8 pixels."""

_COLUMNS_MIRRORED = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
)
_ROWS_MIRRORED = (
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_90,
    Image.Transpose.TRANSVERSE,
)


def resized_region(image: Tensor, region: Region, *, size: tuple[int, int]) -> Tensor:
    """A region of an image uint8 (3, H, W), resized to `size` (h, w), bilinearly with antialiasing."""
    part = image[..., region[0], region[1]]
    # Channels last in memory: faster, and torch's resizing to 1x1 fails for the other order.
    part = part.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    resized: Tensor = v2.functional.resize(part, list(size), v2.InterpolationMode.BILINEAR, antialias=True)
    return resized


def read_region(path: Path, region: Region, *, size: tuple[int, int], mask_size: tuple[int, int]) -> Tensor:
    """The `resized_region` of the picture that `read_image` reads, uint8 (3, h, w); raises what that raises.

    A JPEG whose region is at least twice as large as `size` is decoded at a half, a quarter or an eighth of its
    size, never below what `size` needs: JPEG's transform is shortened, and the rest is resized. That is a little
    sharper than a whole decoding that is resized; see `docs/datasets.md`. In all other cases pixels are the same.
    """
    content = content_of(path)
    decoded = None
    with opened(path, io.BytesIO(content)) as image:
        if is_plain_jpeg(image):
            turn = turn_of(image, mask_size)
            _check_size(path, image, turn, mask_size)
            reduction = _reduction(region, size)
            if reduction > 1:
                return _of_reduced(image, content, region, size=size, reduction=reduction, turn=turn)
            if turn is None:
                decoded = jpeg_pixels(content, size=(image.size[1], image.size[0]))
    pixels = read_image(path, mask_size=mask_size, content=content) if decoded is None else decoded
    return resized_region(torch.from_numpy(pixels).permute(2, 0, 1), region, size=size)


def _check_size(path: Path, image: Image.Image, turn: Image.Transpose | None, mask_size: tuple[int, int]) -> None:
    width, height = image.size
    upright = (width, height) if _swaps_sides(turn) else (height, width)
    if upright != mask_size:
        raise size_mismatch(path, upright, mask_size)


def _reduction(region: Region, size: tuple[int, int]) -> int:
    least = min((part.stop - part.start) / pixels for part, pixels in zip(region, size, strict=True))
    return next((reduction for reduction in _REDUCTIONS if reduction <= least), 1)


def _of_reduced(
    image: Image.Image,
    content: bytes,
    region: Region,
    *,
    size: tuple[int, int],
    reduction: int,
    turn: Image.Transpose | None,
) -> Tensor:
    width, height = (side / reduction for side in image.size)
    decoded = jpeg_pixels(content, size=(math.ceil(height), math.ceil(width)))
    if decoded is not None:
        image = Image.fromarray(decoded)
    else:
        image.draft(image.mode, (image.size[0] // reduction, image.size[1] // reduction))
        image.load()
    # Sides that are no multiple of the reduction end within the last column or row, which mirroring makes the first.
    beyond_right, beyond_bottom = image.size[0] - width, image.size[1] - height
    if turn is not None:
        image = image.transpose(turn)
    if _swaps_sides(turn):
        beyond_right, beyond_bottom = beyond_bottom, beyond_right
    left = beyond_right if turn in _COLUMNS_MIRRORED else 0
    top = beyond_bottom if turn in _ROWS_MIRRORED else 0
    rows, columns = region
    box = (
        left + columns.start / reduction,
        top + rows.start / reduction,
        left + columns.stop / reduction,
        top + rows.stop / reduction,
    )
    resized = image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box).convert("RGB")
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def _swaps_sides(turn: Image.Transpose | None) -> bool:
    return turn in (
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
    )
