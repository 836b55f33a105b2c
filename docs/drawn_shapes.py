"""Draws a small data set for the tutorial: coloured shapes on paper, as somebody's own folder of images might look.

python docs/drawn_shapes.py my_data
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("paper", "disc", "ring", "square", "triangle", "cross", "star")
SIZES = ((160, 120), (128, 160))
"""Width and height of landscape and portrait pictures."""
NAMES = ("Bild {0} (Küche).JPG", "IMG_{0:04}.jpeg", "scan.{0}.jpg")
IGNORED = 255
SHARPER = 4
"""Shapes are drawn this much larger and made smaller afterwards, so that edges are smooth."""

Pen = ImageDraw.ImageDraw
Box = tuple[float, float, float]


def draw_data_set(root: Path, *, num_images: dict[str, int], seed: int = 0) -> Path:
    """Write images, masks and classes.txt as a `folder` data set, whose root is returned."""
    for split, count in num_images.items():
        draw = random.Random(f"{seed} {split}")
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            image, mask = _scene(draw, SIZES[number % len(SIZES)])
            name = NAMES[number % len(NAMES)].format(number)
            image.save(root / "images" / split / name, format="jpeg", quality=90)
            mask.save((root / "masks" / split / name).with_suffix(".png"))
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    return root


def _scene(draw: random.Random, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """An image of a few shapes, and its labels with a palette."""
    width, height = size
    large = (width * SHARPER, height * SHARPER)
    image = Image.new("RGB", large, _colour(draw, 190, 255))
    ids = Image.new("L", large, 0)
    for _ in range(draw.randint(3, 6)):
        kind = draw.randrange(1, len(CLASSES))
        radius = draw.uniform(0.12, 0.22) * min(large)
        box = (draw.uniform(radius, large[0] - radius), draw.uniform(radius, large[1] - radius), radius)
        _shape(ImageDraw.Draw(image), kind, box, _colour(draw, 0, 170))
        _shape(ImageDraw.Draw(ids), kind, box, kind)
    mask = ids.resize(size, Image.Resampling.NEAREST)
    # As people label: nothing is said of the pixels along the edge of the picture.
    ImageDraw.Draw(mask).rectangle((0, 0, width - 1, height - 1), outline=IGNORED)
    mask = mask.convert("P")
    mask.putpalette([(37 * entry + shift) % 256 for entry in range(256) for shift in (0, 85, 170)])
    return image.resize(size, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.5)), mask


def _colour(draw: random.Random, low: int, high: int) -> tuple[int, int, int]:
    return draw.randint(low, high), draw.randint(low, high), draw.randint(low, high)


def _shape(pen: Pen, kind: int, box: Box, fill: int | tuple[int, int, int]) -> None:
    x, y, r = box
    shapes: dict[str, Callable[[], None]] = {
        "disc": lambda: pen.ellipse((x - r, y - r, x + r, y + r), fill=fill),
        "ring": lambda: pen.ellipse((x - r, y - r, x + r, y + r), outline=fill, width=int(r * 0.35)),
        "square": lambda: pen.rectangle((x - r, y - r, x + r, y + r), fill=fill),
        "triangle": lambda: pen.polygon(_corners(x, y, (r, r, r)), fill=fill),
        "cross": lambda: _cross(pen, box, fill),
        "star": lambda: pen.polygon(_corners(x, y, (r, r * 0.4) * 5), fill=fill),
    }
    shapes[CLASSES[kind]]()


def _cross(pen: Pen, box: Box, fill: int | tuple[int, int, int]) -> None:
    x, y, r = box
    arm = r * 0.3
    pen.rectangle((x - r, y - arm, x + r, y + arm), fill=fill)
    pen.rectangle((x - arm, y - r, x + arm, y + r), fill=fill)


def _corners(x: float, y: float, radii: tuple[float, ...]) -> list[tuple[float, float]]:
    angles = [2 * math.pi * corner / len(radii) - math.pi / 2 for corner in range(len(radii))]
    return [(x + r * math.cos(angle), y + r * math.sin(angle)) for r, angle in zip(radii, angles, strict=True)]


if __name__ == "__main__":
    draw_data_set(Path(sys.argv[1]), num_images={"train": 80, "val": 24})
