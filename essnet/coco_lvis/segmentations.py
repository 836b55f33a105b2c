"""One annotation's `segmentation`, from its JSON text to run lengths: polygons, and runs plain or compressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_masks

from essnet.coco_lvis.painting import MALFORMED, covered, read_counts

Counts = npt.NDArray[np.int64]

EMPTY = "empty"
"""Nothing in it, or it covers no pixel."""
UNDER_THREE_POINTS = "under_three_points"
OUTSIDE_IMAGE = "outside_image"
WRONG_SIZE = "wrong_size"
"""Runs of a picture of another size."""
WRONG_COUNTS = "wrong_counts"
"""Runs that are not the picture's pixels together, or text that is no runs."""
NOT_A_SEGMENTATION = "not_a_segmentation"
"""Neither polygons nor runs."""

_LONGEST_OUTLINE_PX = 1_000_000
"""pycocotools takes some 200 bytes for each pixel of an outline, wherever it lies."""


class _Runs(msgspec.Struct):
    size: list[int]
    counts: list[int] | str


_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[list[float]] | _Runs | None)


def read_segmentation(text: bytes, *, height: int, width: int) -> tuple[list[Counts], str | None]:
    """Read a `segmentation` of a picture of `height` x `width` pixels.

    Returns run lengths, as many as there are polygons and each covering something, and what is wrong: None, or one
    of the reasons above. Polygons with three points and more are taken even where others of the same annotation
    have fewer, and cut at the picture's edge.
    """
    try:
        segmentation = _DECODER.decode(text) if text else None
    except (msgspec.DecodeError, RecursionError):
        return [], NOT_A_SEGMENTATION
    if not segmentation:
        return [], EMPTY
    if isinstance(segmentation, _Runs):
        return _from_runs(segmentation, height, width)
    return _from_polygons(segmentation, height, width)


def _from_runs(runs: _Runs, height: int, width: int) -> tuple[list[Counts], str | None]:
    if runs.size != [height, width]:
        return [], WRONG_SIZE
    counts = _decompressed(runs.counts.encode()) if isinstance(runs.counts, str) else _as_counts(runs.counts)
    if counts is None:
        return [], WRONG_COUNTS
    if not len(counts):
        return [], EMPTY
    pixels = covered(counts, height * width)
    if pixels == MALFORMED:
        return [], WRONG_COUNTS
    return ([counts], None) if pixels else ([], EMPTY)


def _from_polygons(polygons: Sequence[list[float]], height: int, width: int) -> tuple[list[Counts], str | None]:
    fault = None
    sound = []
    for polygon in polygons:
        wrong = _polygon_fault(polygon, height, width)
        if wrong is None:
            sound.append(polygon)
        fault = fault or wrong
    found = []
    for compressed in coco_masks.frPyObjects(sound, height, width) if sound else ():
        counts = _decompressed(compressed["counts"])
        if counts is not None and covered(counts, height * width) > 0:
            found.append(counts)
    return found, fault if fault or found else EMPTY


def _polygon_fault(polygon: list[float], height: int, width: int) -> str | None:
    if not polygon:
        return EMPTY
    if len(polygon) % 2:
        return NOT_A_SEGMENTATION
    if len(polygon) < 6:
        return UNDER_THREE_POINTS
    columns, rows = polygon[0::2], polygon[1::2]
    left, right, top, bottom = min(columns), max(columns), min(rows), max(rows)
    if right <= 0 or left >= width or bottom <= 0 or top >= height:
        return OUTSIDE_IMAGE
    span = max(right - left, bottom - top)
    return OUTSIDE_IMAGE if span * len(columns) > _LONGEST_OUTLINE_PX and _too_long(polygon) else None


def _too_long(polygon: list[float]) -> bool:
    points = np.array(polygon).reshape(-1, 2)
    steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
    return not float(steps.sum()) <= _LONGEST_OUTLINE_PX  # also where it is no number


def _as_counts(counts: list[int]) -> Counts | None:
    try:
        return np.array(counts, np.int64)
    except OverflowError:
        return None


def _decompressed(text: bytes) -> Counts | None:
    characters = np.frombuffer(text, np.uint8)
    counts = np.empty(len(characters), np.int64)
    num_counts = read_counts(characters, counts)
    return None if num_counts == MALFORMED else counts[:num_counts]
