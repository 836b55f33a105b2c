"""Exact loading: what a step sees depends on the seed and the step alone, not on workers or restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import tv_tensors

from essnet.config.errors import InputError
from essnet.data.batch_sampler import TrainBatchSampler
from essnet.data.class_table import ClassTable
from essnet.data.crop_window import Region
from essnet.data.loader_watch import ReadingNow, watched
from essnet.data.transforms import PADDING_COLOUR, RandomScaledCrop
from essnet.labels import IGNORE_INDEX

Sample: TypeAlias = tuple[tv_tensors.Image, tv_tensors.Mask]
Batch: TypeAlias = tuple[Tensor, Tensor]
Transform: TypeAlias = Callable[[tv_tensors.Image, tv_tensors.Mask], Sample]
ChooseFocus: TypeAlias = Callable[[npt.NDArray[np.integer]], tuple[int, int] | None]

# First word of every seed, so that no two purposes ever share a random stream; the order of the data has 1.
_AUGMENTATION_STREAM = 2


@runtime_checkable
class SegmentationDataset(Protocol):
    """What every data set offers: its classes, and pairs of image uint8 (3, H, W) and mask int64 (H, W)."""

    @property
    def classes(self) -> ClassTable:
        """The data set's classes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...

    def describe(self, index: int) -> str:
        """Name an item for a message: its file, where it has one."""


@runtime_checkable
class ReadsRegions(Protocol):
    """A data set in files, which reads of an image no more than a crop shows."""

    def read_narrow_targets(self, index: int, /) -> npt.NDArray[np.signedinteger]:
        """Class indices of an item, (H, W), with IGNORE_INDEX, in a type of few bytes."""

    def read_region(
        self, index: int, region: Region, /, *, size: tuple[int, int], image_size: tuple[int, int]
    ) -> Tensor:
        """A region of an item's image (H, W) = `image_size`, resized to `size` (h, w): uint8 (3, h, w)."""


