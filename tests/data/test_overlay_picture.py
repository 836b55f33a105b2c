from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from essnet.data import ClassTable, colour_overlay
from essnet.data.overlay_picture import overlay_picture, uncertainty_picture

CLASSES = ClassTable(tuple(f"class {index}" for index in range(80)))
Pixels = npt.NDArray[np.uint8]


def picture(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)


def colours_below(sheet: Image.Image, height: int) -> set[tuple[int, int, int]]:
    rows = np.asarray(sheet)[height:].reshape(-1, 3)
    return {(int(red), int(green), int(blue)) for red, green, blue in np.unique(rows, axis=0)}


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize("size", [(40, 400), (30, 20), (1, 1)])
def test_the_overlay_is_as_it_was_and_the_image_beside_it(size: tuple[int, int], side_by_side: bool) -> None:
    image, ids = picture(*size), np.full(size, 3, np.uint16)
    ids[0] = 7
    sheet = np.asarray(overlay_picture(image, ids, CLASSES, side_by_side=side_by_side))
    expected = colour_overlay(
        torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(ids.astype(np.int64)), CLASSES.colours
    )
    height, width = size
    left = width if side_by_side else 0
    assert np.array_equal(sheet[:height, left : left + width], expected)
    if side_by_side:
        assert np.array_equal(sheet[:height, :width], image)


def test_the_legend_has_the_colours_of_the_classes_that_are_there_and_no_others() -> None:
    ids = np.zeros((20, 300), np.uint16)
    ids[:, 100:] = 5
    ids[3, 4] = 60  # a single pixel
    below = colours_below(overlay_picture(picture(20, 300), ids, CLASSES), 20)
    colours = [tuple(colour) for colour in CLASSES.colours.tolist()]
    assert {index for index, colour in enumerate(colours) if colour in below} == {0, 5, 60}


def test_a_legend_of_many_classes_grows_downwards_and_ends() -> None:
    heights = []
    for count in (2, 40, 80):
        ids = (np.arange(100 * 300) % count).reshape(100, 300).astype(np.uint16)
        sheet = overlay_picture(picture(100, 300), ids, CLASSES)
        assert sheet.width == 300
        heights.append(sheet.height)
    assert heights[0] < heights[1] < heights[2]
    many = ClassTable(tuple(str(index) for index in range(3000)))
    ids = np.arange(100 * 300).reshape(100, 300).astype(np.uint16) % 3000
    assert overlay_picture(picture(100, 300), ids, many).height == heights[2]


def test_on_a_large_image_the_legend_can_be_read() -> None:
    def legend_height(width: int) -> int:
        return overlay_picture(picture(10, width), np.zeros((10, width), np.uint16), CLASSES).height - 10

    assert legend_height(2800) > 2.5 * legend_height(700)


def test_uncertainty_from_dark_to_light_with_a_scale() -> None:
    values = np.tile(np.linspace(0, 1.5, 500, dtype=np.float32), (10, 1))
    sheet = np.asarray(uncertainty_picture(values, caption="distance", most=1.5))
    lightness = sheet[:10].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness[0]) >= -1.5).all()
    assert lightness[0, -1] - lightness[0, 0] > 150
    assert tuple(sheet[0, 0]) in colours_below(Image.fromarray(sheet), 10)
    assert tuple(sheet[0, -1]) in colours_below(Image.fromarray(sheet), 10)


def test_what_is_beyond_the_scale_or_no_number_is_at_its_end() -> None:
    values = np.array([[0, 1, 1.7, np.inf, np.nan, -0.1]], np.float32)
    row = np.asarray(uncertainty_picture(values, caption="distance", most=1.0))[0, :6]
    assert (row[1:5] == row[1]).all()
    assert (row[5] == row[0]).all()
    assert not (row[0] == row[1]).all()
