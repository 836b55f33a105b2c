"""Looks through a `folder` data set before training, so that a bad file is found in the first minute."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from essnet.atomic_files import write_json
from essnet.data.folder_layout import Pair
from essnet.data.image_files import check_image_size, read_mask_ids
from essnet.data.mask_labels import MaskLabels
from essnet.progress import ItemProgress

ClassPixels: TypeAlias = npt.NDArray[np.int64]
"""(C,)."""

_FORMAT = 1
_MAX_THREADS = 8


def scan_folder(
    *,
    root: Path,
    split: str,
    pairs: Sequence[Pair],
    labels: MaskLabels,
    cache_dir: Path | None = None,
    progress: ItemProgress | None = None,
) -> ClassPixels:
    """Read every mask of a split once, compare its size with the header of its image, and count pixels per class.

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
    class_pixels = _scan(pairs, labels, progress)
    with suppress(OSError):
        write_json(cache, {"fingerprint": fingerprint, "class_pixels": class_pixels.tolist()})
    return class_pixels


def _scan(pairs: Sequence[Pair], labels: MaskLabels, progress: ItemProgress | None) -> ClassPixels:
    class_pixels = np.zeros(labels.classes.num_classes, np.int64)

    def check(pair: Pair) -> ClassPixels:
        ids = read_mask_ids(pair.mask)
        check_image_size(pair.image, (ids.shape[0], ids.shape[1]))
        return labels.count(ids, path=pair.mask)

    for done, pixels in enumerate(_in_threads(check, pairs), start=1):
        class_pixels += pixels
        if progress is not None:
            progress(done, len(pairs))
    return class_pixels


def _in_threads(check: Callable[[Pair], ClassPixels], pairs: Iterable[Pair]) -> Iterator[ClassPixels]:
    """Results in order, with few in flight: an error ends the scan soon and results do not pile up."""
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[ClassPixels]] = deque()
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


def _read_cache(cache: Path, fingerprint: str, num_classes: int) -> ClassPixels | None:
    """The kept counts, or None if there is none, it is of other files, or the file is damaged."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["fingerprint"] != fingerprint:
            return None
        class_pixels = np.array(kept["class_pixels"], np.int64)
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
    return class_pixels if class_pixels.shape == (num_classes,) else None
