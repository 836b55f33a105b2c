"""The names of classes below a picture, in columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

from PIL import ImageDraw, ImageFont

from essnet.data.lettering import lettering
from essnet.data.pictures import cut_text

Entry: TypeAlias = tuple[str, tuple[int, ...] | None]
"""A text, and the colour before it, where it has one."""

_INK, _FAINT = (40, 40, 40), (185, 185, 185)
_LEAST_FONT, _WIDTH_PER_FONT = 13, 70
# In units of the font's size.
_ENTRY_WIDTH, _LINE_HEIGHT, _SWATCH = 15, 1.7, 1.0


class LegendGrid:
    """The places of a legend's entries below something `width` pixels wide, whose font is that for `image_width`."""

    def __init__(self, *, image_width: int, width: int) -> None:
        self._font = font_for(image_width)
        self.entry_width = round(self._font.size * _ENTRY_WIDTH)
        """Of a column; what is narrower has to be widened."""
        self.line_height = line_height(self._font)
        self.columns = max(1, width // self.entry_width)
        self._width = max(width, self.entry_width)

    def height(self, entries: int) -> int:
        """Return that of so many entries, without margins."""
        return self.line_height * -(-entries // self.columns)

    def draw(
        self, draw: ImageDraw.ImageDraw, entries: Sequence[Entry], *, top: int, faint: Collection[int] = ()
    ) -> None:
        """Draw entries row by row, below `top` and a margin; those whose places are `faint` in grey."""
        swatch = round(self._font.size * _SWATCH)
        margin = self.line_height // 2
        for number, (name, colour) in enumerate(entries):
            row, place = divmod(number, self.columns)
            left, upper = margin + place * (self._width // self.columns), top + margin + row * self.line_height
            ink = _FAINT if number in faint else _INK
            if colour is not None:
                fill = None if number in faint else colour
                draw.rectangle((left, upper, left + swatch, upper + swatch), fill=fill, outline=ink)
            text = cut_text(name, self.entry_width - 3 * swatch, self._font)
            draw.text((left + 1.6 * swatch, upper + swatch / 2), text, fill=ink, font=self._font, anchor="lm")


def font_for(image_width: int) -> ImageFont.FreeTypeFont:
    """Return a font that can be read when the whole image is looked at."""
    return lettering(max(_LEAST_FONT, image_width // _WIDTH_PER_FONT))


def line_height(font: ImageFont.FreeTypeFont) -> int:
    """Return how far apart two lines are."""
    return round(font.size * _LINE_HEIGHT)
