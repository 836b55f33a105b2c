"""PNGs that are read without a decoder, against Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from essnet.data.plain_png import read_plain_png

IDS = np.random.default_rng(0).integers(256, size=(13, 17)).astype(np.uint8)


def png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "png", **options)
    return file.getvalue()


def palette(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids).convert("P")
    image.putpalette(np.random.default_rng(1).integers(256, size=768).tolist())
    return image


def test_palette_indices_are_read() -> None:
    found = read_plain_png(png(palette(IDS), transparency=0))
    assert found is not None
    assert found.flags.writeable
    assert found.flags.c_contiguous
    assert np.array_equal(found, IDS)


def test_a_block_in_several_chunks_is_one() -> None:
    large = np.random.default_rng(0).integers(256, size=(400, 500)).astype(np.uint8)
    content = png(palette(large))
    assert content.count(b"IDAT") > 1
    assert np.array_equal(read_plain_png(content), large)


@pytest.mark.parametrize(
    "content",
    [
        png(Image.fromarray(np.arange(240, dtype=np.uint8).reshape(12, 20))),  # rows stored as differences
        png(palette(IDS % 4), bits=2),
        png(Image.fromarray(IDS.astype(np.uint16) * 200)),
        png(palette(IDS).convert("RGB")),
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
    ],
)
def test_other_files_are_left_to_the_decoder(content: bytes) -> None:
    assert read_plain_png(content) is None


def test_an_impossible_order_of_chunks_is_left_to_the_decoder() -> None:
    content = png(palette(IDS))
    header, first_block = content[8:33], content.index(b"IDAT") - 4
    assert read_plain_png(content[:33] + header + content[33:]) is None
    large = png(palette(np.random.default_rng(0).integers(256, size=(400, 500)).astype(np.uint8)))
    second_block = large.index(b"IDAT", large.index(b"IDAT") + 4) - 4
    between = content[33:first_block]  # the palette once more
    assert read_plain_png(large[:second_block] + between + large[second_block:]) is None


def test_no_damage_goes_unseen() -> None:
    content = png(palette(IDS))
    for length in range(len(content)):
        assert read_plain_png(content[:length]) is None
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        assert read_plain_png(bytes(damaged)) is None
