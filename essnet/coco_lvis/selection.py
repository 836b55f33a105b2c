"""Which images of an LVIS split get a mask, and of which files it is painted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from essnet.coco_lvis.annotations import AnnotationFile, ImageRow, option_of
from essnet.coco_lvis.label_space import LVIS_CLASSES, STUFF_CLASSES
from essnet.coco_lvis.masks import MaskTask, Shape
from essnet.config.errors import InputError

_IMAGE = re.compile(r"/(?P<folder>[A-Za-z0-9_]+)/(?P<stem>[0-9]{12})\.jpg")
"""The path in a `coco_url`; nothing else becomes a file's name."""

_STUFF_OF_FOLDER = {"train2017": "stuff_train", "val2017": "stuff_val"}
"""Which stuff file covers COCO's folders of images. LVIS's val has images of both."""


class SelectedImage(NamedTuple):
    """An image that gets a mask."""

    row: ImageRow
    file: str
    """Relative to the folder of images."""


@dataclass
class Selection:
    """The images of a split, by id, and why others are not among them."""

    images: list[SelectedImage] = field(default_factory=list)
    without_stuff_record: int = 0
    """No stuff file lists them."""
    without_annotations: int = 0
    """Neither objects nor stuff: nothing to learn from."""
    missing_images: int = 0
    """Not in the folder of images."""
    first_missing: str | None = None


def select_images(*, lvis: AnnotationFile, stuff: Sequence[AnnotationFile], images: Path) -> Selection:
    """Select the images of an LVIS split that have a stuff record, an annotation of either kind, and a file.

    Raises
    ------
    InputError
        If an image has no proper address, lies in a folder whose stuff file is not given, or none has a file.
    """
    files = {image_id: _image_file(row, lvis) for image_id, row in lvis.images.items()}
    _check_stuff(files, lvis, {file.source for file in stuff})
    there = _files_there(images, {file.split("/")[0] for file in files.values()})
    selection = Selection()
    for image_id in sorted(files):
        records = [file for file in stuff if image_id in file.images]
        if not records:
            selection.without_stuff_record += 1
        elif not any(file.has_annotations(image_id) for file in (lvis, *records)):
            selection.without_annotations += 1
        elif files[image_id] not in there:
            selection.missing_images += 1
            selection.first_missing = selection.first_missing or files[image_id]
        else:
            selection.images.append(SelectedImage(lvis.images[image_id], files[image_id]))
    if selection.missing_images and not selection.images:
        raise InputError(
            f"--images: {images} has none of the {selection.missing_images} images of {lvis.path.name}; expected "
            f"{selection.first_missing} in it, for example"
        )
    return selection


def mask_tasks(
    images: Iterable[SelectedImage], *, lvis: AnnotationFile, stuff: Sequence[AnnotationFile], masks: Path
) -> Iterator[MaskTask]:
    """Yield what it takes to make each mask. LVIS comes before stuff, and within a file the first before the rest."""
    for row, file in images:
        records = [source for source in stuff if row.id in source.images]
        shapes = list(_shapes(lvis, row.id, LVIS_CLASSES))
        for record in records:
            shapes += _shapes(record, row.id, STUFF_CLASSES)
        yield MaskTask(row.id, file, row.height, row.width, str(masks / mask_name(row.id)), shapes)


def mask_name(image_id: int) -> str:
    """Return the name of an image's mask."""
    return f"{image_id:012d}.png"


def _shapes(file: AnnotationFile, image_id: int, classes: Mapping[int, int]) -> Iterator[Shape]:
    for row in file.of_image(image_id):
        category = row.category_id
        class_id = classes.get(category) if type(category) is int else None
        yield Shape(file.source, row.id, class_id, bytes(row.segmentation))


def _image_file(row: ImageRow, lvis: AnnotationFile) -> str:
    address = None
    with suppress(ValueError):  # no address at all
        address = _IMAGE.fullmatch(urlsplit(row.coco_url).path)
    if address is None or int(address["stem"]) != row.id:
        raise InputError(
            f"{lvis.path}: image {row.id} has coco_url {row.coco_url[:80]!r}; expected one that ends in a folder and "
            f"{row.id:012d}.jpg, such as http://images.cocodataset.org/train2017/{row.id:012d}.jpg"
        )
    return f"{address['folder']}/{address['stem']}.jpg"


def _check_stuff(files: Mapping[int, str], lvis: AnnotationFile, given: set[str]) -> None:
    for folder, source in _STUFF_OF_FOLDER.items():
        if source not in given:
            inside = sum(file.startswith(f"{folder}/") for file in files.values())
            if inside:
                raise InputError(
                    f"{option_of(source)}: is missing; {inside} of the {len(files)} images of "
                    f"{option_of(lvis.source)} lie in {folder}/"
                )


def _files_there(images: Path, folders: Iterable[str]) -> set[str]:
    there: set[str] = set()
    for folder in folders:
        with suppress(FileNotFoundError), os.scandir(images / folder) as entries:
            there.update(f"{folder}/{entry.name}" for entry in entries)
    return there
