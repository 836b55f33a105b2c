"""The problem that every implementation solves: features and targets from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FEATURE_CHANNELS = 256
OUTPUT_STRIDE = 4

# The fewest pixels of a label map over whole features, of which any other number is a multiple.
PIXELS_STEP = OUTPUT_STRIDE**2


@dataclass(frozen=True)
class Problem:
    """Sizes, similarity, seed and device; the same problem has the same inputs in every process."""

    num_classes: int
    pixels: int
    """At the labels' size, where the loss is computed; a multiple of `PIXELS_STEP`."""
    embedding_dim: int
    num_neighbours: int
    num_random: int
    similarity: str
    seed: int
    device: str


@dataclass(frozen=True)
class Inputs:
    """What a decoder and a data set hand to the output layer and its loss."""

    features: Tensor
    """(1, 256, h / 4, w / 4) float32, channels last, requires a gradient."""
    targets: Tensor
    """(1, h, w) int64: classes at random, none ignored."""


def label_size(pixels: int) -> tuple[int, int]:
    """Return height and width of that many pixels, as near to a square as multiples of the stride allow.

    Raises ValueError unless `pixels` is a positive multiple of `PIXELS_STEP`.
    """
    if pixels < PIXELS_STEP or pixels % PIXELS_STEP:
        nearest = max(1, round(pixels / PIXELS_STEP)) * PIXELS_STEP
        raise ValueError(f"must be a positive multiple of {PIXELS_STEP}, with features at stride 4; try {nearest}")
    cells = pixels // PIXELS_STEP
    height = next(rows for rows in range(math.isqrt(cells), 0, -1) if cells % rows == 0)
    return height * OUTPUT_STRIDE, cells // height * OUTPUT_STRIDE


def draw_inputs(problem: Problem) -> Inputs:
    """Return the inputs that the problem's seed stands for."""
    height, width = label_size(problem.pixels)
    generator = torch.Generator().manual_seed(problem.seed)
    features = torch.randn((1, FEATURE_CHANNELS, height // OUTPUT_STRIDE, width // OUTPUT_STRIDE), generator=generator)
    targets = torch.randint(problem.num_classes, (1, height, width), generator=generator)
    features = features.to(problem.device, memory_format=torch.channels_last)
    return Inputs(features=features.requires_grad_(), targets=targets.to(problem.device))
