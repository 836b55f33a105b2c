"""Counts a data set's labels once and keeps the result, for as long as no label file changes."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from essnet.atomic_files import write_atomically
from essnet.data.coco_lvis import CocoLvisDataset
from essnet.data.label_histogram import LabelHistogram, count_labels
from essnet.data.loading import SegmentationDataset
from essnet.data.paired_files import PairedFilesDataset
from essnet.data.parts import enough_workers
from essnet.data.textures import TexturesDataset
from essnet.progress import ItemProgress

_FORMAT = b"1"
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)


def label_histogram(
    dataset: SegmentationDataset, *, cache_dir: Path | None, progress: ItemProgress | None = None
) -> LabelHistogram:
    """The histogram of a data set's labels: the one that is kept, or what a build knows of its masks, or counted.

    A damaged file, or one of labels that have changed since, is counted anew; so are data sets of other packages, whose
    labels may change without a sign. `progress` is called with (images
    counted, images in all). Raises InputError for a label that cannot be counted.
    """
    kept = None if cache_dir is None else _read(dataset, cache_dir)
    if kept is not None:
        return kept
    histogram = dataset.counted_by_the_build() if isinstance(dataset, CocoLvisDataset) else None
    if histogram is None:
        histogram = count_labels(dataset, workers=enough_workers(len(dataset)), progress=progress)
    if cache_dir is not None:
        keep_histogram(histogram, dataset, cache_dir=cache_dir)
    return histogram


def keep_histogram(histogram: LabelHistogram, dataset: SegmentationDataset, *, cache_dir: Path) -> None:
    """Keep a data set's histogram; where that cannot be written it is done without."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                fingerprint=np.array(_fingerprint(dataset)),
                pixels=histogram.pixels,
                ignored_pixels=np.array(histogram.ignored_pixels, np.int64),
                offsets=histogram.offsets,
                present=histogram.present,
            )

    if not _can_be_kept(dataset):
        return
    with suppress(OSError):
        cache_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(_file(dataset, cache_dir), write)


def _read(dataset: SegmentationDataset, cache_dir: Path) -> LabelHistogram | None:
    """The kept histogram, or None if there is none, it is of other labels, or the file is damaged."""
    if not _can_be_kept(dataset):
        return None
    try:
        with np.load(_file(dataset, cache_dir), allow_pickle=False) as kept:
            if str(kept["fingerprint"]) != _fingerprint(dataset):
                return None
            histogram = LabelHistogram(
                kept["pixels"], int(kept["ignored_pixels"]), offsets=kept["offsets"], present=kept["present"]
            )
    except _UNREADABLE:
        return None
    return histogram if _fits(histogram, dataset) else None


def _can_be_kept(dataset: SegmentationDataset) -> bool:
    return isinstance(dataset, PairedFilesDataset | TexturesDataset)


def _fits(histogram: LabelHistogram, dataset: SegmentationDataset) -> bool:
    arrays = (histogram.pixels, histogram.offsets, histogram.present)
    if [(array.ndim, array.dtype.name) for array in arrays] != [(1, "int64"), (1, "int64"), (1, "int32")]:
        return False
    num_classes, (pixels, offsets, present) = dataset.classes.num_classes, arrays
    return (
        (len(pixels), len(offsets)) == (num_classes, len(dataset) + 1)
        and int(offsets[0]) == 0
        and int(offsets[-1]) == len(present)
        and bool((np.diff(offsets) >= 0).all())
        and bool(((present >= 0) & (present < num_classes)).all())
    )


def _file(dataset: SegmentationDataset, cache_dir: Path) -> Path:
    """One file for each data set, split and way to read its labels."""
    digest = hashlib.sha256(_FORMAT)
    if isinstance(dataset, PairedFilesDataset):
        digest.update(pickle.dumps((dataset.classes.names, dataset.labels), protocol=4))
        for path in _label_files(dataset):
            digest.update(f"{path.absolute()}\n".encode(errors="surrogateescape"))
    else:
        digest.update(pickle.dumps(dataset, protocol=4))  # scenes follow from what it holds
    return cache_dir / f"label-histogram-{digest.hexdigest()[:16]}.npz"


def _fingerprint(dataset: SegmentationDataset) -> str:
    """Changes with the size and time of any label file."""
    digest = hashlib.sha256()
    if isinstance(dataset, PairedFilesDataset):
        for path in _label_files(dataset):
            status = path.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _label_files(dataset: PairedFilesDataset) -> Iterator[Path]:
    return (dataset.pair(index).mask for index in range(len(dataset)))
