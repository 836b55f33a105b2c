"""Frames of a video with the classes over them, and below them a legend that stands still."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw

from essnet.data.class_table import ClassTable
from essnet.data.legend_grid import Entry, LegendGrid
from essnet.data.overlay_picture import sheet_with_room, shown_overlay
from essnet.data.pictures import Pixels

_LINES = 3
"""Of the legend, whatever a frame shows."""


class OverlayFrames:
    """Draws the frames of one video, in their order.

    A class keeps its place in the legend: while it is not there it is grey, and its place is given away only when
    another class needs it. Where more classes are there than places, the smallest of them have none.
    """

    def __init__(self, classes: ClassTable, *, side_by_side: bool = False) -> None:
        self._classes = classes
        self._side_by_side = side_by_side
        self._places: list[int] = []
        """The class of each place."""
        self._last_seen: dict[int, int] = {}
        self._frame = 0

    def draw(self, image: Pixels, ids: npt.NDArray[np.integer]) -> Pixels:
        """Return the next frame with its legend, uint8 RGB with even sides, which depend on the frame's size alone.

        Shapes: image (H, W, 3) uint8, ids (H, W) class indices.
        """
        shown = shown_overlay(image, ids, self._classes, side_by_side=self._side_by_side)
        grid = LegendGrid(image_width=image.shape[1], width=shown.shape[1])
        room = min(self._classes.num_classes, _LINES * grid.columns)
        absent = self._place(ids, room)
        height = grid.height(room) + grid.line_height // 2 * 2
        height += (shown.shape[0] + height) % 2
        width = max(grid.entry_width, shown.shape[1])
        sheet = sheet_with_room(shown, height=height, width=width + width % 2, margin=0)
        grid.draw(ImageDraw.Draw(sheet), [self._entry(one) for one in self._places], top=shown.shape[0], faint=absent)
        return np.asarray(sheet)

    def _place(self, ids: npt.NDArray[np.integer], room: int) -> set[int]:
        """Give each of the largest classes a place, of `room` in all; return the places of classes that are absent."""
        counts = np.bincount(ids.ravel(), minlength=self._classes.num_classes)
        largest = [int(one) for one in np.argsort(-counts, kind="stable")[:room] if counts[one]]
        for one in largest:
            self._last_seen[one] = self._frame
        self._frame += 1
        for one in largest:
            if one in self._places:
                continue
            if len(self._places) < room:
                self._places.append(one)
                continue
            given_away = min(range(room), key=lambda place: self._last_seen[self._places[place]])
            self._places[given_away] = one
        return {place for place, one in enumerate(self._places) if one not in largest}

    def _entry(self, class_id: int) -> Entry:
        red, green, blue = self._classes.colours[class_id].tolist()
        return self._classes.names[class_id], (red, green, blue)
