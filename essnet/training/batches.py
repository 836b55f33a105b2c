"""Which images each step of a trial sees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from essnet.data import train_loader
from essnet.data.batch_sampler import TrainBatchSampler
from essnet.data.class_balanced_crops import draw_focus
from essnet.data.loading import Batch
from essnet.data.repeat_factor import repeat_factors
from essnet.training.trial import Trial


class TrainBatches:
    """The training batches of a trial: a step sees `accumulate_steps` of them, whenever it is taken."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._config = trial.config
        sampling, labels = trial.config.data.sampling, trial.train_labels
        threshold = sampling.repeat_factor
        self._repeat_factors = None if threshold is None or labels is None else repeat_factors(labels, threshold)
        chance = sampling.class_balanced_crops
        self._choose_focus = FocusByChance(chance) if chance else None

    def after(self, step: int) -> Iterator[Batch]:
        """Return the batches of the steps that follow `step`, without end."""
        return iter(
            train_loader(
                self._trial.train_data,
                transform=self._trial.transform,
                batch_size=self._config.trainer.batch_size,
                seed=self._config.seed,
                start_step=step * self._config.trainer.accumulate_steps,
                repeat_factors=self._repeat_factors,
                choose_focus=self._choose_focus,
                num_workers=self._config.data.num_workers,
                pin_memory=self._trial.device.type == "cuda",
            )
        )

    def describe(self, step: int) -> str:
        """Name the images that step number `step` sees; the first step is 1."""
        micro_batches = self._config.trainer.accumulate_steps
        sampler = iter(
            TrainBatchSampler(
                length=len(self._trial.train_data),
                batch_size=self._config.trainer.batch_size,
                seed=self._config.seed,
                start_step=(step - 1) * micro_batches,
                repeat_factors=self._repeat_factors,
            )
        )
        indices = [index for _ in range(micro_batches) for index, _ in next(sampler)]
        return ", ".join(self._trial.train_data.describe(index) for index in indices)


class FocusByChance:
    """Chooses what a crop has to show for that share of the crops; the others lie anywhere."""

    def __init__(self, chance: float) -> None:
        self._chance = chance

    def __call__(self, targets: npt.NDArray[np.integer]) -> tuple[int, int] | None:
        """Return (row, column) of a pixel of `targets` (H, W), or None for a crop that is free to lie anywhere."""
        return draw_focus(targets) if float(torch.rand(())) < self._chance else None
