from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from essnet.data.class_balanced_crops import draw_focus
from essnet.labels import IGNORE_INDEX


@pytest.mark.parametrize("dtype", [np.int16, np.int64])
def test_classes_are_equally_likely_and_so_are_the_pixels_of_one(dtype: type) -> None:
    targets = np.full((4, 6), 7, dtype)
    targets[1, 2] = 0
    targets[2, 3:5] = 30
    targets[0] = IGNORE_INDEX
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        drawn = Counter(draw_focus(targets) for _ in range(6000))
    assert all(0 <= row < 4 and 0 <= column < 6 for row, column in drawn)
    of_class = Counter()
    for pixel, count in drawn.items():
        of_class[int(targets[pixel])] += count
    assert of_class.keys() == {0, 7, 30}
    for count in of_class.values():
        assert count / 6000 == pytest.approx(1 / 3, abs=0.03)
    assert len(drawn) == 18
    assert drawn[2, 3] / of_class[30] == pytest.approx(1 / 2, abs=0.06)
    assert min(count for pixel, count in drawn.items() if targets[pixel] == 7) > 0.5 * of_class[7] / 15


def test_nothing_to_look_at() -> None:
    assert draw_focus(np.full((3, 4), IGNORE_INDEX)) is None
    assert draw_focus(np.zeros((0, 4), np.int64)) is None


def test_the_same_randomness_gives_the_same_pixel() -> None:
    targets = np.arange(600).reshape(20, 30) // 7
    drawn = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(5)
            drawn.append([draw_focus(targets) for _ in range(3)])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 1
