"""`cityscapes`: street scenes with fine annotations, the 19 classes that are evaluated."""

from __future__ import annotations

from pathlib import Path

from essnet.config.errors import InputError
from essnet.data.label_lookup import LabelLookup
from essnet.data.missing_files import Missing, refuse
from essnet.data.official_classes import official_classes
from essnet.data.official_layout import FilesOf, find_root, pairs_of_folders, unlabelled_split
from essnet.data.paired_files import FilePair, PairedFilesDataset

_LAST_ID = 33
_LICENCE_PLATE = 255  # its id is -1, and labels are 8-bit


def cityscapes_dataset(*, root: Path, split: str, missing: Missing = refuse) -> PairedFilesDataset:
    """A split of Cityscapes (https://www.cityscapes-dataset.com): 2,975 images in train, 500 in val.

    `root` holds leftImg8bit/ and gtFine/. Labels are the `*_labelIds.png` that come with the download: the
    train ids are looked up here, and the other ids are ignored. Raises InputError for a layout that is
    another, a file without partner (unless `missing` is to be told of these), and the test split: its labels are
    kept by the benchmark.
    """
    if split not in ("train", "val"):
        raise unlabelled_split("cityscapes", split, use="val", why="the files in gtFine/test hold void only")
    folder = find_root(root, below=(".",), holds=("leftImg8bit", "gtFine"))
    images, labels = folder / "leftImg8bit" / split, folder / "gtFine" / split
    cities = sorted(_cities(images) | _cities(labels))
    if not cities:
        raise InputError(f"{images}: holds no city; expected a folder for each, such as {images / 'aachen'}")
    classes = official_classes("cityscapes")
    return PairedFilesDataset(
        files=[pair for city in cities for pair in _pairs(images / city, labels / city, missing)],
        classes=classes.table,
        labels=LabelLookup(
            class_ids=classes.ids, ignored={*range(_LAST_ID + 1), _LICENCE_PLATE}.difference(classes.ids)
        ),
    )


def _pairs(images: Path, labels: Path, missing: Missing) -> list[FilePair]:
    try:
        return pairs_of_folders(
            images=FilesOf(images, "_leftImg8bit.png"),
            labels=FilesOf(labels, "_gtFine_labelIds.png"),
            missing=missing,
        )
    except InputError as error:  # of one city: the others may be whole
        missing([str(error)])
        return []


def _cities(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; expected a folder for each city there") from None
