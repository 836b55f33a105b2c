"""`voc`: Pascal VOC's segmentation sets of 2007 to 2012, and SBD's further labels, 21 classes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from essnet.config.errors import InputError
from essnet.data.image_files import read_mask_ids
from essnet.data.label_lookup import LabelLookup
from essnet.data.mat_labels import read_mat_ids
from essnet.data.missing_files import Missing, refuse
from essnet.data.official_classes import official_classes
from essnet.data.official_layout import FilesOf, find_root, pairs_of_names, read_names, unlabelled_split
from essnet.data.paired_files import FilePair, PairedFilesDataset

_BORDER = 255
_SPLITS = ("train", "val", "trainval", "test")
_TEST_YEAR = 2007
"""The only one whose test labels are published."""
_TRAINAUG_LISTS = ("Segmentation/trainaug.txt", "Segmentation/train_aug.txt", "SegmentationAug/train_aug.txt")
_SBD_FOLDERS = (
    ".",
    "dataset",
    "SBD",
    "SBD/dataset",
    "sbd",
    "sbd/dataset",
    "VOCaug/dataset",
    "benchmark_RELEASE/dataset",
)


def voc_dataset(
    *, root: Path, split: str, year: int = 2012, augmented: bool = False, missing: Missing = refuse
) -> PairedFilesDataset:
    """A split of Pascal VOC (http://host.robots.ox.ac.uk/pascal/VOC): train, val, trainval, and test of 2007.

    `root` is VOCdevkit, the folder that it lies in, or VOC<year> itself. Value 255, the border of objects, is
    ignored. With `augmented`, `train` is trainaug: the images that SBD (Hariharan et al., ICCV 2011) labels
    and those of train, without those of val; 10,582 in 2012. VOC's own labels are taken where train has them,
    SBD's for the others: PNGs in VOC<year>/SegmentationClassAug, or its .mat files in cls/, there, beside it,
    or in a folder with one of SBD's usual names.

    Raises InputError for a layout that is another, a file that is listed but not there (unless `missing` is to be
    told of these), and a split that has no labels.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown; voc has {', '.join(_SPLITS)}")
    if split == "test" and year != _TEST_YEAR:
        raise unlabelled_split(f"voc {year}", split, use="val", why=f"of the years only {_TEST_YEAR} has them")
    folder = _year_folder(root, year)
    if augmented and split == "train":
        files = _augmented(folder, root, missing)
    else:
        files = _own(folder, split, missing)
    classes = official_classes("voc")
    return PairedFilesDataset(
        files=files,
        classes=classes.table,
        labels=LabelLookup(class_ids=classes.ids, ignored=(_BORDER,)),
        read_ids=_read_ids,
    )


def has_test_labels(root: Path, year: int) -> bool:
    """Say whether the test split lies there: only that of 2007 has labels, and it is a download of its own."""
    try:
        lists = _year_folder(root, year) / "ImageSets" / "Segmentation"
    except InputError:
        return False
    return year == _TEST_YEAR and (lists / "test.txt").is_file()


def _read_ids(path: Path) -> npt.NDArray[np.integer]:
    if path.suffix == ".mat":
        return read_mat_ids(path, variable="GTcls", field="Segmentation")
    return read_mask_ids(path)


def _year_folder(root: Path, year: int) -> Path:
    name = f"VOC{year}"
    folder = find_root(
        root,
        below=(name, f"VOCdevkit/{name}", f"TrainVal/VOCdevkit/{name}", "."),  # 2011 unpacks into TrainVal/
        holds=("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"),
    )
    if folder == root and re.fullmatch(r"VOC20\d\d", root.name) and root.name != name:
        raise InputError(f"data.root: found {root}, but data.year={year}; set data.year={root.name[3:]}")
    return folder


def _own(folder: Path, split: str, missing: Missing) -> list[FilePair]:
    names = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    return pairs_of_names(
        read_names(names), listed_in=names, images=_images(folder), labels=_labels(folder), missing=missing
    )


def _images(folder: Path) -> FilesOf:
    return FilesOf(folder / "JPEGImages", ".jpg")


def _labels(folder: Path) -> FilesOf:
    return FilesOf(folder / "SegmentationClass", ".png")


def _augmented(folder: Path, root: Path, missing: Missing) -> list[FilePair]:
    lists = folder / "ImageSets"
    train, val = (set(read_names(lists / "Segmentation" / f"{split}.txt")) for split in ("train", "val"))
    further = _sbd_labels(folder, root)
    listed_in = next((lists / name for name in _TRAINAUG_LISTS if (lists / name).is_file()), None)
    if listed_in is None:
        listed_in = further.folder
        names = (_sbd_names(further) | train) - val
    else:
        names = set(read_names(listed_in))
        if names & val:
            raise InputError(
                f"{listed_in}: {len(names & val)} of its images are in val.txt too, {min(names & val)} for one; "
                "training must not see them"
            )
    files = []
    for part, labels in ((names & train, _labels(folder)), (names - train, further)):
        files += pairs_of_names(
            sorted(part), listed_in=listed_in, images=_images(folder), labels=labels, missing=missing
        )
    return sorted(files)


def _sbd_labels(folder: Path, root: Path) -> FilesOf:
    pngs = folder / "SegmentationClassAug"
    if pngs.is_dir():
        return FilesOf(pngs, ".png")
    for base in dict.fromkeys((folder, folder.parent, root, folder.parent.parent)):
        for name in _SBD_FOLDERS:
            if (base / name / "cls").is_dir():
                return FilesOf(base / name / "cls", ".mat")
    raise InputError(
        f"data.augmented: found true, but no labels of SBD; looked for SegmentationClassAug/ in {folder}, and for cls/ "
        f"there, in {folder.parent} and in folders SBD/, VOCaug/dataset/, benchmark_RELEASE/dataset/ in either"
    )


def _sbd_names(labels: FilesOf) -> set[str]:
    """Names that SBD labels: those of its own two lists where they lie beside the labels, else all labels."""
    lists = [labels.folder.parent / f"{split}.txt" for split in ("train", "val")]
    if labels.ending == ".mat" and all(path.is_file() for path in lists):
        return {name for path in lists for name in read_names(path)}
    return labels.names()
