"""Looks a data set through for everything that is wrong with it, where a loader stops at the first fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor

from essnet.config import DataConfig, InputError
from essnet.data.datasets import labelled_splits, open_dataset
from essnet.data.image_files import read_image
from essnet.data.label_histogram import ImageLabels, LabelHistogram, histogram_of_images, joined, labels_of_image
from essnet.data.loading import SegmentationDataset
from essnet.data.paired_files import PairedFilesDataset
from essnet.data.parts import Part, enough_workers, over_parts
from essnet.progress import Progress

Kind: TypeAlias = Literal["split", "missing", "image", "label", "size", "value"]

KINDS: dict[Kind, str] = {
    "split": "splits that cannot be used",
    "missing": "missing files",
    "image": "images that cannot be read",
    "label": "labels that cannot be read",
    "size": "labels of another size than their image",
    "value": "labels with a value that stands for nothing",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in a line that names the file."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class SplitCheck:
    """What was found in a split; only labels that can be read are counted."""

    dataset: SegmentationDataset
    histogram: LabelHistogram
    problems: list[Problem]
    faulty: frozenset[int]
    """Indices of items that cannot be loaded."""
    frequency_groups: dict[str, dict[str, int]]
    """Classes and those seen in each of LVIS's groups and in stuff; empty for data sets without groups."""

    def to_json(self) -> dict[str, Any]:
        """For scripts: the number of pairs, and the histogram."""
        groups = {"frequency_groups": self.frequency_groups} if self.frequency_groups else {}
        return {**self.histogram.to_json(self.dataset.classes), "images": len(self.dataset), **groups}

    def examples(self, count: int) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
        """Index and item of up to `count` items that can be loaded, spread evenly over the split."""
        whole = [index for index in range(len(self.dataset)) if index not in self.faulty]
        count = min(count, len(whole))
        for number in range(count):
            index = whole[(2 * number + 1) * len(whole) // (2 * count)]
            yield index, self.dataset[index]


@dataclass(frozen=True)
class DataCheck:
    """What was found in a data set."""

    splits: dict[str, SplitCheck]
    """Those that could be opened."""
    problems: list[Problem]
    """Of all splits."""


def check_data(
    config: DataConfig, *, splits: Sequence[str] = (), workers: int | None = None, progress: Progress
) -> DataCheck:
    """Find the files of a data set, decode every image and label, and count the labels.

    `splits` are looked at, by default those that the data set ought to have with labels. `workers` is the number of
    processes beside this one; None starts one for each core where the images are many.
    """
    checked: dict[str, SplitCheck] = {}
    problems: dict[Problem, None] = {}  # splits may share one, such as a folder that holds neither
    for split in splits or labelled_splits(config):
        missing: list[str] = []
        try:
            dataset = open_dataset(config, split, missing=missing.extend)
        except InputError as error:
            found = [Problem("split", str(error))]
        else:
            found = [Problem("missing", line) for line in missing]
            checked[split] = _check_split(dataset, split, workers=workers, progress=progress)
            found += checked[split].problems
        problems.update(dict.fromkeys(found))
    return DataCheck(checked, list(problems))


def _check_split(dataset: SegmentationDataset, split: str, *, workers: int | None, progress: Progress) -> SplitCheck:
    parts = over_parts(
        _check_part,
        dataset,
        workers=enough_workers(len(dataset)) if workers is None else workers,
        progress=lambda done, total: progress(f"checking {split}", done, total),
    )
    histogram = joined([part.histogram for part in parts], num_classes=dataset.classes.num_classes)
    faults = {index: problems for part in parts for index, problems in part.faults.items()}
    problems = [problem for of_item in faults.values() for problem in of_item]
    if not histogram.pixels.any():
        problems.append(Problem("split", f"{split}: no pixel has a class; nothing to learn from"))
    return SplitCheck(dataset, histogram, problems, frozenset(faults), _groups_seen(dataset, histogram))


def _groups_seen(dataset: SegmentationDataset, histogram: LabelHistogram) -> dict[str, dict[str, int]]:
    of_class: Sequence[str | None] = getattr(dataset, "frequency_groups", ())  # LVIS's; None for stuff
    if not of_class:
        return {}
    groups = {group: {"classes": 0, "seen": 0} for group in ("frequent", "common", "rare", "stuff")}
    for group, images in zip(of_class, histogram.images_with, strict=True):
        counts = groups[group or "stuff"]
        counts["classes"] += 1
        counts["seen"] += bool(images)
    return groups


@dataclass(frozen=True)
class _CheckedPart:
    histogram: LabelHistogram
    faults: dict[int, list[Problem]]
    """By the item's index in the whole data set."""


def _check_part(part: Part) -> _CheckedPart:
    counts = []
    faults = {}
    for number, index in enumerate(part.indices):
        labels, problems = _check_item(part.dataset, index)
        if labels is not None:
            counts.append(labels)
        if problems:
            faults[part.first + number] = problems
    return _CheckedPart(histogram_of_images(counts, num_classes=part.dataset.classes.num_classes), faults)


def _check_item(dataset: SegmentationDataset, index: int) -> tuple[ImageLabels | None, list[Problem]]:
    """The counts of an item's labels, None where they cannot be read, and what is wrong with it."""
    if not isinstance(dataset, PairedFilesDataset):
        return labels_of_image(dataset[index][1].numpy()), []
    pair, counts, size = dataset.pair(index), None, None
    problems: list[Problem] = []
    try:
        ids = dataset.read_ids(index)
    except InputError as error:
        problems.append(Problem("label", str(error)))
    else:
        size = (ids.shape[0], ids.shape[1])
        try:
            counts = labels_of_image(dataset.labels.to_targets(ids, path=pair.mask))
        except InputError as error:
            problems.append(Problem("value", str(error)))
    try:
        read_image(pair.image, mask_size=size)
    except InputError as error:
        problems.append(Problem("size" if _can_be_read(dataset, index) else "image", str(error)))
    return counts, problems


def _can_be_read(dataset: PairedFilesDataset, index: int) -> bool:
    try:
        read_image(dataset.pair(index).image)
    except InputError:
        return False
    return True
