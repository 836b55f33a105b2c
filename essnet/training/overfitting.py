"""The oldest check of a network and its training: can it learn a few images by heart?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch.utils.data import Dataset

from essnet.config import InputError, TrialConfig
from essnet.config.data import SamplingConfig
from essnet.data import SegmentationDataset
from essnet.data.loading import Sample
from essnet.data.transforms import unchanged
from essnet.training.center_crop import CenterCroppedDataset
from essnet.training.trial import Trial

AdaptTrial = Callable[[Trial], Trial]
"""Makes another trial of one that was built."""


class FirstItems(Dataset[Sample]):
    """The first `count` items of a data set.

    Raises InputError if it has fewer.
    """

    def __init__(self, dataset: SegmentationDataset, count: int) -> None:
        if count > len(dataset):
            raise InputError(f"--overfit: found {count}, but the training split has {len(dataset)} images")
        self.classes = dataset.classes
        self._dataset = dataset
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._count:
            raise IndexError(f"index {index} is outside the {self._count} images")
        return self._dataset[index]

    def describe(self, index: int) -> str:
        """Name an item as the data set does."""
        return self._dataset.describe(index)


def overfit_config(config: TrialConfig, count: int) -> TrialConfig:
    """Return the trial of the same name and `-overfit-<count>` that learns `count` images by heart.

    It evaluates on what it trains with, and as that is: one look at each whole image. No image is seen more often
    than another.
    """
    as_trained = {"split": "train", "protocol": "full", "scales": [1.0], "flip": False}
    return config.model_copy(
        update={
            "name": f"{config.name[:80]}-overfit-{count}",
            "data": config.data.model_copy(update={"sampling": SamplingConfig()}),
            "evaluation": config.evaluation.model_copy(update=as_trained),
        }
    )


def overfit_trial(count: int) -> AdaptTrial:
    """Return what gives a trial the centre crops of its first `count` training images, to train and to evaluate on.

    They are never augmented. Raises InputError if there are fewer.
    """

    def adapt(trial: Trial) -> Trial:
        images = CenterCroppedDataset(FirstItems(trial.train_data, count), trial.config.data.crop_height_width)
        return replace(trial, train_data=images, eval_data=images, transform=unchanged)

    return adapt
