"""A picture of what the network sees first: augmented images with their labels."""

from __future__ import annotations

from pathlib import Path

from essnet.atomic_files import write_png
from essnet.data import ClassTable
from essnet.data.loading import Batch
from essnet.data.pictures import label_sheet

MOST_IMAGES = 8


def save_first_batch(path: Path, batch: Batch, *, classes: ClassTable) -> None:
    """Draw the first `MOST_IMAGES` of a batch: each as it is, with its labels over it, and the labels alone.

    Shapes: images uint8 (B, 3, H, W) and targets int64 (B, H, W).
    """
    images, targets = batch
    rows = [
        (f"image {number} of {len(images)}", image, target)
        for number, (image, target) in enumerate(zip(images, targets, strict=True), start=1)
    ]
    write_png(path, label_sheet(rows[:MOST_IMAGES], classes))
