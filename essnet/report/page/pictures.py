"""The same images under baseline and best, small enough to stand in the page."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from PIL import Image, UnidentifiedImageError

from essnet.config.errors import InputError
from essnet.report.evaluations import ClassResult, TrialEvaluation

Colour: TypeAlias = tuple[int, int, int]

_MOST_ROWS = 6
_MOST_ENTRIES = 60
_LONGEST_SIDE = 256


@dataclass(frozen=True)
class PictureRow:
    """An image, its truth and two predictions, as addresses that hold the whole picture."""

    name: str
    image: str
    truth: str
    of_baseline: str
    of_best: str


@dataclass(frozen=True)
class LegendEntry:
    """A class that is in the pictures, and its colour there as CSS writes it."""

    name: str
    colour: str


@dataclass(frozen=True)
class Pictures:
    """What the page shows of images."""

    rows: Sequence[PictureRow]
    legend: Sequence[LegendEntry]
    """Of the classes in truth and predictions, the largest first; empty where the trials noted no colours."""
    num_left_out: int
    """Further classes that are in the pictures."""


def pictures_of(best: TrialEvaluation, baseline: TrialEvaluation) -> Pictures:
    """Return the images that both have pictures of, at most six, and the classes in them.

    Raises
    ------
    InputError
        If a picture is damaged.
    """
    mine = {picture.name: picture for picture in best.pictures}
    common = [picture for picture in baseline.pictures if picture.name in mine][:_MOST_ROWS]
    pixels: Counter[Colour] = Counter()

    def labels(path: Path) -> str:
        small = _small(path, Image.Resampling.NEAREST)  # no colour that is no class's
        for count, colour in small.getcolors(small.width * small.height) or ():
            assert isinstance(colour, tuple)
            pixels[colour[0], colour[1], colour[2]] += count
        buffer = io.BytesIO()
        small.save(buffer, format="png", optimize=True)
        return _address("image/png", buffer)

    rows = [
        PictureRow(
            name=picture.name,
            image=_photo(picture.image),
            truth=labels(picture.truth),
            of_baseline=labels(picture.prediction),
            of_best=labels(mine[picture.name].prediction),
        )
        for picture in common
    ]
    legend = _legend(pixels, {**baseline.classes, **best.classes}.values())
    return Pictures(rows, legend[:_MOST_ENTRIES], max(0, len(legend) - _MOST_ENTRIES))


def _legend(pixels: Counter[Colour], classes: Iterable[ClassResult]) -> list[LegendEntry]:
    """Return the classes whose colours there are pixels of; several that share a colour are one entry."""
    names: dict[Colour, list[str]] = {}
    for one in classes:
        if one.colour is not None:
            names.setdefault(one.colour, []).append(one.name)
    return [
        LegendEntry(" or ".join(names[colour]), "#{:02x}{:02x}{:02x}".format(*colour))
        for colour, _ in pixels.most_common()
        if colour in names
    ]


def _photo(path: Path) -> str:
    buffer = io.BytesIO()
    _small(path, Image.Resampling.LANCZOS).save(buffer, format="jpeg", quality=85)
    return _address("image/jpeg", buffer)


def _small(path: Path, how: Image.Resampling) -> Image.Image:
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: damaged; {error}") from None
    small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), how)
    return small


def _address(kind: str, buffer: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
