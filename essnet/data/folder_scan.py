"""Looks through a `folder` data set before training, so that a bad file is found in the first minute."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from essnet.atomic_files import write_json
from essnet.data.folder_layout import Pair
from essnet.data.image_files import check_image_size, read_mask_ids
from essnet.data.mask_labels import MaskLabels

Progress = Callable[[int, int], None]
Counts = tuple[npt.NDArray[np.int64], int]

_FORMAT = 1
_MAX_THREADS = 8


@dataclass(frozen=True)
class FolderScan:
    """What a scan found in the masks of a split: pixels per class, (C,) int64, and ignored pixels."""

    class_pixels: npt.NDArray[np.int64]
    ignored_pixels: int


def scan_folder(
    *,
    root: Path,
    split: str,
    pairs: Sequence[Pair],
    labels: MaskLabels,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> FolderScan:
    """Read every mask once and compare its size with the header of its image.

    The result is kept in `cache_dir` and used again as long as no file of the split and no class name
    changed. A cache that cannot be read or written is done without. `progress` is called with (files done,
    files in all). Raises InputError for the first bad file in order of name.
    """
    if cache_dir is None:
        return _scan(pairs, labels, progress)
    key = _digest([str(root.resolve()), split, labels.ignore_value, labels.reduce_zero_label])
    cache = cache_dir / f"folder-scan-{key[:16]}.json"
    fingerprint = _fingerprint(root, pairs)
    kept = _read_cache(cache, fingerprint, labels.classes.num_classes)
    if kept is not None:
        return kept
    scan = _scan(pairs, labels, progress)
    with suppress(OSError):
        content = {
            "fingerprint": fingerprint,
            "class_pixels": scan.class_pixels.tolist(),
            "ignored_pixels": scan.ignored_pixels,
        }
        write_json(cache, content)
    return scan


def _scan(pairs: Sequence[Pair], labels: MaskLabels, progress: Progress | None) -> FolderScan:
    class_pixels = np.zeros(labels.classes.num_classes, np.int64)
    ignored_pixels = 0

    def check(pair: Pair) -> Counts:
        ids = read_mask_ids(pair.mask)
        check_image_size(pair.image, (ids.shape[0], ids.shape[1]))
        return labels.count(ids, path=pair.mask)

    for done, (pixels, ignored) in enumerate(_in_threads(check, pairs), start=1):
        class_pixels += pixels
        ignored_pixels += ignored
        if progress is not None:
            progress(done, len(pairs))
    return FolderScan(class_pixels, ignored_pixels)


def _in_threads(check: Callable[[Pair], Counts], pairs: Iterable[Pair]) -> Iterator[Counts]:
    """Results in order, with few in flight: an error ends the scan soon and results do not pile up."""
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Counts]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for pair in pairs:
                waiting.append(pool.submit(check, pair))
                if len(waiting) >= 4 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _fingerprint(root: Path, pairs: Sequence[Pair]) -> str:
    rows = []
    for path in [root / "classes.txt", *(path for pair in pairs for path in (pair.image, pair.mask))]:
        status = path.stat()
        rows.append([path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns])
    return _digest([_FORMAT, rows])


def _read_cache(cache: Path, fingerprint: str, num_classes: int) -> FolderScan | None:
    """The kept scan, or None if there is none, it is of other files, or the file is damaged."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["fingerprint"] != fingerprint:
            return None
        class_pixels = np.array(kept["class_pixels"], np.int64)
        ignored_pixels = int(kept["ignored_pixels"])
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
    return FolderScan(class_pixels, ignored_pixels) if class_pixels.shape == (num_classes,) else None
