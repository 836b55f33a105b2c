"""How often each class occurs in a data set, and in which images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from essnet.data.class_table import ClassTable
from essnet.data.loading import SegmentationDataset
from essnet.data.paired_files import PairedFilesDataset
from essnet.data.parts import Part, over_parts
from essnet.labels import IGNORE_INDEX
from essnet.progress import ItemProgress

ImageLabels: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]
"""The classes of an image, ascending, the pixels of each, and the number of pixels that are ignored."""


@dataclass(frozen=True, eq=False)
class LabelHistogram:
    """Pixels of each class, and the classes that each image has; what is ignored is counted apart.

    The classes of image i are `present[offsets[i] : offsets[i + 1]]`, ascending: 118,287 images with ten classes
    each take 6 MiB.
    """

    pixels: npt.NDArray[np.int64]
    """(C,)."""
    ignored_pixels: int
    offsets: npt.NDArray[np.int64]
    """(images + 1,)."""
    present: npt.NDArray[np.int32]
    """Class indices, (offsets[-1],)."""

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.pixels)

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.offsets) - 1

    @property
    def images_with(self) -> npt.NDArray[np.int64]:
        """Number of images that have each class, (C,)."""
        return np.bincount(self.present, minlength=self.num_classes).astype(np.int64)

    @property
    def all_pixels(self) -> int:
        """Pixels of all images, with those that are ignored."""
        return int(self.pixels.sum()) + self.ignored_pixels

    @property
    def ignored_share(self) -> float:
        """Share of the pixels that are ignored; 0 where there is no pixel."""
        return self.ignored_pixels / max(1, self.all_pixels)

    def to_json(self, classes: ClassTable) -> dict[str, Any]:
        """For scripts: sums, the names of the classes that never occur, and each class's pixels and images."""
        images_with = self.images_with.tolist()
        never = [name for name, images in zip(classes.names, images_with, strict=True) if not images]
        return {
            "images": self.images,
            "pixels": self.all_pixels,
            "ignored_share": self.ignored_share,
            "classes_seen": self.num_classes - len(never),
            "never_seen": never,
            "classes": [
                {"id": index, "name": name, "pixels": pixels, "images": images}
                for index, (name, pixels, images) in enumerate(
                    zip(classes.names, self.pixels.tolist(), images_with, strict=True)
                )
            ],
        }


def histogram_of_images(images: Iterable[ImageLabels], *, num_classes: int) -> LabelHistogram:
    """The histogram of images whose labels are counted."""
    pixels = np.zeros(num_classes, np.int64)
    ignored = 0
    lengths, present = [0], [np.zeros(0, np.int32)]
    for classes, amounts, ignored_here in images:
        pixels[classes] += amounts
        ignored += ignored_here
        lengths.append(len(classes))
        present.append(classes.astype(np.int32))
    return LabelHistogram(pixels, ignored, np.cumsum(lengths, dtype=np.int64), np.concatenate(present))


def joined(parts: Sequence[LabelHistogram], *, num_classes: int) -> LabelHistogram:
    """The histogram of all images of the parts, in their order."""
    lengths = [np.diff(part.offsets) for part in parts]
    return LabelHistogram(
        pixels=np.sum([np.zeros(num_classes, np.int64), *(part.pixels for part in parts)], axis=0),
        ignored_pixels=sum(part.ignored_pixels for part in parts),
        offsets=np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64),
        present=np.concatenate([np.zeros(0, np.int32), *(part.present for part in parts)]),
    )


def labels_of_image(targets: npt.NDArray[np.integer]) -> ImageLabels:
    """Count the labels of an image, (H, W) with IGNORE_INDEX."""
    labels = targets[targets != IGNORE_INDEX]
    amounts = np.bincount(labels)
    classes = np.flatnonzero(amounts)
    return classes, amounts[classes], targets.size - labels.size


def count_labels(
    dataset: SegmentationDataset, *, workers: int = 0, progress: ItemProgress | None = None
) -> LabelHistogram:
    """Count the labels of a data set, with `workers` processes beside this one; images in files are not opened.

    Raises InputError for a label file that cannot be read or has a value that stands for nothing.
    """
    parts = over_parts(_count, dataset, workers=workers, progress=progress)
    return joined(parts, num_classes=dataset.classes.num_classes)


def _count(part: Part) -> LabelHistogram:
    dataset = part.dataset
    if isinstance(dataset, PairedFilesDataset):
        targets = (dataset.read_targets(index) for index in part.indices)
    else:
        targets = (dataset[index][1].numpy() for index in part.indices)
    return histogram_of_images(map(labels_of_image, targets), num_classes=dataset.classes.num_classes)
