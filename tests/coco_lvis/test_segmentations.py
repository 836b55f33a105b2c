from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from essnet.coco_lvis.segmentations import read_segmentation
from tests.coco_lvis.generated import random_segmentation
from tests.coco_lvis.oracle import compressed_counts, expand, pixels_of

HEIGHT, WIDTH = 6, 8
SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]
COVERED = np.zeros((HEIGHT, WIDTH), bool)
COVERED[2:4, 3:7] = True
TEXT = compressed_counts(COVERED)


def read(segmentation: Any, *, height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, str | None]:
    text = segmentation if isinstance(segmentation, bytes) else json.dumps(segmentation).encode()
    runs, fault = read_segmentation(text, height=height, width=width)
    covered = np.zeros(height * width, bool)
    for counts in runs:
        assert expand(counts).any()
        covered |= expand(counts)
    return covered.reshape(width, height).T, fault


@pytest.mark.parametrize("seed", range(40))
def test_every_kind_covers_what_pycocotools_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 30, 2))
    segmentation = random_segmentation(rng, height, width)
    covered, _ = read(segmentation, height=height, width=width)
    assert np.array_equal(covered, pixels_of(segmentation, {"height": height, "width": width}))


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (b"", "empty"),
        (None, "empty"),
        ([], "empty"),
        ([[]], "empty"),
        ([[3, 3, 3, 3, 3, 3]], "empty"),
        ({"size": [HEIGHT, WIDTH], "counts": []}, "empty"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "empty"),
        ({"size": [HEIGHT, WIDTH], "counts": [48]}, "empty"),
        ([[1, 1]], "under_three_points"),
        ([[1, 1, 5, 5]], "under_three_points"),
        ([[1, 1, 5, 5, 3]], "not_a_segmentation"),
        ([[1, 1, 5, 5, 3, 1, 4]], "not_a_segmentation"),
        ([[8, 0, 12, 0, 12, 4]], "outside_image"),
        ([[-5, 0, -1, 0, -1, 4]], "outside_image"),
        ([[0, 6, 4, 6, 4, 9]], "outside_image"),
        ([[0, -6, 4, -6, 4, -1]], "outside_image"),
        ([[-1e9, -1e9, 1e9, -1e9, 0, 1e9]], "outside_image"),
        ([[-1e300, 0, 1e300, 0, 0, 1e300]], "outside_image"),
        ({"size": [WIDTH, HEIGHT], "counts": TEXT}, "wrong_size"),
        ({"size": [HEIGHT], "counts": TEXT}, "wrong_size"),
        ({"size": [HEIGHT + 1, WIDTH], "counts": [4, 4, 48]}, "wrong_size"),
        ({"size": [HEIGHT, WIDTH], "counts": TEXT[:-1]}, "wrong_counts"),
        ({"size": [HEIGHT, WIDTH], "counts": TEXT + "1"}, "wrong_counts"),
        ({"size": [HEIGHT, WIDTH], "counts": "no runs"}, "wrong_counts"),
        ({"size": [HEIGHT, WIDTH], "counts": "ä"}, "wrong_counts"),
        ({"size": [HEIGHT, WIDTH], "counts": [4, 4, 39]}, "wrong_counts"),
        ({"size": [HEIGHT, WIDTH], "counts": [4, 4, 41]}, "wrong_counts"),
        ({"size": [HEIGHT, WIDTH], "counts": [4, -4, 48]}, "wrong_counts"),
        ({"size": [HEIGHT, WIDTH], "counts": [10**25]}, "wrong_counts"),
        ({"size": [HEIGHT, WIDTH], "counts": [4.5, 43.5]}, "not_a_segmentation"),
        ({"size": [HEIGHT, WIDTH]}, "not_a_segmentation"),
        ({"counts": TEXT}, "not_a_segmentation"),
        (SQUARE, "not_a_segmentation"),
        ([["1", "1", "4", "1", "4", "4"]], "not_a_segmentation"),
        ([[1, None, 4, 1, 4, 4]], "not_a_segmentation"),
        ("text", "not_a_segmentation"),
        (7, "not_a_segmentation"),
        (b"[[1, 1, 4, 1, 4, 4", "not_a_segmentation"),
        (b"[[NaN, 1, 4, 1, 4, 4]]", "not_a_segmentation"),
        (b"[[1e999, 1, 4, 1, 4, 4]]", "not_a_segmentation"),
        (b"[" * 100_000 + b"]" * 100_000, "not_a_segmentation"),
    ],
)
def test_what_is_wrong_has_a_reason_and_covers_nothing(segmentation: Any, reason: str) -> None:
    covered, fault = read(segmentation)
    assert fault == reason
    assert not covered.any()


@pytest.mark.parametrize(
    ("part", "reason"),
    [([1, 1, 5, 5], "under_three_points"), ([], "empty"), ([20, 20, 30, 20, 30, 30], "outside_image")],
)
def test_sound_polygons_count_where_others_of_the_annotation_do_not(part: list[int], reason: str) -> None:
    for polygons in ([SQUARE, part], [part, SQUARE]):
        covered, fault = read(polygons)
        assert fault == reason
        assert np.array_equal(covered, pixels_of([SQUARE], {"height": HEIGHT, "width": WIDTH}))


def test_a_polygon_is_cut_at_the_edge() -> None:
    for polygon in ([-3, -3, 20, -3, 20, 20, -3, 20], [-5000, -5000, 5000, -5000, 5000, 5000, -5000, 5000]):
        covered, fault = read([polygon])
        assert fault is None
        assert covered.all()
