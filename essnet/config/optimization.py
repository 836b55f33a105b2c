"""The `optimizer` and `schedule` blocks."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from essnet.config.fields import Block, NonNegative, NonNegativeFloat, Positive, PositiveFloat


class OptimizerConfig(Block):
    """The optimizer and its rates."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = 0.01
    weight_decay: NonNegativeFloat = 1e-4
    class_embeddings_weight_decay: NonNegativeFloat | None = None
    """Weight decay of the class embeddings; null: `weight_decay`."""
    decay_norm_and_bias: bool = True
    """Whether weight decay also holds for biases and the gains of normalisations: whatever is no matrix."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Only for sgd."""
    encoder_lr_factor: NonNegativeFloat = 1.0
    """Learning rate of the encoder as a multiple of `lr`."""
    class_embeddings_lr_factor: NonNegativeFloat = 1.0
    """Learning rate of the class embeddings as a multiple of `lr`."""


class ScheduleConfig(Block):
    """How the learning rate moves over the steps."""

    name: Literal["poly", "multi_poly", "step", "cosine", "one_cycle"] = "poly"
    power: PositiveFloat = 0.9
    """Only for poly and multi_poly: lr * (1 - step / max_steps) ** power."""
    class_embeddings_power: PositiveFloat = 0.95
    """Only for multi_poly: the power of the class embeddings' rate."""
    drop_every_steps: Positive = 10_000
    """Only for step: steps between two drops of the rate."""
    drop_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Only for step: what the rate is multiplied by."""
    warmup_steps: NonNegative = 0
    """Steps in which the rate rises to `lr` before the schedule begins; a shorter run only rises. Not for one_cycle."""
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Only for one_cycle: share of the steps in which the rate rises."""

    @model_validator(mode="after")
    def _one_warm_up(self) -> Self:
        if self.name == "one_cycle" and self.warmup_steps:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} needs another schedule; one_cycle rises over warmup_fraction"
            )
        return self
