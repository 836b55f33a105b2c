"""Data sets in files: an image file and a label file each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from essnet.data.class_table import ClassTable
from essnet.data.crop_window import Region
from essnet.data.folder_layout import Pair
from essnet.data.image_files import read_image, read_mask_ids
from essnet.data.image_regions import read_region


class Labels(Protocol):
    """What turns the values of a label file into class indices."""

    def to_targets(self, ids: npt.NDArray[np.integer], /, *, path: Path) -> npt.NDArray[np.int64]:
        """Class indices (H, W), with IGNORE_INDEX; raises InputError that names `path` for an unknown value."""

    def to_narrow_targets(self, ids: npt.NDArray[np.integer], /, *, path: Path) -> npt.NDArray[np.signedinteger]:
        """The same in a type of fewer bytes, where that holds all classes."""


FilePair: TypeAlias = tuple[str, str]
"""Paths of an image and its label: 118,287 pairs of text take 30 MiB, of Path objects 80."""


class PairedFilesDataset(Dataset[tuple[tv_tensors.Image, tv_tensors.Mask]]):
    """Images and labels in files, and the class index that each label value stands for.

    `read_ids` reads a label file as (H, W) integers. Labels are read when they are asked for, so a bad one is
    found then. Items: image uint8 (3, H, W) and mask int64 (H, W) with a class index or IGNORE_INDEX. Raises
    InputError, one line that names the file, for one that cannot be read, a label of another size than its
    image, and a label value that stands for nothing.
    """

    def __init__(
        self,
        *,
        files: Sequence[FilePair],
        classes: ClassTable,
        labels: Labels,
        read_ids: Callable[[Path], npt.NDArray[np.integer]] = read_mask_ids,
    ) -> None:
        self.classes = classes
        self._files = files
        self.labels = labels
        self._read_ids = read_ids

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        targets = self.read_targets(index)
        pixels = read_image(self.pair(index).image, mask_size=(targets.shape[0], targets.shape[1]))
        image = torch.from_numpy(pixels).permute(2, 0, 1)  # channels last in memory, as transforms like it
        return tv_tensors.Image(image), tv_tensors.Mask(torch.from_numpy(targets))

    @property
    def files(self) -> Sequence[FilePair]:
        """Paths of all items' files, as text."""
        return self._files

    def pair(self, index: int) -> Pair:
        """The files of an item."""
        image, label = self._files[index]
        return Pair(Path(image), Path(label))

    def part(self, start: int, stop: int) -> Self:
        """The same with the files of the items from `start` to before `stop` only: small enough to be sent about."""
        part = copy(self)
        part._files = self._files[start:stop]
        return part

    def read_ids(self, index: int) -> npt.NDArray[np.integer]:
        """The values in an item's label file, (H, W) integers."""
        return self._read_ids(self.pair(index).mask)

    def read_targets(self, index: int) -> npt.NDArray[np.int64]:
        """The labels of an item alone, (H, W) int64, without decoding its image."""
        return self.labels.to_targets(self.read_ids(index), path=self.pair(index).mask)

    def read_narrow_targets(self, index: int) -> npt.NDArray[np.signedinteger]:
        """`read_targets` in the smallest type that holds the classes, int8 to int32."""
        return self.labels.to_narrow_targets(self.read_ids(index), path=self.pair(index).mask)

    def read_region(self, index: int, region: Region, *, size: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
        """A region of an item's image, resized to `size` (h, w): uint8 (3, h, w), see `image_regions.read_region`.

        `image_size` (H, W) is that of the item's labels, which the image has to have.
        """
        return read_region(self.pair(index).image, region, size=size, mask_size=image_size)

    def describe(self, index: int) -> str:
        """Return the item's image file, for messages."""
        return Path(self._files[index][0]).name
