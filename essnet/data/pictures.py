"""Pictures for people: labels as colours, and sheets of image, truth and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from essnet.data.class_table import ClassTable
from essnet.data.lettering import lettering
from essnet.labels import IGNORE_INDEX

Pixels: TypeAlias = npt.NDArray[np.uint8]
Row: TypeAlias = tuple[Tensor, Tensor | None, Tensor]
LabelledRow: TypeAlias = tuple[str, Tensor, Tensor]

_PAPER, _INK, _NOTHING = (255, 255, 255), (40, 40, 40), (240, 240, 240)
_MARGIN, _GAP, _TITLE_HEIGHT = 16, 8, 26
_TILE_SIDE = (256, 512)
_LEGEND_ENTRIES, _LEGEND_WIDTH, _LEGEND_HEIGHT, _SWATCH = 24, 140, 22, 14
# Of the legend beside an image, however flat that is.
_FEWEST_ENTRIES = 6
_LABELLED_TILE_SIDE = (256, 384)
_CAPTION_HEIGHT, _SIDE_LEGEND_WIDTH = 24, 260


def colour_overlay(image: Tensor, ids: Tensor, colours: Pixels, alpha: float = 0.5) -> Pixels:
    """The image with its labels' colours over it, uint8 (H, W, 3).

    `image` is uint8 (3, H, W), `ids` int64 (H, W), `colours` uint8 (C, 3); `alpha` is the share of the
    label's colour. Ignored pixels keep the image as it is.
    """
    pixels = _pixels(image)
    mixed = np.round((1 - alpha) * pixels + alpha * _coloured(ids, colours)).astype(np.uint8)
    return np.where((ids.cpu().numpy() == IGNORE_INDEX)[..., None], pixels, mixed)


def prediction_sheet(rows: Sequence[Row], classes: ClassTable) -> Image.Image:
    """A sheet with the columns image, truth and prediction, and a legend of the commonest classes.

    Each row is (image uint8 (3, H, W), true ids int64 (H, W) or None, predicted ids int64 (H, W)). Ignored
    pixels are black; the truth column is left out if no row has one. Raises ValueError if there is no row.
    """
    if not rows:
        raise ValueError("a prediction sheet needs at least one row")
    colours = classes.colours
    columns: dict[str, list[Image.Image | None]] = {
        "image": [_tile(_pixels(image), smooth=True) for image, _, _ in rows],
        "truth": [None if truth is None else _tile(_coloured(truth, colours)) for _, truth, _ in rows],
        "prediction": [_tile(_coloured(predicted, colours)) for _, _, predicted in rows],
    }
    if all(tile is None for tile in columns["truth"]):
        del columns["truth"]
    return _drawn(columns, _legend(rows, classes, colours))


def image_picture(image: Tensor, *, longest_side: int) -> Image.Image:
    """The image, uint8 (3, H, W), shrunk where a side is longer."""
    return _tile(_pixels(image), smooth=True, sides=(0, longest_side))


def label_picture(ids: Tensor, classes: ClassTable, *, longest_side: int) -> Image.Image:
    """The labels (H, W) in their classes' colours, shrunk where a side is longer; ignored pixels are black."""
    return _tile(_coloured(ids, classes.colours), sides=(0, longest_side))


def _pixels(image: Tensor) -> Pixels:
    pixels: Pixels = image.cpu().permute(1, 2, 0).numpy()
    return pixels


def _coloured(ids: Tensor, colours: Pixels) -> Pixels:
    """Colours (H, W, 3) of the ids, black where ignored."""
    black = np.zeros((1, 3), np.uint8)
    table: Pixels = np.concatenate([black, colours])
    labels = ids.cpu().numpy()
    return table[np.where(labels == IGNORE_INDEX, 0, labels + 1)]


