"""`ade20k`: the scene parsing benchmark of ADE20K, 150 classes."""

from __future__ import annotations

from pathlib import Path

from essnet.data.label_lookup import LabelLookup
from essnet.data.missing_files import Missing, refuse
from essnet.data.official_classes import official_classes
from essnet.data.official_layout import FilesOf, find_root, pairs_of_folders, unlabelled_split
from essnet.data.paired_files import PairedFilesDataset

_FOLDERS = {"train": "training", "val": "validation"}


def ade20k_dataset(*, root: Path, split: str, missing: Missing = refuse) -> PairedFilesDataset:
    """A split of ADEChallengeData2016 (http://sceneparsing.csail.mit.edu): 20,210 images in train, 2,000 in val.

    `root` is that folder or the one that it lies in. Label value 0, everything else, is ignored. Raises
    InputError for a layout that is another, a file without partner (unless `missing` is to be told of these), and
    the test split: nobody has its labels.
    """
    if split not in _FOLDERS:
        raise unlabelled_split("ade20k", split, use="val", why="they were never published")
    folder = find_root(root, below=(".", "ADEChallengeData2016"), holds=("images", "annotations"))
    classes = official_classes("ade20k")
    return PairedFilesDataset(
        files=pairs_of_folders(
            images=FilesOf(folder / "images" / _FOLDERS[split], ".jpg"),
            labels=FilesOf(folder / "annotations" / _FOLDERS[split], ".png"),
            missing=missing,
        ),
        classes=classes.table,
        labels=LabelLookup(class_ids=classes.ids, ignored=(0,)),
    )
