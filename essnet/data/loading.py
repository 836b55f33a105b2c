"""Exact loading: what a step sees depends on the seed and the step alone, not on workers or restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from essnet.config.errors import InputError
from essnet.data.batch_sampler import TrainBatchSampler
from essnet.data.class_table import ClassTable
from essnet.data.transforms import PADDING_COLOUR
from essnet.labels import IGNORE_INDEX

Sample: TypeAlias = tuple[tv_tensors.Image, tv_tensors.Mask]
Batch: TypeAlias = tuple[Tensor, Tensor]
Transform: TypeAlias = Callable[[tv_tensors.Image, tv_tensors.Mask], Sample]

# First word of every seed, so that no two purposes ever share a random stream; the order of the data has 1.
_AUGMENTATION_STREAM = 2


class SegmentationDataset(Protocol):
    """What every data set offers: its classes, and pairs of image uint8 (3, H, W) and mask int64 (H, W)."""

    @property
    def classes(self) -> ClassTable:
        """The data set's classes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...

    def describe(self, index: int) -> str:
        """Name an item for a message: its file, where it has one."""


class AugmentedDataset(Dataset[Sample]):
    """Item (index, draw): item `index` of `dataset`, transformed with randomness from (seed, draw) alone.

    torch's global generator is left as it was.
    """

    def __init__(self, dataset: SegmentationDataset, transform: Transform, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        index, draw = key
        image, mask = self.dataset[index]
        state = np.random.SeedSequence((_AUGMENTATION_STREAM, self.seed, draw)).generate_state(1, np.uint64)
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed the accelerators too, which the fork does not put back.
            torch.default_generator.manual_seed(int(state[0] >> 1))
            return self.transform(image, mask)


class BatchLoader:
    """Batches of images uint8 (B, 3, H, W) and targets int64 (B, H, W), plain tensors.

    A file that a worker cannot read raises the InputError of one line that it raises without workers.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch

    def __len__(self) -> int:
        """Number of batches; TypeError for the endless training loader."""
        return len(self._loader)


def train_loader(
    dataset: SegmentationDataset,
    *,
    transform: Transform,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> BatchLoader:
    """Endless training batches from `start_step` on; the same for any number of workers.

    `transform` brings all samples to one size, (crop height, crop width).
    """
    sampler = TrainBatchSampler(length=len(dataset), batch_size=batch_size, seed=seed, start_step=start_step)
    return BatchLoader(
        DataLoader(
            _ErrorsAsItems(AugmentedDataset(dataset, transform, seed)),
            batch_sampler=sampler,
            collate_fn=_Collate(multiple=1),
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            # A generator of its own: without one the DataLoader draws from torch's global one.
            generator=torch.Generator(),
        )
    )


def eval_loader(
    dataset: SegmentationDataset,
    *,
    batch_size: int,
    num_workers: int = 0,
    multiple: int = 1,
    minimum_side: int = 0,
    pin_memory: bool = False,
) -> BatchLoader:
    """The data set once, in order; each batch padded to its largest image, rounded up to `multiple` pixels,
    and to `minimum_side` at least.

    Padding is to the right and below: PADDING_COLOUR in images, IGNORE_INDEX in targets.
    """
    return BatchLoader(
        DataLoader(
            _ErrorsAsItems(dataset),
            batch_size=batch_size,
            sampler=range(len(dataset)),
            collate_fn=_Collate(multiple=multiple, minimum_side=minimum_side),
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            generator=torch.Generator(),
        )
    )


class _ErrorsAsItems(Dataset[Any]):
    # The DataLoader would wrap a worker's error into its traceback; as a value it arrives as it is.

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __getitem__(self, key: Any) -> Sample | InputError:
        try:
            sample: Sample = self._dataset[key]
            return sample
        except InputError as error:
            return error


class _Collate:
    def __init__(self, *, multiple: int, minimum_side: int = 0) -> None:
        self._multiple = multiple
        self._minimum_side = minimum_side

    def __call__(self, samples: list[Sample | InputError]) -> Batch | InputError:
        pairs: list[Sample] = []
        for sample in samples:
            if isinstance(sample, InputError):
                return sample
            pairs.append(sample)
        largest = [max(self._minimum_side, *(mask.shape[axis] for _, mask in pairs)) for axis in (0, 1)]
        height, width = (-(-side // self._multiple) * self._multiple for side in largest)
        images = torch.empty((len(pairs), 3, height, width), dtype=torch.uint8)
        images[...] = torch.tensor(PADDING_COLOUR)[:, None, None]
        targets = torch.full((len(pairs), height, width), IGNORE_INDEX, dtype=torch.int64)
        for row, (image, mask) in enumerate(pairs):
            images[row, :, : image.shape[1], : image.shape[2]] = image
            targets[row, : mask.shape[0], : mask.shape[1]] = mask
        return images, targets
