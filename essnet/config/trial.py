"""The schema of one trial: what is trained, on what, how, and where it is tracked."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from essnet.config.data import DataConfig
from essnet.config.evaluation import EvaluationConfig
from essnet.config.fields import Block, Name, NonNegative
from essnet.config.loop import TrackingConfig, TrainerConfig
from essnet.config.model import ModelConfig, ObjectiveConfig
from essnet.config.optimization import OptimizerConfig, ScheduleConfig


class TrialConfig(Block):
    """One trial."""

    name: Name
    seed: NonNegative = 0
    data: DataConfig
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _crop_fits_stride(self) -> Self:
        stride = self.model.output_stride
        for size in self.data.crop_height_width:
            if stride is not None and size % stride:
                nearest = max(stride, round(size / stride) * stride)
                raise ValueError(
                    f"data.crop_size={self.data.crop_size} must be divisible by "
                    f"model.output_stride={stride}; nearest is {nearest}"
                )
        return self
