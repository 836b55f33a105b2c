"""The `evaluation` block: when, on what and how the metrics are computed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from essnet.config.fields import Block, NonNegative, Positive


class EvaluationConfig(Block):
    """When, on what and how the metrics are computed."""

    every_steps: Positive | None = None
    """Steps between evaluations; null: only at the end."""
    split: Literal["train", "val", "test"] = "val"
    batch_size: Positive = 8
    num_pictures: NonNegative = 4
    """Images of the split whose predictions are kept as pictures."""
    protocol: Literal["full", "center_crop", "sliding"] = "full"
    """Whole images; or images and labels scaled until they just cover `data.crop_size`, and its centre cut out; or
    windows of `data.crop_size` whose outputs are averaged where they overlap."""
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 1 / 3
    """Only for sliding: neighbouring windows have at least this share of their side in common."""
    scales: list[Annotated[float, Field(gt=0, le=8)]] = Field(default=[1.0], min_length=1)
    """Sizes of each image, relative to its own, whose outputs are averaged."""
    flip: bool = False
    """Average with the outputs of the mirrored image."""
