"""Masks in the space of runs: what is painted is lengths, never a mask of each annotation.

Run lengths are COCO's: they go down the columns, background first, and alternate.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from essnet.machine_code import compiled

_FOUR_TIMES = np.uint64(0x0001_0001_0001_0001)

MALFORMED = -1
"""What `read_counts` returns for text that is no run lengths."""


@compiled
def read_counts(text: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64]) -> int:
    """Read COCO's compressed run lengths into `counts`, which is as long as `text`; returns how many there are.

    Six bits a character above "0": five of the number, lowest first, and whether more follow; the sign stands in
    the last one. From the fourth number on, each is the difference to the one before the last.
    """
    num_counts = 0
    position = 0
    while position < len(text):
        value = np.int64(0)
        shift = 0
        while True:
            if position >= len(text) or shift > 30:
                return MALFORMED
            character = np.int64(text[position]) - 48
            if character < 0 or character > 63:
                return MALFORMED
            value |= (character & 31) << shift
            position += 1
            shift += 5
            if not character & 32:
                if character & 16:
                    value -= np.int64(1) << shift
                break
        if num_counts > 2:
            value += counts[num_counts - 2]
        if value < 0:
            return MALFORMED
        counts[num_counts] = value
        num_counts += 1
    return num_counts


@compiled
def covered(counts: npt.NDArray[np.int64], num_pixels: int) -> int:
    """Pixels that run lengths cover; MALFORMED if one is negative or they are not `num_pixels` together."""
    ends = np.int64(0)
    inside = np.int64(0)
    for index in range(len(counts)):
        length = counts[index]
        if length < 0 or length > num_pixels:
            return MALFORMED
        ends += length
        if index & 1:
            inside += length
    return int(inside) if ends == num_pixels else MALFORMED


@compiled
def paint(columns: npt.NDArray[np.uint16], counts: npt.NDArray[np.int64], class_id: int) -> None:
    """Paint what the run lengths cover, over what is there; `columns` begins with the mask, column by column."""
    start = 0
    for index in range(len(counts)):
        end = start + counts[index]
        if index & 1:
            columns[start:end] = class_id
        start = end


@compiled
def to_png_rows(
    columns: npt.NDArray[np.uint16],
    rows: npt.NDArray[np.uint8],
    pixels: npt.NDArray[np.int64],
) -> None:
    """Turn a mask into the bytes of a 16-bit PNG's rows, and count the pixels of each value.

    `columns` is the mask (H * W,), column by column, and zeros up to a length that four divides; `rows` (H, 1 + 2 W)
    is filled: the filter's number 2 (Up: the difference to the row above, bytewise) and two bytes a pixel, high byte
    first. `pixels` (values,) is added to. Differences are almost everywhere zero, and only the others are written;
    where four pixels are like the one before them, they are passed over at once.
    """
    height = rows.shape[0]
    width = (rows.shape[1] - 1) // 2
    num_pixels = height * width
    rows[:, :] = 0
    rows[:, 0] = 2
    for column in range(width):
        first = columns[column * height]
        rows[0, 1 + 2 * column] = np.uint8(first >> 8)
        rows[0, 2 + 2 * column] = np.uint8(first & 255)
    fours = columns.view(np.uint64)
    value = columns[0]
    four_alike = np.uint64(value) * _FOUR_TIMES
    begin = 0
    for index in range(len(fours)):
        if fours[index] == four_alike:
            continue
        for position in range(4 * index, min(4 * index + 4, num_pixels)):
            now = columns[position]
            if now != value:
                pixels[value] += position - begin
                begin = position
                column = position // height
                row = position - column * height
                if row:
                    rows[row, 1 + 2 * column] = np.uint8((now >> 8) - (value >> 8))
                    rows[row, 2 + 2 * column] = np.uint8((now & 255) - (value & 255))
                value = now
        four_alike = np.uint64(value) * _FOUR_TIMES
    pixels[value] += num_pixels - begin


class Canvas:
    """Room for one mask after the other: memory that is new for each would cost more than the painting."""

    def __init__(self) -> None:
        self._columns = np.empty(0, np.uint16)
        self._rows = np.empty(0, np.uint8)

    def blank(self, height: int, width: int) -> npt.NDArray[np.uint16]:
        """Return a mask of zeros, column by column, as `paint` and `to_png_rows` take it; the last one is gone."""
        length = -(-height * width // 4) * 4
        if len(self._columns) < length:
            self._columns = np.empty(length, np.uint16)
        columns = self._columns[:length]
        columns.fill(0)
        return columns

    def rows(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Return room for the rows of a PNG; the last ones are gone."""
        length = height * (1 + 2 * width)
        if len(self._rows) < length:
            self._rows = np.empty(length, np.uint8)
        return self._rows[:length].reshape(height, -1)
