"""From maps to rows: the pixels of a batch, checked and ready for a loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from essnet.labels import IGNORE_INDEX
from essnet.losses.targets import check_targets
from essnet.losses.waiting import assert_on_device, host_waits_for
from essnet.neighbours import check_similarity


@dataclass(frozen=True)
class Rows:
    """The N pixels of a batch; floating tensors are float64, or float32 for anything narrower.

    Where the host can count them without waiting, these are the valid pixels only.
    """

    pixels: Tensor
    """(N, D), still connected to the pixel embeddings' graph."""
    classes: Tensor
    """(C, D), still connected to the class embeddings' graph."""
    targets: Tensor
    """(N,) int64, each in [0, C)."""
    logit_scale: Tensor
    """Scalar, still connected to the graph; 1 for `dot`, which has no scale."""
    ignored: Tensor | None = None
    """(N,) bool: the rows that do not count, with a pixel of zeros and target 0; None where all do."""

    @property
    def num_classes(self) -> int:
        """C."""
        return self.classes.shape[0]

    @property
    def num_valid(self) -> int | Tensor:
        """How many rows count, at least 1 where that is a tensor."""
        return len(self.targets) if self.ignored is None else (~self.ignored).sum().clamp(min=1)

    @property
    def nothing_to_tell_apart(self) -> bool:
        """Whether the loss is known to be 0 whatever the embeddings are: no pixel, or a single class."""
        return len(self.targets) == 0 or self.num_classes == 1

    def zero(self) -> Tensor:
        """Return 0, connected to the graph with gradients of 0 (even where an embedding is NaN)."""
        return self.pixels[:0].sum() + self.classes[:0].sum() + self.logit_scale.reshape(1)[:0].sum()


def valid_rows(
    *,
    pixel_embeddings: Tensor,
    class_embeddings: Tensor,
    targets: Tensor,
    similarity: str,
    logit_scale: float | Tensor,
) -> Rows:
    """Check a loss' input and return its valid pixels as rows, on a GPU all pixels with the ignored marked.

    Shapes: pixel_embeddings (B, D, H, W), class_embeddings (C, D), targets (B, H, W) int64. Raises ValueError
    for shapes and dtypes that do not fit, targets out of range, a logit_scale <= 0; InputError for an unknown
    similarity. On a GPU values of tensors are checked there (`assert_on_device`).
    """
    check_similarity(similarity)
    if (
        pixel_embeddings.ndim != 4
        or class_embeddings.ndim != 2
        or class_embeddings.shape[0] == 0
        or pixel_embeddings.shape[1] != class_embeddings.shape[1]
        or targets.shape != (pixel_embeddings.shape[0], *pixel_embeddings.shape[2:])
    ):
        raise ValueError(
            "pixel_embeddings must be (B, D, H, W), class_embeddings (C, D) with C >= 1, targets (B, H, W); "
            f"got {tuple(pixel_embeddings.shape)}, {tuple(class_embeddings.shape)}, {tuple(targets.shape)}"
        )
    if not (pixel_embeddings.is_floating_point() and class_embeddings.is_floating_point()):
        raise ValueError(
            f"embeddings must be floating; got {pixel_embeddings.dtype} pixels and {class_embeddings.dtype} classes"
        )
    check_targets(targets, class_embeddings.shape[0])
    wide = torch.float64 in (pixel_embeddings.dtype, class_embeddings.dtype)
    dtype = torch.float64 if wide else torch.float32

    # channels-last maps are rows already, others are copied once
    pixels = pixel_embeddings.permute(0, 2, 3, 1).reshape(-1, pixel_embeddings.shape[1])
    flat_targets = targets.reshape(-1)
    ignored = flat_targets == IGNORE_INDEX
    marked = host_waits_for(pixels.device)
    if marked:
        # zeros: whatever is in an ignored pixel, NaN as well, reaches neither the loss nor a gradient
        pixels, flat_targets = pixels.masked_fill(ignored[:, None], 0.0), flat_targets.masked_fill(ignored, 0)
    elif ignored.any():
        kept = (~ignored).nonzero().squeeze(1)
        pixels, flat_targets = pixels.index_select(0, kept), flat_targets.index_select(0, kept)
    return Rows(
        pixels=pixels.to(dtype).contiguous(),
        classes=class_embeddings.to(dtype).contiguous(),
        targets=flat_targets,
        logit_scale=_as_scalar(1.0 if similarity == "dot" else logit_scale, pixels.device, dtype),
        ignored=ignored if marked else None,
    )


def _as_scalar(logit_scale: float | Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    if isinstance(logit_scale, Tensor):
        if logit_scale.numel() != 1:
            raise ValueError(f"logit_scale must be one number; got a tensor of shape {tuple(logit_scale.shape)}")
        scale = logit_scale.reshape(()).to(device=device, dtype=dtype)
        if host_waits_for(device):
            assert_on_device((scale > 0) | scale.isnan(), "logit_scale must be > 0: it multiplies the similarity")
            return scale
        value = float(scale.detach())
    else:
        scale = torch.full((), logit_scale, device=device, dtype=dtype)  # not torch.tensor, whose copy is waited for
        value = logit_scale
    # A scale that became NaN in training passes: the loss is NaN then, and that is for the trainer to report.
    if value <= 0 or math.isinf(value):
        raise ValueError(f"logit_scale={value:g} must be finite and > 0: it multiplies the similarity")
    return scale
