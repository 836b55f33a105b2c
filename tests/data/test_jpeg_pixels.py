"""JPEGs by libjpeg-turbo, against Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from essnet.config import InputError
from essnet.data.image_files import read_image
from essnet.data.image_regions import read_region
from essnet.data.jpeg_pixels import is_plain_jpeg, jpeg_pixels

HEIGHT, WIDTH = 61, 83
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, "jpeg", **options)
    return file.getvalue()


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}])
def test_pixels_are_those_of_pillow_at_every_size(mode: str, options: dict[str, object], reduction: int) -> None:
    content = jpeg(mode, **options)
    with Image.open(io.BytesIO(content)) as image:
        assert is_plain_jpeg(image)
        if reduction > 1:
            image.draft(image.mode, (WIDTH // reduction, HEIGHT // reduction))
        expected = np.array(image.convert("RGB"))
    found = jpeg_pixels(content, size=(-(-HEIGHT // reduction), -(-WIDTH // reduction)))
    assert found is not None
    assert np.array_equal(found, expected)


def test_other_pictures_are_not_plain() -> None:
    png = io.BytesIO()
    Image.fromarray(PIXELS).save(png, "png")
    for content in (jpeg("CMYK"), png.getvalue()):
        with Image.open(io.BytesIO(content)) as image:
            assert not is_plain_jpeg(image)


def test_what_the_decoder_would_warn_of_is_left_to_others() -> None:
    content = jpeg()
    for odd in (b"no picture", content[:-400], content[:-2] + b"\0\0" + content[-2:]):
        assert jpeg_pixels(odd, size=(HEIGHT, WIDTH)) is None


@pytest.mark.parametrize("part", [0.4, 0.7, 0.95])
def test_data_that_end_early_are_refused_at_every_size(part: float, tmp_path: Path) -> None:
    """The end mark comes too early: the file is whole, as far as its parts tell."""
    content = jpeg()
    path = tmp_path / "a.jpg"
    path.write_bytes(content[: int(part * len(content))] + b"\xff\xd9")
    with Image.open(path) as image:
        image.load()  # Pillow takes it
    message = rf"^{path}: cannot be read as an image \(.*premature end of data segment\)$"
    with pytest.raises(InputError, match=message):
        read_image(path)
    for size in ((HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2), (HEIGHT // 8, WIDTH // 8)):
        with pytest.raises(InputError, match=message):
            read_region(path, (slice(0, HEIGHT), slice(0, WIDTH)), size=size, mask_size=(HEIGHT, WIDTH))
