"""Checks masks against the annotations the plain way: every annotation a full mask, pasted in order.

It shares nothing with the painter but the reading of what is in an annotation and what is wrong with it, and is some
fifteen times slower.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco_masks

from essnet.coco_lvis.masks import MaskTask
from essnet.coco_lvis.segmentations import read_segmentation


def differing_masks(tasks: list[MaskTask]) -> list[int]:
    """Return the ids of the images whose mask file is not what its annotations say."""
    return [task.image_id for task in tasks if not _is_right(task)]


def _is_right(task: MaskTask) -> bool:
    try:
        with Image.open(Path(task.mask)) as file:
            found = np.array(file)
            mode = file.mode
    except (OSError, SyntaxError, ValueError):  # what Pillow says of a damaged file
        return False
    return mode == "I;16" and np.array_equal(found, _pasted(task))


def _pasted(task: MaskTask) -> npt.NDArray[np.uint16]:
    """Paste the annotations of an image into a mask (H, W); what is taken stays."""
    mask = np.zeros((task.height, task.width), np.uint16)
    free = np.ones(mask.shape, np.bool_)
    for shape in task.shapes:
        if shape.class_id is None:
            continue
        runs, _ = read_segmentation(shape.segmentation, height=task.height, width=task.width)
        for counts in runs:
            plain = {"size": list(mask.shape), "counts": counts.tolist()}
            inside = coco_masks.decode(coco_masks.frPyObjects(plain, *mask.shape)).astype(np.bool_)
            mask[inside & free] = shape.class_id
            free &= ~inside
    return mask
