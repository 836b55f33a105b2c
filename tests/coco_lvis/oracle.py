"""The rules of the 1,284 classes, written as plainly as they are said."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from pycocotools import mask as coco_masks

Json = dict[str, Any]

SHARED = {92: 50, 93: 110, 98: 181, 108: 346, 109: 350, 137: 713, 141: 804, 153: 904, 165: 1050, 168: 1108}
OTHERS = [stuff for stuff in range(92, 183) if stuff not in SHARED]


def class_of_stuff(stuff: int) -> int:
    if stuff == 183:
        return 0
    return SHARED[stuff] if stuff in SHARED else 1204 + OTHERS.index(stuff)


def mask_of(image: Json, *, lvis: Iterable[Json], stuff: Iterable[Json], bad: Collection[Any] = ()) -> np.ndarray:
    """The mask of an image, (H, W) uint16. Annotations whose id is in `bad` do not count."""
    mask = np.zeros((image["height"], image["width"]), np.uint16)
    taken = np.zeros(mask.shape, bool)
    labelled = [(annotation, annotation["category_id"]) for annotation in lvis if annotation["id"] not in bad]
    labelled += [(a, class_of_stuff(a["category_id"])) for a in stuff if a["id"] not in bad]
    for annotation, class_id in labelled:
        inside = pixels_of(annotation["segmentation"], image)
        mask[inside & ~taken] = class_id
        taken |= inside
    return mask


def pixels_of(segmentation: Any, image: Json) -> np.ndarray:
    """What a sound annotation covers, (H, W) bool."""
    height, width = image["height"], image["width"]
    if isinstance(segmentation, list):
        covered = np.zeros((height, width), bool)
        for polygon in segmentation:
            (runs,) = coco_masks.frPyObjects([polygon], height, width)
            covered |= coco_masks.decode(runs).astype(bool)
        return covered
    if isinstance(segmentation["counts"], str):
        return coco_masks.decode(segmentation).astype(bool)
    return expand(segmentation["counts"]).reshape(width, height).T


def expand(counts: Iterable[int]) -> np.ndarray:
    """The pixels of plain run lengths, column by column."""
    values: list[bool] = []
    for index, length in enumerate(counts):
        values += [index % 2 == 1] * length
    return np.array(values, bool)


def plain_counts(covered: np.ndarray) -> list[int]:
    """Run lengths of (H, W) bool, down the columns, background first."""
    counts = []
    value, length = False, 0
    for pixel in covered.T.flatten().tolist():
        if pixel != value:
            counts.append(length)
            value, length = pixel, 0
        length += 1
    return [*counts, length]


def compressed_counts(covered: np.ndarray) -> str:
    return coco_masks.encode(np.asfortranarray(covered, np.uint8))["counts"].decode()
