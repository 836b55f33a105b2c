"""The letters in pictures: names of files and classes are in any language."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont


@lru_cache
def lettering(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans in a size in pixels: Latin with its accents, Greek, Cyrillic; not Chinese.

    Pillow's own font has no letters beyond English. This one comes with matplotlib, which is not imported for it.
    """
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return ImageFont.truetype(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", size)
