"""What is averaged when an image is looked at more than once: in windows, at several sizes, mirrored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from essnet.config import InputError, TrialConfig
from essnet.data.image_regions import resized_region
from essnet.models import EmbeddingOutput, FullSoftmaxOutput, SegmentationModel
from essnet.training.image_sizes import check_crop_size, padded


@dataclass(frozen=True, kw_only=True)
class Views:
    """The looks at an image whose outputs are averaged; as it is by default, one look at the whole of it.

    Every window counts as much as every other at a pixel that both show, a mirrored one too, and every scale as much
    as every other.
    """

    window: tuple[int, int] | None = None
    """(H, W) of the windows in pixels; None: the whole image is one."""
    overlap: float = 0.0
    """Least share of a window's side that it has in common with the next one."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes of the image, relative to its own."""
    flip: bool = False
    """Whether each window is looked at in the mirror as well."""


def views_of(config: TrialConfig, model: SegmentationModel) -> Views:
    """Return the views that a trial's evaluation averages.

    Raises
    ------
    InputError
        If the network does not take windows of the crop's size, or there are several views and nothing of the output
        layer's that can be averaged.
    """
    asked = config.evaluation
    window = None
    if asked.protocol == "sliding":
        window = config.data.crop_height_width
        check_crop_size(config, model)
    views = Views(window=window, overlap=asked.overlap, scales=tuple(asked.scales), flip=asked.flip)
    several = window is not None or views.scales != (1.0,) or views.flip
    if several and not isinstance(model.output_layer, EmbeddingOutput | FullSoftmaxOutput):
        raise InputError(
            f"evaluation: windows, scales and flip average embeddings or probabilities, but {config.objective.name} "
            "derives from neither EmbeddingOutput nor FullSoftmaxOutput; leave them out"
        )
    return views


def averaged_outputs(model: SegmentationModel, images: Tensor, views: Views) -> Tensor:
    """Return outputs for the output layer's `loss` and `predict`: of one view as they are, of several their average.

    Averages are at the images' size. The full softmax averages probabilities, and gives their logarithms; embeddings
    are averaged themselves, which `docs/training.md` gives the reasons for, and memory does not depend on the number
    of classes.

    Beside the average, (B, K, H, W) float32 with K classes or embedding dimensions, the outputs of one window are
    held, and of a scale other than 1 those of the scaled image.

    Shapes: images (B, 3, H, W) uint8, H and W as the network takes them; outputs (B, K, h, w), of an average
    (B, K, H, W).
    """
    size = (images.shape[-2], images.shape[-1])
    if views.scales == (1.0,) and not views.flip and len(list(_windows(size, views))) == 1:
        return model(images)  # type: ignore[no-any-return]  # modules are called without types
    average = None
    for scale in views.scales:
        scaled = _average_at_scale(model, images, scale, views)
        average = scaled if average is None else average.add_(scaled)
    assert average is not None
    return _as_outputs(model, average.div_(len(views.scales)))


def _average_at_scale(model: SegmentationModel, images: Tensor, scale: float, views: Views) -> Tensor:
    """Return the average of all windows of the scaled images, (B, K, H, W) at the images' own size."""
    height, width = images.shape[-2:]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    looked_at = images if size == (height, width) else padded(_resized(images, size), model)
    rows, columns = looked_at.shape[-2:]
    total: Tensor | None = None
    seen = torch.zeros((rows, columns), device=images.device)
    for window in _windows((rows, columns), views):
        part = looked_at[..., window[0], window[1]]
        votes = _votes(model, part)
        if views.flip:
            votes = votes + _votes(model, part.flip(-1)).flip(-1)
        if total is None:
            shape = (len(images), votes.shape[1], rows, columns)
            # Pixels as rows, which the search and the losses want.
            total = torch.empty(shape, device=images.device, memory_format=torch.channels_last).zero_()
        total[..., window[0], window[1]] += votes
        seen[window] += 2 if views.flip else 1
    assert total is not None
    total /= seen
    if size == (height, width):
        return total
    own = total[..., : size[0], : size[1]]
    return F.interpolate(own, size=(height, width), mode="bilinear", align_corners=False)


def _votes(model: SegmentationModel, images: Tensor) -> Tensor:
    """Return what is averaged, at the images' size: embeddings, or the probabilities of the full softmax."""
    outputs = model(images)
    size = (images.shape[-2], images.shape[-1])
    if isinstance(model.output_layer, EmbeddingOutput):
        return model.output_layer.comparable_embeddings(outputs, size)
    return F.interpolate(outputs.float(), size=size, mode="bilinear", align_corners=False).softmax(dim=1)


def _as_outputs(model: SegmentationModel, average: Tensor) -> Tensor:
    if isinstance(model.output_layer, EmbeddingOutput):
        return average
    # Logits whose softmax is the average; a probability that is 0 in float32 must not become an infinite loss.
    return average.clamp_(min=torch.finfo(average.dtype).tiny).log_()


def _windows(size: tuple[int, int], views: Views) -> Iterator[tuple[slice, slice]]:
    """Yield the windows' rows and columns: as few as give the overlap, spread evenly from edge to edge."""
    if views.window is None:
        yield slice(0, size[0]), slice(0, size[1])
        return
    sides = (min(views.window[0], size[0]), min(views.window[1], size[1]))
    for top in _starts(length=size[0], side=sides[0], overlap=views.overlap):
        for left in _starts(length=size[1], side=sides[1], overlap=views.overlap):
            yield slice(top, top + sides[0]), slice(left, left + sides[1])


def _starts(*, length: int, side: int, overlap: float) -> list[int]:
    farthest_step = max(1, math.floor(side * (1 - overlap)))
    steps = -(-(length - side) // farthest_step)
    return [(length - side) * step // max(1, steps) for step in range(steps + 1)]


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    whole = (slice(0, images.shape[-2]), slice(0, images.shape[-1]))
    return torch.stack([resized_region(image, whole, size=size) for image in images])
