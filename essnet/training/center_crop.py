"""Evaluation on centre crops: a data set whose images are all scaled and cut to one size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from essnet.data import SegmentationDataset
from essnet.data.crop_window import CropWindow, Span
from essnet.data.image_regions import resized_region
from essnet.data.loading import Sample


class CenterCroppedDataset(Dataset[Sample]):
    """The items of `dataset`, each scaled until it just covers `size` (H, W), and the centre of that size cut out.

    For a square that is the short side brought to the crop's: the original's `--crop_val`. Images are resized
    bilinearly with antialiasing, labels take the nearest pixel. Items: image uint8 (3, *size), mask int64 `size`.
    """

    def __init__(self, dataset: SegmentationDataset, size: tuple[int, int]) -> None:
        self.classes = dataset.classes
        self._dataset = dataset
        self._size = size

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self._dataset[index]
        height, width = mask.shape
        factor = max(self._size[0] / height, self._size[1] / width)
        window = CropWindow(
            rows=_centre(length=height, window=self._size[0], factor=factor),
            columns=_centre(length=width, window=self._size[1], factor=factor),
        )
        pixels = resized_region(image.as_subclass(Tensor), window.region, size=window.region_size)
        return tv_tensors.Image(pixels), tv_tensors.Mask(torch.from_numpy(window.nearest(mask.numpy())))

    def describe(self, index: int) -> str:
        """Name an item as the data set does."""
        return self._dataset.describe(index)


def _centre(*, length: int, window: int, factor: float) -> Span:
    region = min(length, max(1, round(window / factor)))
    return Span(length=length, window=window, region=region, start=(length - region) // 2)