def label_sheet(rows: Sequence[LabelledRow], classes: ClassTable) -> Image.Image:
    """A sheet on which a person sees whether labels belong to their images: nine rows are below 4,000 pixels.

    Each row is (caption, image uint8 (3, H, W), ids int64 (H, W)), and shows the image, the labels over it, the
    labels alone, and the names and colours of its classes with their share of the pixels, the largest first.
    Ignored pixels are black, and bare over the image. Raises ValueError if there is no row.
    """
    if not rows:
        raise ValueError("a sheet of labels needs at least one row")
    colours = classes.colours
    lines = []
    for caption, image, ids in rows:
        overlay = colour_overlay(image, ids, colours)
        tiles = [
            _tile(_pixels(image), smooth=True, sides=_LABELLED_TILE_SIDE),
            _tile(overlay, smooth=True, sides=_LABELLED_TILE_SIDE),
            _tile(_coloured(ids, colours), sides=_LABELLED_TILE_SIDE),
        ]
        room = max(_FEWEST_ENTRIES, (tiles[0].height - _SWATCH) // _LEGEND_HEIGHT + 1)
        lines.append((caption, tiles, class_shares(ids, classes, colours, entries=room)))

    width = max(sum(tile.width + _GAP for tile in tiles) for _, tiles, _ in lines)
    heights = [
        _CAPTION_HEIGHT + max(tiles[0].height, len(legend) * _LEGEND_HEIGHT) + _GAP for _, tiles, legend in lines
    ]
    sheet = Image.new("RGB", (width + _SIDE_LEGEND_WIDTH + 2 * _MARGIN, sum(heights) + 2 * _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _MARGIN
    for (caption, tiles, legend), height in zip(lines, heights, strict=True):
        font = lettering(15)
        draw.text((_MARGIN, top), cut_text(caption, width, font), fill=_INK, font=font)
        left, below = _MARGIN, top + _CAPTION_HEIGHT
        for tile in tiles:
            sheet.paste(tile, (left, below))
            left += tile.width + _GAP
        for line, (name, colour) in enumerate(legend):
            _entry(draw, name, colour, left=left + _GAP, top=below + line * _LEGEND_HEIGHT, width=_SIDE_LEGEND_WIDTH)
        top += height
    return sheet


def class_shares(
    ids: Tensor, classes: ClassTable, colours: Pixels, *, entries: int
) -> list[tuple[str, tuple[int, ...] | None]]:
    """Line and colour for each class of labels (H, W), the largest first; the last line counts those without room."""
    labels = ids.cpu().numpy()
    counts = np.bincount(labels[labels != IGNORE_INDEX], minlength=classes.num_classes)
    order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
    legend: list[tuple[str, tuple[int, ...] | None]] = [
        (f"{_percent(counts[index] / labels.size)}  {classes.names[index]}", tuple(colours[index].tolist()))
        for index in order
    ]
    if counts.sum() < labels.size:
        legend.append((f"{_percent(1 - counts.sum() / labels.size)}  ignored", (0, 0, 0)))
    if len(legend) > entries:
        legend[entries - 1 :] = [(f"and {len(legend) - entries + 1} more", None)]
    return legend


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "< 1%"


def _tile(pixels: Pixels, *, smooth: bool = False, sides: tuple[int, int] = _TILE_SIDE) -> Image.Image:
    """The picture, enlarged by a whole number if it is tiny, shrunk if it is huge."""
    tile = Image.fromarray(pixels)
    smallest, largest = sides
    side = max(tile.size)
    factor = -(-smallest // side) if side < smallest else min(1.0, largest / side)
    size = (max(1, round(tile.width * factor)), max(1, round(tile.height * factor)))
    shrink_smoothly = smooth and factor < 1
    return tile.resize(size, Image.Resampling.LANCZOS if shrink_smoothly else Image.Resampling.NEAREST)


def _legend(rows: Sequence[Row], classes: ClassTable, colours: Pixels) -> list[tuple[str, tuple[int, ...]]]:
    """Name and colour of the classes present, the most frequent first."""
    counts = np.zeros(classes.num_classes, np.int64)
    for _, truth, predicted in rows:
        for ids in (predicted, truth):
            if ids is not None:
                labels = ids.cpu().numpy()
                counts += np.bincount(labels[labels != IGNORE_INDEX], minlength=len(counts))
    order = np.argsort(-counts, kind="stable")[:_LEGEND_ENTRIES]
    return [(classes.names[index], tuple(colours[index].tolist())) for index in order if counts[index] > 0]


def _drawn(columns: dict[str, list[Image.Image | None]], legend: list[tuple[str, tuple[int, ...]]]) -> Image.Image:
    known = {title: [tile for tile in tiles if tile is not None] for title, tiles in columns.items()}
    widths = [max(tile.width for tile in tiles) for tiles in known.values()]
    heights = [max(tile.height for tile in row if tile is not None) for row in zip(*columns.values(), strict=True)]
    inner = sum(widths) + _GAP * (len(widths) - 1)
    per_line = max(1, inner // _LEGEND_WIDTH)
    legend_lines = -(-len(legend) // per_line)
    tiles_end = _MARGIN + _TITLE_HEIGHT + sum(heights) + _GAP * (len(heights) - 1)
    height = tiles_end + _MARGIN + (legend_lines * _LEGEND_HEIGHT + _MARGIN if legend else 0)
    sheet = Image.new("RGB", (inner + 2 * _MARGIN, height), _PAPER)
    draw = ImageDraw.Draw(sheet)

    left = _MARGIN
    for (title, tiles), width in zip(columns.items(), widths, strict=True):
        draw.text((left, _MARGIN), title, fill=_INK, font=lettering(16))
        top = _MARGIN + _TITLE_HEIGHT
        for tile, row_height in zip(tiles, heights, strict=True):
            if tile is None:
                draw.rectangle((left, top, left + width - 1, top + row_height - 1), fill=_NOTHING)
            else:
                sheet.paste(tile, (left, top))
            top += row_height + _GAP
        left += width + _GAP

    for entry, (name, colour) in enumerate(legend):
        line, place = divmod(entry, per_line)
        left, top = _MARGIN + place * (inner // per_line), tiles_end + _MARGIN + line * _LEGEND_HEIGHT
        _entry(draw, name, colour, left=left, top=top, width=inner // per_line)
    return sheet


def _entry(
    draw: ImageDraw.ImageDraw, name: str, colour: tuple[int, ...] | None, *, left: int, top: int, width: int
) -> None:
    """One line of a legend; without a colour only its text."""
    font = lettering(13)
    if colour is not None:
        draw.rectangle((left, top, left + _SWATCH, top + _SWATCH), fill=colour)
    text = cut_text(name, width - _SWATCH - 14, font)
    draw.text((left + _SWATCH + 6, top + _SWATCH / 2), text, fill=_INK, font=font, anchor="lm")


def cut_text(text: str, room: int, font: ImageFont.FreeTypeFont) -> str:
    """The text, shortened with an ellipsis until it is at most `room` pixels wide."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text.rstrip() + "..."
