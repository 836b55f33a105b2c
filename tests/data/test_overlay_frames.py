from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from essnet.data import ClassTable, colour_overlay
from essnet.data.overlay_frames import OverlayFrames

CLASSES = ClassTable(tuple(f"class {index}" for index in range(80)))
Pixels = npt.NDArray[np.uint8]


def stripes(*classes: int, width: int = 90) -> npt.NDArray[np.uint16]:
    """Equal parts from left to right, the first ones a little larger."""
    bounds = np.linspace(0, width, len(classes) + 1).astype(int)
    return np.repeat(np.array(classes, np.uint16), np.diff(bounds))[None].repeat(40, 0)


def places(frame: Pixels, below: int) -> dict[int, tuple[int, int]]:
    """Return class -> where in the legend its colour is first met, of the classes that have a swatch there."""
    legend = frame[below:]
    found = {}
    for index, colour in enumerate(CLASSES.colours):
        rows, columns = np.nonzero((legend == colour).all(axis=2))
        if len(rows) > 20:
            found[index] = (int(rows[0]), int(columns[0]))
    return found


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize("size", [(40, 400), (31, 401), (1, 1)])
def test_the_overlay_is_as_it_is_in_pictures_and_the_sides_are_even(size: tuple[int, int], side_by_side: bool) -> None:
    image = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    ids = np.full(size, 3, np.uint16)
    overlays = OverlayFrames(CLASSES, side_by_side=side_by_side)
    frame = overlays.draw(image, ids)
    expected = colour_overlay(torch.from_numpy(image).permute(2, 0, 1), torch.full(size, 3), CLASSES.colours)
    height, width = size
    left = width if side_by_side else 0
    assert np.array_equal(frame[:height, left : left + width], expected)
    if side_by_side:
        assert np.array_equal(frame[:height, :width], image)
    assert [side % 2 for side in frame.shape[:2]] == [0, 0]
    assert overlays.draw(image, np.full(size, 70, np.uint16)).shape == frame.shape


def test_a_class_keeps_its_place_while_others_come_and_go() -> None:
    overlays, image = OverlayFrames(CLASSES), np.zeros((40, 90, 3), np.uint8)  # of 90 pixels: three places

    def places_of(*classes: int) -> dict[int, tuple[int, int]]:
        return places(overlays.draw(image, stripes(*classes)), 40)

    first = places_of(5, 9)
    assert set(first) == {5, 9}
    second = places_of(9, 20)
    assert set(second) == {9, 20}  # 5 is grey
    assert second[9] == first[9]
    assert places_of(5, 9, 20) == {5: first[5], 9: first[9], 20: second[20]}
    assert places_of(9, 20) == {9: first[9], 20: second[20]}
    assert places_of(30, 9, 20) == {30: first[5], 9: first[9], 20: second[20]}  # the place that was free


def test_where_there_are_too_many_the_largest_have_places() -> None:
    overlays, image = OverlayFrames(CLASSES), np.zeros((40, 90, 3), np.uint8)
    ids = stripes(*range(60, 70))
    ids[:, :40] = 7
    assert len(places(overlays.draw(image, ids), 40)) == 3
    assert 7 in places(overlays.draw(image, ids), 40)