class AugmentedDataset(Dataset[Sample]):
    """Item (index, draw): item `index` of `dataset`, transformed with randomness from (seed, draw) alone.

    A data set in files gives the image's region that the crop shows, and its mask in int8 to int32; else the item is
    transformed as a whole.

    `choose_focus` gets an item's class indices, (H, W) integers, and returns (row, column) of a pixel that the crop
    is to contain, or None to leave the crop free (where the image is shrunk, a single pixel may fall between those
    that are taken); it draws from torch's global generator. Left out, nothing is drawn
    for it. Worker processes get a copy of it, on some systems a pickled one. torch's global generator is left as it
    was. Raises ValueError for `choose_focus` with a transform that does not crop.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        transform: Transform,
        seed: int,
        *,
        choose_focus: ChooseFocus | None = None,
    ) -> None:
        if choose_focus is not None and not isinstance(transform, RandomScaledCrop):
            raise ValueError(f"choose_focus needs a transform that crops, RandomScaledCrop, not {transform!r}")
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self._choose_focus = choose_focus

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        index, draw = key
        state = np.random.SeedSequence((_AUGMENTATION_STREAM, self.seed, draw)).generate_state(1, np.uint64)
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed the accelerators too, which the fork does not put back.
            torch.default_generator.manual_seed(int(state[0] >> 1))
            if not isinstance(self.transform, RandomScaledCrop):
                return self.transform(*self.dataset[index])
            if isinstance(self.dataset, ReadsRegions):
                return self._read_crop(self.dataset, self.transform, index)
            image, mask = self.dataset[index]
            return self.transform(image, mask, focus=self._focus(mask.numpy()))

    def _read_crop(self, dataset: ReadsRegions, crop: RandomScaledCrop, index: int) -> Sample:
        targets = dataset.read_narrow_targets(index)
        image_size = (targets.shape[0], targets.shape[1])
        window = crop.draw(image_size, focus=self._focus(targets))
        region = dataset.read_region(index, window.region, size=window.region_size, image_size=image_size)
        return crop.crop_image(window, region), crop.crop_targets(window, targets)

    def _focus(self, targets: npt.NDArray[np.integer]) -> tuple[int, int] | None:
        return None if self._choose_focus is None else self._choose_focus(targets)


class BatchLoader:
    """Batches of images uint8 (B, 3, H, W) and targets int64 (B, H, W), plain tensors.

    A file that a worker cannot read raises the InputError of one line that it raises without workers; a worker that is
    stuck or dies, LoaderFailed. Without workers a process that is stuck is ended (`loader_watch`).
    """

    def __init__(self, dataset: Any, *, describe: Callable[[int], str], num_workers: int, **options: Any) -> None:
        self._reading = ReadingNow(num_workers, describe=describe)
        self._loader: DataLoader[Any] = DataLoader(
            _WatchedItems(dataset, self._reading),
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            # A generator of its own: without one the DataLoader draws from torch's global one.
            generator=torch.Generator(),
            **options,
        )

    def __iter__(self) -> Iterator[Batch]:
        with watched(self._reading):
            try:
                for batch in self._loader:
                    if isinstance(batch, InputError):
                        raise batch
                    yield batch.widened() if isinstance(batch, _NarrowBatch) else batch
            except (RuntimeError, EOFError, OSError):
                if self._loader.num_workers > 0:
                    self._reading.raise_for_who_is_gone()
                raise

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
    repeat_factors: npt.NDArray[np.float64] | None = None,
    choose_focus: ChooseFocus | None = None,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> BatchLoader:
    """Endless training batches from `start_step` on; the same for any number of workers.

    `transform` brings all samples to one size, (crop height, crop width). With `repeat_factors` each item is seen as
    often in an epoch as its factor says, on average. `choose_focus` picks what a crop has to show, as
    `AugmentedDataset` says.
    """
    sampler = TrainBatchSampler(
        length=len(dataset), batch_size=batch_size, seed=seed, start_step=start_step, repeat_factors=repeat_factors
    )
    return BatchLoader(
        AugmentedDataset(dataset, transform, seed, choose_focus=choose_focus),
        describe=lambda index: dataset.describe(index),
        num_workers=num_workers,
        batch_sampler=sampler,
        collate_fn=_collate_crops,
        pin_memory=pin_memory,
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
        dataset,
        describe=lambda index: dataset.describe(index),
        num_workers=num_workers,
        batch_size=batch_size,
        sampler=range(len(dataset)),
        collate_fn=_Collate(multiple=multiple, minimum_side=minimum_side),
        pin_memory=pin_memory,
    )


class _WatchedItems(Dataset[Any]):
    # The DataLoader would wrap a worker's error into its traceback; as a value it arrives as it is.

    def __init__(self, dataset: Any, reading: ReadingNow) -> None:
        self._dataset = dataset
        self._reading = reading

    def __getitem__(self, key: Any) -> Sample | InputError:
        with self._reading.reading(key[0] if isinstance(key, tuple) else key):
            try:
                sample: Sample = self._dataset[key]
                return sample
            except InputError as error:
                return error


@dataclass(frozen=True)
class _NarrowBatch:
    """A training batch on its way from a worker, its targets in the samples' own type, which is narrower."""

    images: Tensor
    targets: Tensor

    def widened(self) -> Batch:
        return self.images, _int64(self.targets)

    def pin_memory(self) -> _NarrowBatch:
        # In the DataLoader's own thread, so that the training loop finds page-locked targets of the right type.
        return _NarrowBatch(self.images.pin_memory(), _int64(self.targets).pin_memory())


def _int64(targets: Tensor) -> Tensor:
    if targets.dtype == torch.int64:
        return targets
    # Not by torch: its threads wait busily for each other, and workers need those cores.
    return torch.from_numpy(targets.numpy().astype(np.int64))


def _collate_crops(samples: list[Sample | InputError]) -> _NarrowBatch | InputError:
    images, targets = [], []
    for sample in samples:
        if isinstance(sample, InputError):
            return sample
        images.append(sample[0].as_subclass(Tensor))
        targets.append(sample[1].as_subclass(Tensor))
    # In a worker this writes into shared memory at once: no copy on the way out.
    return _NarrowBatch(default_collate(images), default_collate(targets))


class _Collate:
    def __init__(self, *, multiple: int, minimum_side: int) -> None:
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
