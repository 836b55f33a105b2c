"""The same images under baseline and best, small enough to stand in the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from essnet.config.errors import InputError
from essnet.report.evaluations import TrialEvaluation

_MOST_ROWS = 6
_LONGEST_SIDE = 256


@dataclass(frozen=True)
class PictureRow:
    """An image, its truth and two predictions, as addresses that hold the whole picture."""

    name: str
    image: str
    truth: str
    of_baseline: str
    of_best: str


def picture_rows(best: TrialEvaluation, baseline: TrialEvaluation) -> list[PictureRow]:
    """Return the images that both have pictures of; at most six.

    Raises
    ------
    InputError
        If a picture is damaged.
    """
    mine = {picture.name: picture for picture in best.pictures}
    common = [picture for picture in baseline.pictures if picture.name in mine]
    return [
        PictureRow(
            name=picture.name,
            image=_photo(picture.image),
            truth=_labels(picture.truth),
            of_baseline=_labels(picture.prediction),
            of_best=_labels(mine[picture.name].prediction),
        )
        for picture in common[:_MOST_ROWS]
    ]


def _photo(path: Path) -> str:
    buffer = io.BytesIO()
    _small(path, Image.Resampling.LANCZOS).save(buffer, format="jpeg", quality=85)
    return _address("image/jpeg", buffer)


def _labels(path: Path) -> str:
    buffer = io.BytesIO()
    # Nearest: no colour that is no class's.
    _small(path, Image.Resampling.NEAREST).save(buffer, format="png", optimize=True)
    return _address("image/png", buffer)


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
