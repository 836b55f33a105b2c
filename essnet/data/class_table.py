"""The classes of a data set: their names in order of class index, and a colour for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from essnet.config.errors import InputError
from essnet.data.text_files import read_text

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0..255."""


@dataclass(frozen=True)
class ClassTable:
    """Class names, and the colours in which the data set shows them; the position of a name is its class index."""

    names: tuple[str, ...]
    palette: tuple[Colour, ...] | None = None
    """The data set's own colours; None where it has none."""
    first_added: int | None = None
    """Class index from which on classes were added to a trained vocabulary; None where none was."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("a class table needs at least one name")
        if self.palette is not None and len(self.palette) != len(self.names):
            raise ValueError(f"{len(self.names)} class names, but {len(self.palette)} colours")

    @property
    def num_classes(self) -> int:
        """Number of classes C; class indices are 0 .. C - 1."""
        return len(self.names)

    @property
    def added(self) -> range:
        """Class indices of those that were added to a trained vocabulary."""
        return range(self.num_classes if self.first_added is None else self.first_added, self.num_classes)

    @property
    def colours(self) -> npt.NDArray[np.uint8]:
        """A colour for each class, (C, 3) uint8 RGB: the palette, or else `class_colours`."""
        if self.palette is None:
            return class_colours(self.num_classes)
        return np.array(self.palette, np.uint8)

    def to_json(self) -> list[dict[str, Any]]:
        """Rows ``{"id": class index, "name": name}`` in order of the index.

        With a palette also ``"colour"``; those of added classes say ``"added": true``.
        """
        rows: list[dict[str, Any]] = [{"id": index, "name": name} for index, name in enumerate(self.names)]
        for row, colour in zip(rows, self.palette or (), strict=False):
            row["colour"] = list(colour)
        for index in self.added:
            rows[index]["added"] = True
        return rows

    @classmethod
    def from_json(cls, rows: Iterable[Mapping[str, Any]]) -> ClassTable:
        """Read what `to_json` wrote; further keys of a row are ignored.

        Raises ValueError if the ids are not 0, 1, 2, ... in this order, a row lacks id or name, only some rows
        have a colour, or an added class stands before one that is not.
        """
        names: list[str] = []
        palette: list[Colour] = []
        first_added: int | None = None
        for position, row in enumerate(rows):
            if not isinstance(row, Mapping) or row.get("id") != position or not isinstance(row.get("name"), str):
                raise ValueError(f"class table row {position} is {row!r}; expected id {position} and a name")
            names.append(row["name"])
            if "colour" in row:
                palette.append(_colour(row["colour"], position))
            if row.get("added") is True:
                first_added = position if first_added is None else first_added
            elif first_added is not None:
                raise ValueError(
                    f"class table row {position} is not added, but that before it is; added classes come last"
                )
        return cls(tuple(names), tuple(palette) or None, first_added)


def _colour(value: object, position: int) -> Colour:
    if isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value):
        return (value[0], value[1], value[2])
    raise ValueError(f"class table row {position} has colour {value!r}; expected [red, green, blue], each 0 to 255")


def read_class_table(path: Path) -> ClassTable:
    """Read a text file with one class name a line; the first line is class index 0.

    A byte-order mark, CRLF line ends and blank lines at the end are tolerated. Raises InputError if the file
    is missing or not UTF-8 text, holds no name, an empty name, or the same name twice.
    """
    text = read_text(path, expected="a text file with one class name a line")
    names = [line.strip() for line in text.rstrip().split("\n")]
    if names == [""]:
        raise InputError(f"{path}: holds no class name; expected one a line")
    line_of: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        if not name:
            raise InputError(f"{path}: line {line} is empty; expected a class name on every line before the last")
        if name in line_of:
            raise InputError(f"{path}: line {line} repeats {name!r} of line {line_of[name]}; names must differ")
        line_of[name] = line
    return ClassTable(tuple(names))


def class_colours(num_classes: int) -> npt.NDArray[np.uint8]:
    """Well-separated colours (num_classes, 3), uint8 RGB, none of them near black or white.

    The colour of a class does not depend on the number of classes. The first 512 are each as far as possible
    from all before them in OKLab (Ottosson 2020, https://bottosson.github.io/posts/oklab/); those after are
    spread evenly over hue, saturation and value.
    """
    if num_classes < 0:
        raise ValueError(f"num_classes={num_classes} must not be negative")
    farthest = _farthest_colours()
    if num_classes <= len(farthest):
        return farthest[:num_classes].copy()
    return np.concatenate([farthest, _evenly_spread_colours(num_classes - len(farthest))])


@lru_cache(maxsize=1)
def _farthest_colours(count: int = 512) -> npt.NDArray[np.uint8]:
    levels = np.linspace(0, 255, 17).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    points = _oklab(candidates)
    lightness, chroma = points[:, 0], np.hypot(points[:, 1], points[:, 2])
    usable = (lightness > 0.4) & (lightness < 0.95) & (chroma > 0.05) & (chroma < 0.25)
    candidates, points = candidates[usable], points[usable]
    red = int(np.argmin(np.linalg.norm(points - _oklab(np.array([[223.0, 48.0, 48.0]])), axis=1)))
    chosen = [red]
    distance = np.linalg.norm(points - points[red], axis=1)
    for taken in _oklab(np.array([[0.0, 0.0, 0.0], [255.0, 255.0, 255.0]])):
        distance = np.minimum(distance, np.linalg.norm(points - taken, axis=1))
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return candidates[chosen].astype(np.uint8)


def _oklab(colours: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """OKLab coordinates (N, 3) of sRGB colours (N, 3) in 0..255."""
    srgb = colours / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    lab: npt.NDArray[np.float64] = np.cbrt(linear @ to_cones.T) @ to_lab.T
    return lab


def _evenly_spread_colours(count: int) -> npt.NDArray[np.uint8]:
    # Additive recurrence with powers of the root of x^4 = x + 1: three coordinates without visible order.
    steps = 1.2207440846057596 ** -np.arange(1.0, 4.0)
    hue, second, third = ((np.arange(count)[:, None] * steps) % 1).T
    saturation, value = 0.4 + 0.6 * second, 0.45 + 0.55 * third
    sector = (np.array([5.0, 3.0, 1.0]) + 6 * hue[:, None]) % 6
    rgb = value[:, None] * (1 - saturation[:, None] * np.clip(np.minimum(sector, 4 - sector), 0, 1))
    colours: npt.NDArray[np.uint8] = np.round(rgb * 255).astype(np.uint8)
    return colours
