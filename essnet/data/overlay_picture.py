"""Pictures of a prediction for people: the classes over the image with a legend, and how sure they are."""

from __future__ import annotations

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from essnet.data.class_table import ClassTable
from essnet.data.pictures import Pixels, class_shares, colour_overlay, cut_text

_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_LEAST_FONT, _WIDTH_PER_FONT = 13, 70
_ENTRIES = 48
# Of a legend, in units of the font's size.
_ENTRY_WIDTH, _LINE_HEIGHT, _SWATCH = 15, 1.7, 1.0

# Its lightness rises evenly, and it is made to look the same to the colour-blind.
_COLOUR_MAP = "cividis"


def overlay_picture(
    image: Pixels, ids: npt.NDArray[np.integer], classes: ClassTable, *, side_by_side: bool = False
) -> Image.Image:
    """The classes' colours over an image, and below it their names and shares of the pixels, the largest first.

    The overlay is as large as the image, (H, W, 3) uint8, and begins at the top left; `side_by_side` puts the image
    itself there, and the overlay to its right. `ids` are class indices (H, W).
    """
    labels = torch.from_numpy(ids.astype(np.int64))
    overlay = colour_overlay(torch.from_numpy(np.array(image)).permute(2, 0, 1), labels, classes.colours)
    shown = np.concatenate([image, overlay], axis=1) if side_by_side else overlay
    font = _font_for(image)
    legend = class_shares(labels, classes, classes.colours, entries=_ENTRIES)
    line, column = round(font.size * _LINE_HEIGHT), round(font.size * _ENTRY_WIDTH)
    columns = max(1, shown.shape[1] // column)
    sheet = _below(shown, height=line * -(-len(legend) // columns), width=column, margin=line // 2)
    draw = ImageDraw.Draw(sheet)
    swatch = round(font.size * _SWATCH)
    for number, (name, colour) in enumerate(legend):
        row, place = divmod(number, columns)
        left, top = line // 2 + place * (sheet.width // columns), shown.shape[0] + line // 2 + row * line
        if colour is not None:
            draw.rectangle((left, top, left + swatch, top + swatch), fill=colour, outline=_INK)
        text = cut_text(name, column - 3 * swatch, font)
        draw.text((left + 1.6 * swatch, top + swatch / 2), text, fill=_INK, font=font, anchor="lm")
    return sheet


def uncertainty_picture(values: npt.NDArray[np.float32], *, caption: str, most: float) -> Image.Image:
    """Values (H, W) as colours, 0 dark blue, `most` and above yellow, and below them a scale with a caption."""
    colours = matplotlib.colormaps[_COLOUR_MAP](np.linspace(0, 1, 256), bytes=True)[:, :3]
    shown = colours[(np.clip(np.nan_to_num(values, nan=most) / most, 0, 1) * 255).round().astype(np.uint8)]
    font = _font_for(shown)
    line = round(font.size * _LINE_HEIGHT)
    width = round(max(font.getlength(caption), 20 * font.size)) + line
    sheet = _below(shown, height=3 * line, width=width, margin=line // 2)
    draw = ImageDraw.Draw(sheet)
    left, top = line // 2, shown.shape[0] + line // 2
    draw.text((left, top), caption, fill=_INK, font=font)
    length = width - line
    bar = Image.fromarray(colours[None].copy()).resize((length, round(font.size)), Image.Resampling.BILINEAR)
    sheet.paste(bar, (left, top + line))
    for share, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        place = (left + share * length, top + line + 1.2 * font.size)
        draw.text(place, f"{share * most:.2g}", fill=_INK, font=font, anchor=anchor)
    return sheet


def _font_for(image: npt.NDArray[np.uint8]) -> ImageFont.FreeTypeFont:
    """A font that can be read when the whole image is looked at."""
    font = ImageFont.load_default(max(_LEAST_FONT, image.shape[1] // _WIDTH_PER_FONT))
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _below(picture: npt.NDArray[np.uint8], *, height: int, width: int, margin: int) -> Image.Image:
    """A sheet with the picture at its top left, and room below it: at least `width`, and `height` and two margins."""
    rows, columns = picture.shape[:2]
    sheet = Image.new("RGB", (max(columns, width), rows + height + 2 * margin), _PAPER)
    sheet.paste(Image.fromarray(picture), (0, 0))
    return sheet
