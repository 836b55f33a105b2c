"""`coco_stuff` and `coco_stuff10k`: things and stuff of COCO, 171 classes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from essnet.config.errors import InputError
from essnet.data.label_lookup import LabelLookup
from essnet.data.mat_labels import read_mat_ids
from essnet.data.missing_files import Missing, refuse
from essnet.data.official_classes import official_classes
from essnet.data.official_layout import (
    FilesOf,
    find_root,
    pairs_of_folders,
    pairs_of_names,
    read_names,
    unlabelled_split,
)
from essnet.data.paired_files import PairedFilesDataset

_LISTS_10K = {"train": "train.txt", "val": "test.txt", "test": "test.txt"}
_FOLDERS = {"train": "train2017", "val": "val2017"}
_UNLABELLED = 255


def coco_stuff10k_dataset(*, root: Path, split: str, missing: Missing = refuse) -> PairedFilesDataset:
    """A split of COCO-Stuff 10k, version 1.1 (https://github.com/nightrome/cocostuff10k).

    `root` holds images/, annotations/ (.mat, the map `S` with the official ids) and imageLists/. There are two
    lists: train with 9,000 images, and test with 1,000, which is `val` and `test` here. Value 0, unlabelled,
    is ignored. Raises InputError for a layout that is another and for a file that is listed but not there
    (unless `missing` is to be told of these).
    """
    if split not in _LISTS_10K:
        raise ValueError(f"split={split!r} is unknown; coco_stuff10k has {', '.join(_LISTS_10K)}")
    folder = find_root(root, below=(".",), holds=("images", "annotations", "imageLists"))
    names = folder / "imageLists" / _LISTS_10K[split]
    classes = official_classes("coco_stuff")
    return PairedFilesDataset(
        files=pairs_of_names(
            read_names(names),
            listed_in=names,
            images=FilesOf(folder / "images", ".jpg"),
            labels=FilesOf(folder / "annotations", ".mat"),
            missing=missing,
        ),
        classes=classes.table,
        labels=LabelLookup(class_ids=classes.ids, ignored=(0,)),
        read_ids=partial(read_mat_ids, variable="S"),
    )


def coco_stuff_dataset(*, root: Path, split: str, missing: Missing = refuse) -> PairedFilesDataset:
    """A split of COCO-Stuff on COCO 2017 (https://github.com/nightrome/cocostuff): 118,287 images, 5,000 in val.

    Images lie in images/{train2017,val2017} or, as COCO's own archives unpack, without images/; labels lie in
    stuffthingmaps/{train2017,val2017} or, as the set's own instructions say, in annotations/. Pixel value is
    the official id - 1; 255, unlabelled, is ignored. Raises InputError for a layout that is another, a file
    without partner (unless `missing` is to be told of these), and the test split: its labels are kept by the
    benchmark.
    """
    if split not in _FOLDERS:
        raise unlabelled_split("coco_stuff", split, use="val", why="they are not published")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; data.root must hold images/ and stuffthingmaps/")
    name = _FOLDERS[split]
    classes = official_classes("coco_stuff")
    return PairedFilesDataset(
        files=pairs_of_folders(
            images=FilesOf(_first_of(root / "images" / name, root / name), ".jpg"),
            labels=FilesOf(_first_of(root / "stuffthingmaps" / name, root / "annotations" / name), ".png"),
            passed_over="_labelTrainIds",  # other tools write theirs beside the labels
            missing=missing,
        ),
        classes=classes.table,
        labels=LabelLookup(class_ids=[number - 1 for number in classes.ids], ignored=(_UNLABELLED,)),
    )


def _first_of(usual: Path, other: Path) -> Path:
    for folder in (usual, other):
        if folder.is_dir():
            return folder
    raise InputError(f"{usual}: no such folder, and no {other} either")
