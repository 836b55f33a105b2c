"""Predictions of a whole split as pictures, as the evaluation comes by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from essnet.config import InputError
from essnet.data import PairedFilesDataset, SegmentationDataset
from essnet.data.loading import ReadsRegions
from essnet.training.prediction import Prediction
from essnet.training.prediction_files import PredictionFiles


class SavedPredictions:
    """Writes `<name>.png` and `<name>_overlay.png` of each image into a folder, in the order of the data set.

    Names are those of the data set's images; where two of them would meet, all begin with the item's number. Each
    file is there whole or not at all. `crop` (H, W) is the size of all images where the evaluation crops them.

    Raises
    ------
    InputError
        If the folder is one that the data set's own files lie in.
    """

    def __init__(self, folder: Path, data: SegmentationDataset, *, crop: tuple[int, int] | None) -> None:
        if folder.resolve() in _own_folders(data):
            raise InputError(f"--save: {folder} holds files of the data set; choose another folder")
        self._folder = folder
        self._data = data
        self._crop = crop
        self._files = PredictionFiles(classes=data.classes)
        self._stems = _distinct_stems(data, self._files)
        self._next = 0

    def add(self, images: Tensor, targets: Tensor, predictions: Tensor) -> None:
        """Save the next batch, as `count_batches` shows it; padding is cut off."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for image, ids in zip(images.cpu(), predictions.cpu(), strict=True):
            height, width = self._size(self._next)
            self._files.save(
                image[:, :height, :width].permute(1, 2, 0).numpy(),
                Prediction(ids=ids[:height, :width].numpy().astype(np.uint16)),
                self._folder / self._stems[self._next],
            )
            self._next += 1

    def _size(self, index: int) -> tuple[int, int]:
        """Return an item's (H, W): a batch does not tell it from padding."""
        if self._crop is not None:
            return self._crop
        data = self._data
        labels = data.read_narrow_targets(index) if isinstance(data, ReadsRegions) else data[index][1]
        return labels.shape[0], labels.shape[1]


def _distinct_stems(data: SegmentationDataset, files: PredictionFiles) -> list[str]:
    stems = [Path(data.describe(index)).stem.replace(" ", "-") for index in range(len(data))]
    names = {name for stem in stems for name in files.names(stem).values()}
    if len(names) == 2 * len(stems):
        return stems
    return [f"{index:06}-{stem}" for index, stem in enumerate(stems)]


def _own_folders(data: SegmentationDataset) -> set[Path]:
    if not isinstance(data, PairedFilesDataset):
        return set()
    pairs = [data.pair(index) for index in range(len(data))]
    return {folder.resolve() for folder in {path.parent for pair in pairs for path in (pair.image, pair.mask)}}
