from __future__ import annotations

import numpy as np
import pytest
import torch

from essnet.data.class_table import ClassTable, class_colours
from essnet.data.pictures import colour_overlay, prediction_sheet
from essnet.labels import IGNORE_INDEX

CLASSES = ClassTable(("road", "sky", "a name that is much too long for the room that a legend has"))


def colours_in(sheet) -> set[tuple[int, ...]]:
    return set(map(tuple, np.asarray(sheet).reshape(-1, 3).tolist()))


def test_overlay_mixes_and_leaves_ignored_pixels() -> None:
    image = torch.tensor([[[100, 100, 100]], [[50, 50, 50]], [[0, 0, 0]]], dtype=torch.uint8)
    colours = np.array([[200, 0, 40], [255, 255, 255]], np.uint8)
    over = colour_overlay(image, torch.tensor([[0, 1, IGNORE_INDEX]]), colours, alpha=0.25)
    assert over.dtype == np.uint8
    assert over.tolist() == [[[125, 38, 10], [139, 101, 64], [100, 50, 0]]]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_overlay_at_its_ends(alpha: float) -> None:
    image = torch.randint(0, 256, (3, 4, 5), dtype=torch.uint8)
    ids = torch.randint(0, 3, (4, 5))
    expected = image.permute(1, 2, 0).numpy() if alpha == 0 else class_colours(3)[ids.numpy()]
    assert (colour_overlay(image, ids, class_colours(3), alpha=alpha) == expected).all()


@pytest.mark.parametrize("size", [(3, 5), (64, 64), (90, 700)])
def test_sheet_shows_the_colours_of_the_classes_present(size: tuple[int, int]) -> None:
    truth = torch.zeros(size, dtype=torch.int64)
    truth[0] = IGNORE_INDEX
    predicted = torch.full(size, 2)
    sheet = prediction_sheet([(torch.full((3, *size), 77, dtype=torch.uint8), truth, predicted)], CLASSES)
    road, sky, long = map(tuple, class_colours(3).tolist())
    shown = colours_in(sheet)
    assert {road, long, (77, 77, 77), (0, 0, 0)} <= shown
    assert sky not in shown
    assert max(sheet.size) < 1700


def test_sheet_without_truth_has_two_columns() -> None:
    image, ids = torch.zeros((3, 64, 64), dtype=torch.uint8), torch.zeros((64, 64), dtype=torch.int64)
    two, three = (
        prediction_sheet([(image, None, ids)], CLASSES),
        prediction_sheet([(image, ids, ids)], CLASSES),
    )
    mixed = prediction_sheet([(image, ids, ids), (image, None, ids)], CLASSES)
    assert two.width < three.width == mixed.width


def test_sheet_with_everything_ignored_and_rows_of_different_size() -> None:
    rows = [
        (
            torch.zeros((3, *size), dtype=torch.uint8),
            torch.full(size, IGNORE_INDEX),
            torch.full(size, IGNORE_INDEX),
        )
        for size in ((10, 20), (30, 5))
    ]
    assert prediction_sheet(rows, CLASSES).mode == "RGB"


def test_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        prediction_sheet([], CLASSES)
