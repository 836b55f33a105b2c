"""From the `data` block to a data set and its training transform: the only module here that knows its fields."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias, TypedDict

from essnet.config import DataConfig, FolderData, InputError, TexturesData
from essnet.config.data import (
    Ade20kData,
    CityscapesData,
    CocoLvisData,
    CocoStuff10kData,
    CocoStuffData,
    ExtensionData,
    VocData,
)
from essnet.data.ade20k import ade20k_dataset
from essnet.data.cityscapes import cityscapes_dataset
from essnet.data.class_table import read_class_table
from essnet.data.coco_lvis import CocoLvisDataset
from essnet.data.coco_stuff import coco_stuff10k_dataset, coco_stuff_dataset
from essnet.data.extension import extension_dataset
from essnet.data.folder import FolderDataset, unscanned_folder
from essnet.data.loading import SegmentationDataset, Transform
from essnet.data.missing_files import Missing, refuse
from essnet.data.paired_files import PairedFilesDataset
from essnet.data.textures import TexturesDataset
from essnet.data.transforms import build_train_transform, unchanged
from essnet.data.voc import has_test_labels, voc_dataset
from essnet.progress import ItemProgress

OfficialData: TypeAlias = VocData | Ade20kData | CityscapesData | CocoStuff10kData | CocoStuffData | CocoLvisData


def build_dataset(
    config: DataConfig,
    split: str,
    *,
    cache_dir: Path | None = None,
    scan_progress: ItemProgress | None = None,
) -> SegmentationDataset:
    """Build one split of a data set.

    Parameters
    ----------
    cache_dir
        Where the scan of a folder is kept, so that it is paid once.
    scan_progress
        Called with (files looked through, files in all) while a folder is scanned.

    Raises
    ------
    InputError
        If the data set has a fault.
    """
    if isinstance(config, TexturesData):
        return _textures(config, split)
    if isinstance(config, FolderData):
        return FolderDataset(**_folder(config, split), cache_dir=cache_dir, progress=scan_progress)
    if isinstance(config, ExtensionData):
        return extension_dataset(config, split)
    return _official(config, split, refuse)


def open_dataset(config: DataConfig, split: str, *, missing: Missing) -> SegmentationDataset:
    """Open one split of a data set as it lies there, without the files that have no partner.

    `missing` is told of these. No file is looked into: of a `folder` too, a bad one is found when it is read.

    Raises
    ------
    InputError
        If there is no such split, or nothing at all can be made of the folder.
    """
    if isinstance(config, TexturesData):
        return _textures(config, split)
    if isinstance(config, FolderData):
        return unscanned_folder(**_folder(config, split), missing=missing)
    if isinstance(config, ExtensionData):
        return extension_dataset(config, split)
    return _official(config, split, missing)


def labelled_splits(config: DataConfig) -> tuple[str, ...]:
    """The splits that a data set ought to have, with labels; test only where it is there."""
    match config:
        case TexturesData():
            return ("train", "val", "test")
        case FolderData():
            has_test = any((Path(config.root) / kind / "test").is_dir() for kind in ("images", "masks"))
        case VocData():
            has_test = has_test_labels(Path(config.root), config.year)
        case _:
            has_test = False
    return ("train", "val", "test") if has_test else ("train", "val")


def build_transform(config: DataConfig) -> Transform:
    """Build the joint augmentation of images and masks in training."""
    if isinstance(config, TexturesData):
        return unchanged  # a scene is drawn at the crop's size, and its classes differ by orientation
    return build_train_transform(
        crop_size=config.crop_height_width,
        scale=(config.scale[0], config.scale[1]),
        flip=config.flip,
        colour_jitter=config.colour_jitter,
    )


def _textures(config: TexturesData, split: str) -> TexturesDataset:
    lengths = {"train": config.train_images, "val": config.val_images, "test": config.test_images}
    return TexturesDataset(
        split=split,
        num_classes=config.num_classes,
        size=config.crop_height_width,
        length=lengths[split],
        seed=config.seed,
        long_tail=config.long_tail,
    )


class _Folder(TypedDict):
    root: Path
    split: str
    ignore_value: int | None
    reduce_zero_label: bool


def _folder(config: FolderData, split: str) -> _Folder:
    """What is said of a folder, scanned or not."""
    _check_number_of_classes(config)
    return {
        "root": Path(config.root),
        "split": split,
        "ignore_value": config.ignore_value,
        "reduce_zero_label": config.reduce_zero_label,
    }


def _check_number_of_classes(config: FolderData) -> None:
    table = Path(config.root) / "classes.txt"
    if config.num_classes is not None and table.is_file():
        found = read_class_table(table).num_classes
        if found != config.num_classes:
            raise InputError(f"data.num_classes: found {config.num_classes}, but {table} names {found}")


def _official(config: OfficialData, split: str, missing: Missing) -> PairedFilesDataset:
    dataset = _official_files(config, split, missing)
    found = dataset.classes.num_classes
    if config.num_classes not in (None, found):
        raise InputError(f"data.num_classes: found {config.num_classes}, but {config.name} has {found}")
    return dataset


def _official_files(config: OfficialData, split: str, missing: Missing) -> PairedFilesDataset:
    root = Path(config.root)
    match config:
        case VocData():
            return voc_dataset(root=root, split=split, year=config.year, augmented=config.augmented, missing=missing)
        case Ade20kData():
            return ade20k_dataset(root=root, split=split, missing=missing)
        case CityscapesData():
            return cityscapes_dataset(root=root, split=split, missing=missing)
        case CocoStuff10kData():
            return coco_stuff10k_dataset(root=root, split=split, missing=missing)
        case CocoStuffData():
            return coco_stuff_dataset(root=root, split=split, missing=missing)
        case CocoLvisData():
            images = None if config.images is None else Path(config.images)
            return CocoLvisDataset(root=root, split=split, images=images, missing=missing)
