"""One image's mask: what it takes to make it, and what is known of it afterwards."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from essnet.atomic_files import write_atomically
from essnet.coco_lvis.label_space import NUM_CLASSES
from essnet.coco_lvis.mask_facts import BadAnnotation, MaskFacts
from essnet.coco_lvis.painting import Canvas, paint, to_png_rows
from essnet.coco_lvis.png import encode_png16
from essnet.coco_lvis.segmentations import read_segmentation

UNKNOWN_CATEGORY = "unknown_category"


class Shape(NamedTuple):
    """One annotation of an image."""

    source: str
    """The annotation file that it stands in, such as `lvis_train`."""
    annotation_id: Any
    class_id: int | None
    """None where the annotation's category is unknown."""
    segmentation: bytes
    """JSON text."""


class MaskTask(NamedTuple):
    """An image, and its annotations in the order of precedence: the first wins."""

    image_id: int
    image: str
    """The image file, relative to the folder of images."""
    height: int
    width: int
    mask: str
    """The file to write."""
    shapes: list[Shape]


def make_masks(tasks: list[MaskTask]) -> list[MaskFacts]:
    """Paint and write masks; each appears whole or not at all."""
    canvas = Canvas()
    return [_make_mask(task, canvas) for task in tasks]


def paint_mask(task: MaskTask, canvas: Canvas) -> tuple[npt.NDArray[np.uint16], int, list[BadAnnotation]]:
    """Paint a mask in memory: its pixels as `Canvas` has them, the number of annotations painted, and bad ones.

    The last in precedence is painted first, and what comes before it over it.
    """
    columns = canvas.blank(task.height, task.width)
    painted = 0
    bad = []
    for shape in reversed(task.shapes):
        if shape.class_id is None:
            bad.append(BadAnnotation(shape.source, shape.annotation_id, UNKNOWN_CATEGORY))
            continue
        runs, fault = read_segmentation(shape.segmentation, height=task.height, width=task.width)
        for counts in runs:
            paint(columns, counts, shape.class_id)
        painted += bool(runs)
        if fault is not None:
            bad.append(BadAnnotation(shape.source, shape.annotation_id, fault))
    return columns, painted, bad[::-1]


def _make_mask(task: MaskTask, canvas: Canvas) -> MaskFacts:
    columns, painted, bad = paint_mask(task, canvas)
    rows = canvas.rows(task.height, task.width)
    pixels = np.zeros(NUM_CLASSES + 1, np.int64)
    to_png_rows(columns, rows, pixels)
    content = encode_png16(rows)
    write_atomically(Path(task.mask), lambda temporary: temporary.write_bytes(content))
    return MaskFacts(
        image_id=task.image_id,
        image=task.image,
        size=len(content),
        crc32=zlib.crc32(content),
        ignored_pixels=int(pixels[0]),
        class_pixels={int(class_id): int(pixels[class_id]) for class_id in np.flatnonzero(pixels[1:]) + 1},
        painted=painted,
        bad=bad,
    )
