"""Pictures of a prediction for people: the classes over the image with a legend, and how sure they are."""

from __future__ import annotations

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from essnet.data.class_table import ClassTable
from essnet.data.legend_grid import LegendGrid, font_for, line_height
from essnet.data.pictures import Pixels, class_shares, colour_overlay

_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_ENTRIES = 48

# Its lightness rises evenly, and it is made to look the same to the colour-blind.
_COLOUR_MAP = "cividis"


def overlay_picture(
    image: Pixels, ids: npt.NDArray[np.integer], classes: ClassTable, *, side_by_side: bool = False
) -> Image.Image:
    """The classes' colours over an image, and below it their names and shares of the pixels, the largest first.

    The overlay is as large as the image, (H, W, 3) uint8, and begins at the top left; `side_by_side` puts the image
    itself there, and the overlay to its right. `ids` are class indices (H, W).
    """
    shown = shown_overlay(image, ids, classes, side_by_side=side_by_side)
    legend = class_shares(torch.from_numpy(ids.astype(np.int64)), classes, classes.colours, entries=_ENTRIES)
    grid = LegendGrid(image_width=image.shape[1], width=shown.shape[1])
    sheet = sheet_with_room(
        shown, height=grid.height(len(legend)), width=grid.entry_width, margin=grid.line_height // 2
    )
    grid.draw(ImageDraw.Draw(sheet), legend, top=shown.shape[0])
    return sheet


def shown_overlay(image: Pixels, ids: npt.NDArray[np.integer], classes: ClassTable, *, side_by_side: bool) -> Pixels:
    """The classes' colours over an image, which `side_by_side` puts to their left: (H, W or 2 W, 3) uint8."""
    labels = torch.from_numpy(ids.astype(np.int64))
    overlay = colour_overlay(torch.from_numpy(np.array(image)).permute(2, 0, 1), labels, classes.colours)
    return np.concatenate([image, overlay], axis=1) if side_by_side else overlay


def uncertainty_picture(values: npt.NDArray[np.float32], *, caption: str, most: float) -> Image.Image:
    """Values (H, W) as colours, 0 dark blue, `most` and above yellow, and below them a scale with a caption."""
    colours = matplotlib.colormaps[_COLOUR_MAP](np.linspace(0, 1, 256), bytes=True)[:, :3]
    shown = colours[(np.clip(np.nan_to_num(values, nan=most) / most, 0, 1) * 255).round().astype(np.uint8)]
    font = font_for(shown.shape[1])
    line = line_height(font)
    width = round(max(font.getlength(caption), 20 * font.size)) + line
    sheet = sheet_with_room(shown, height=3 * line, width=width, margin=line // 2)
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


def sheet_with_room(picture: npt.NDArray[np.uint8], *, height: int, width: int, margin: int) -> Image.Image:
    """A sheet with the picture at its top left, and room below it: at least `width`, and `height` and two margins."""
    rows, columns = picture.shape[:2]
    sheet = Image.new("RGB", (max(columns, width), rows + height + 2 * margin), _PAPER)
    sheet.paste(Image.fromarray(picture), (0, 0))
    return sheet
