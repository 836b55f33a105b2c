"""A data set of another package.

What `data.name` stands for is called once for each split that is read:

    def build(*, split: str, root: Path | None, ...) -> SegmentationDataset

`split` is train, val or test, `root` is `data.root`; what stands in `data.options` comes as further keyword arguments.
What it returns has `classes`, a `ClassTable`, `len()`, `describe(index)` for messages, and items of an image uint8
(3, H, W) and a mask int64 (H, W) of class indices, with `IGNORE_INDEX` where a pixel does not count. Sizes may differ:
training crops are cut from it, and scaled, flipped and jittered, as the rest of the `data` block says. Of a
`PairedFilesDataset` each file is looked at by `launch.py data check`. Processes that load batches get a copy.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from essnet.config.data import ExtensionData
from essnet.config.errors import InputError
from essnet.config.extension_names import DATA_SETS
from essnet.config.extensions import build, check_result
from essnet.data.class_table import ClassTable
from essnet.data.loading import SegmentationDataset
from essnet.labels import IGNORE_INDEX

_KEY = "data.name"
_MEMBERS = ("classes", "describe", "__len__", "__getitem__")


def extension_dataset(config: ExtensionData, split: str) -> SegmentationDataset:
    """Build one split of a data set of another package, and look at its first item.

    Raises
    ------
    InputError
        If it cannot be built, or is no data set.
    """
    root = None if config.root is None else Path(config.root)
    given = {"split": split, "root": root}
    dataset = build(config.name, group=DATA_SETS, key=_KEY, given=given, options=config.options)
    check_result(dataset, name=config.name, key=_KEY, has=_MEMBERS, what="a data set")
    checked: SegmentationDataset = dataset
    if not isinstance(checked.classes, ClassTable):
        kind = type(checked.classes).__name__
        raise InputError(f"{_KEY}: {config.name} returned {kind} as classes; expected an essnet.data.ClassTable")
    found = checked.classes.num_classes
    if config.num_classes not in (None, found):
        raise InputError(f"data.num_classes: found {config.num_classes}, but {config.name} has {found}")
    if not len(checked):
        raise InputError(f"{_KEY}: {config.name} returned no item for split {split}")
    fault = _fault(checked[0], num_classes=found)
    if fault is not None:
        raise InputError(f"{_KEY}: {config.name} has a wrong item, {checked.describe(0)} of {split}: {fault}")
    return checked


def _fault(item: object, *, num_classes: int) -> str | None:
    """What is wrong with an item."""
    if not isinstance(item, tuple) or len(item) != 2 or not all(isinstance(part, Tensor) for part in item):
        return f"found {type(item).__name__}; expected a tuple of two tensors, image and mask"
    image, mask = item
    if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3:
        return f"found an image {image.dtype} {tuple(image.shape)}; expected torch.uint8 (3, H, W)"
    if mask.dtype != torch.int64 or mask.shape != image.shape[1:]:
        expected = f"torch.int64 {tuple(image.shape[1:])}, the size of its image"
        return f"found a mask {mask.dtype} {tuple(mask.shape)}; expected {expected}"
    labels = mask[mask != IGNORE_INDEX]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        wrong = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        return f"found label {wrong}; expected 0 to {num_classes - 1}, or essnet.IGNORE_INDEX, which is {IGNORE_INDEX}"
    return None
