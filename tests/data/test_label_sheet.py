from __future__ import annotations

import numpy as np
import pytest
import torch

from essnet.data.class_table import ClassTable, class_colours
from essnet.data.pictures import LabelledRow, label_sheet
from essnet.labels import IGNORE_INDEX

CLASSES = ClassTable(tuple(f"class {index}" for index in range(60)))


def row(size: tuple[int, int], *labels: int) -> LabelledRow:
    """A grey image whose pixels have these labels in turn."""
    ids = torch.tensor(labels).repeat(size[0] * size[1] // len(labels) + 1)[: size[0] * size[1]].reshape(size)
    return "train: a.jpg", torch.full((3, *size), 77, dtype=torch.uint8), ids


def colours_in(sheet) -> set[tuple[int, ...]]:
    return set(map(tuple, np.asarray(sheet).reshape(-1, 3).tolist()))


@pytest.mark.parametrize("size", [(3, 4), (64, 64), (1024, 2048)])
def test_image_overlay_labels_and_legend_are_there(size: tuple[int, int]) -> None:
    shown = colours_in(label_sheet([row(size, 2, 7, IGNORE_INDEX)], CLASSES))
    second, seventh = (class_colours(60)[index] for index in (2, 7))
    # The labels alone, and where nothing is resampled the labels over the image.
    assert {(77, 77, 77), (0, 0, 0), tuple(second.tolist()), tuple(seventh.tolist())} <= shown
    if size == (64, 64):
        assert tuple(np.round((77 + second.astype(float)) / 2).astype(int).tolist()) in shown
    assert tuple(class_colours(60)[3].tolist()) not in shown


def test_nine_rows_of_any_shape_stay_below_4000_pixels() -> None:
    for size in ((600, 400), (100, 900), (900, 100), (5, 5)):
        sheet = label_sheet([row(size, 0, 1)] * 9, CLASSES)
        assert max(sheet.size) < 4000


def test_a_legend_without_room_for_all_shows_the_largest() -> None:
    size = (260, 384)  # room for twelve lines
    labels = [index for index in range(30) for _ in range(30 - index)]
    sheet = np.asarray(label_sheet([row(size, *labels)], CLASSES))
    legend = colours_in(sheet[:, -270:])
    shown = [index for index, colour in enumerate(class_colours(60).tolist()) if tuple(colour) in legend]
    assert shown == list(range(11))


def test_a_flat_image_keeps_its_legend() -> None:
    flat, below = row((4, 4000), *range(5)), row((300, 4000), 50)
    sheet = np.asarray(label_sheet([flat, below], CLASSES))
    legend = colours_in(sheet[:, -270:])
    shown = [index for index, colour in enumerate(class_colours(60).tolist()) if tuple(colour) in legend]
    assert shown == [*range(5), 50]
    first_of_below = np.flatnonzero((sheet[:, -270:] == class_colours(60)[50]).all(axis=2).any(axis=1))[0]
    last_of_flat = np.flatnonzero((sheet[:, -270:] == class_colours(60)[4]).all(axis=2).any(axis=1))[-1]
    assert last_of_flat < first_of_below


def test_everything_ignored() -> None:
    shown = colours_in(label_sheet([row((64, 64), IGNORE_INDEX)], CLASSES))
    assert (0, 0, 0) in shown
    assert not {tuple(colour) for colour in class_colours(60).tolist()} & shown


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        label_sheet([], CLASSES)
