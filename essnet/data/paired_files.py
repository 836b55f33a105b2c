"""Data sets in files: an image file and a label file each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors

from essnet.data.class_table import ClassTable
from essnet.data.folder_layout import Pair
from essnet.data.image_files import read_image, read_mask_ids


class Labels(Protocol):
    """What turns the values of a label file into class indices."""

    def to_targets(self, ids: npt.NDArray[np.integer], /, *, path: Path) -> npt.NDArray[np.int64]:
        """Class indices (H, W), with IGNORE_INDEX; raises InputError that names `path` for an unknown value."""


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
        self._labels = labels
        self._read_ids = read_ids

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        targets = self.read_targets(index)
        pixels = read_image(self.pair(index).image, mask_size=(targets.shape[0], targets.shape[1]))
        image = torch.from_numpy(pixels).permute(2, 0, 1)  # channels last in memory, as transforms like it
        return tv_tensors.Image(image), tv_tensors.Mask(torch.from_numpy(targets))

    def pair(self, index: int) -> Pair:
        """The files of an item."""
        image, label = self._files[index]
        return Pair(Path(image), Path(label))

    def read_targets(self, index: int) -> npt.NDArray[np.int64]:
        """The labels of an item alone, (H, W) int64, without decoding its image."""
        path = self.pair(index).mask
        return self._labels.to_targets(self._read_ids(path), path=path)

    def describe(self, index: int) -> str:
        """Return the item's image file, for messages."""
        return Path(self._files[index][0]).name
