"""`coco_lvis`: COCO's images with LVIS's objects and COCO-Stuff's stuff, 1,284 classes, as the builder wrote them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from essnet.coco_lvis.class_list import FREQUENCIES, read_classes
from essnet.coco_lvis.label_space import IGNORED
from essnet.coco_lvis.mask_facts import MaskFacts
from essnet.coco_lvis.records import Journal, read_build
from essnet.config.errors import InputError
from essnet.data.class_table import ClassTable
from essnet.data.label_histogram import ImageLabels, LabelHistogram, histogram_of_images
from essnet.data.label_lookup import LabelLookup
from essnet.data.missing_files import Missing, refuse
from essnet.data.official_layout import FilesOf, unlabelled_split
from essnet.data.paired_files import FilePair, PairedFilesDataset

_IMAGE = re.compile(r"([A-Za-z0-9_]+)/([0-9]{12})\.jpg")
_COMMAND = "`launch.py data build-coco-lvis`"


class CocoLvisDataset(PairedFilesDataset):
    """A split of what `launch.py data build-coco-lvis` wrote below `root`; the images stay where they are.

    Class index i is class id i + 1 of the masks; 0 there is ignored. `frequency_groups` holds, for each class index,
    LVIS's frequent, common or rare, and None for a class of stuff. `images` is the folder of train2017/ and val2017/
    where that is not the one that the build used; a relative one is below `root`.

    Raises InputError, one line, if the build is not there or not done, for the test split, whose annotations nobody
    has, and, where `missing` is left as it is, for the first image or mask that is missing.
    """

    def __init__(self, *, root: Path, split: str, images: Path | None = None, missing: Missing = refuse) -> None:
        root = Path(root)
        if split == "test":
            raise unlabelled_split("coco_lvis", split, use="val", why="LVIS's are not public")
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; data.root is what {_COMMAND} writes")
        build = read_build(root)
        if build is None:
            raise InputError(f"{root}: has no build.json; data.root is what {_COMMAND} writes")
        rows = read_classes(root / "classes.json")
        folder = Path(build.images) if images is None else root / images
        self.frequency_groups = tuple(FREQUENCIES.get(row.frequency or "") for row in rows)
        self._journal = root / "masks" / split / "masks.jsonl"
        super().__init__(
            files=_pairs(root / "masks" / split, folder, recorded=images is None, missing=missing),
            classes=ClassTable(tuple(row.name for row in rows)),
            labels=LabelLookup(class_ids=[row.id for row in rows], ignored=(IGNORED,)),
        )

    def counted_by_the_build(self) -> LabelHistogram | None:
        """The histogram as the build wrote it down; None where a mask is not the one that it wrote."""
        try:
            facts = Journal(self._journal).facts
            masks = [self.pair(index).mask for index in range(len(self))]
            counts = [facts[int(mask.stem)] for mask in masks]
            if any(mask.stat().st_size != known.size for mask, known in zip(masks, counts, strict=True)):
                return None
        except (OSError, KeyError):
            return None
        return histogram_of_images(map(_labels_of, counts), num_classes=self.classes.num_classes)


def _labels_of(facts: MaskFacts) -> ImageLabels:
    class_ids = sorted(facts.class_pixels)
    pixels = [facts.class_pixels[class_id] for class_id in class_ids]
    return np.array(class_ids, np.int64) - 1, np.array(pixels, np.int64), facts.ignored_pixels


def _pairs(masks: Path, images: Path, *, recorded: bool, missing: Missing) -> list[FilePair]:
    names = _listed(masks / "images.txt")
    if not images.is_dir():
        raise InputError(
            f"{images}: no such folder; "
            + ("the build took its images from there; " if recorded else "")
            + "set data.images to the folder that holds train2017/ and val2017/"
        )
    there = {folder: FilesOf(images / folder, ".jpg").names() for folder in sorted({folder for folder, _ in names})}
    masks_there = FilesOf(masks, ".png").names()
    for lost in (
        [images / folder / f"{name}.jpg" for folder, name in names if name not in there[folder]],
        [masks / f"{name}.png" for _, name in names if name not in masks_there],
    ):
        missing([f"{path}: not found, but {masks / 'images.txt'} lists it" for path in lost])
    return [
        (os.path.join(images, folder, f"{name}.jpg"), os.path.join(masks, f"{name}.png"))
        for folder, name in names
        if name in there[folder] and name in masks_there
    ]


def _listed(path: Path) -> Sequence[tuple[str, str]]:
    """Folder and name of each image in a split's `images.txt`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        what = "the build of this split is not done" if path.parent.is_dir() else "this split was not built"
        raise InputError(f"{path}: not found; {what}: run {_COMMAND} for it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run {_COMMAND} again") from None
    names = []
    for number, line in enumerate(lines, start=1):
        match = _IMAGE.fullmatch(line)
        if match is None:
            raise InputError(f"{path}, line {number}: found {line[:80]!r}; expected such as train2017/000000000009.jpg")
        names.append((match[1], match[2]))
    if not names:
        raise InputError(f"{path}: lists no image; nothing to learn from")
    return names
