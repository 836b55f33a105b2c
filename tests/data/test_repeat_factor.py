from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from essnet.data.label_histogram import LabelHistogram, histogram_of_images
from essnet.data.repeat_factor import repeat_factors

NUM_CLASSES = 6


def histogram_of(images: list[set[int]]) -> LabelHistogram:
    """Images with these classes, three pixels each."""
    return histogram_of_images(
        [(np.array(sorted(classes), np.int64), np.full(len(classes), 3), 1) for classes in images],
        num_classes=NUM_CLASSES,
    )


@given(
    st.lists(st.sets(st.integers(0, NUM_CLASSES - 1)), max_size=12),
    st.floats(1e-4, 1),
)
def test_against_the_definition(images: list[set[int]], threshold: float) -> None:
    expected = []
    for classes in images:
        factor = 1.0
        for label in classes:
            share = sum(label in other for other in images) / len(images)
            factor = max(factor, math.sqrt(threshold / share))
        expected.append(factor)
    factors = repeat_factors(histogram_of(images), threshold)
    assert factors.dtype == np.float64
    assert factors.shape == (len(images),)
    assert factors.tolist() == pytest.approx(expected, rel=1e-12)


def test_by_hand() -> None:
    images = [{0}, {0, 1}, {0}, {0, 5}, set(), {0, 1}, {0}, {0}, {0}, {0}]
    # Class 0 is in 9 of 10 images, class 1 in 2, class 5 in 1; the other classes are in none.
    factors = repeat_factors(histogram_of(images), 0.4)
    root_2 = math.sqrt(2)
    assert factors.tolist() == pytest.approx([1, root_2, 1, 2, 1, root_2, 1, 1, 1, 1])


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan])
def test_impossible_thresholds_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        repeat_factors(histogram_of([{0}]), threshold)
