"""PNGs whose data end early, of every kind, against how many rows were written."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from essnet.config import InputError
from essnet.data.image_files import read_image, read_mask_ids
from essnet.data.png_data import png_ends_early

WIDTH, HEIGHT = 21, 13


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*, bits: int, colour: int, data: bytes, interlace: int = 0, blocks: int = 1) -> bytes:
    """A PNG of `data`, rows with a zero byte before each."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, interlace)
    palette = chunk(b"PLTE", bytes(range(48))) if colour == 3 else b""
    deflated = zlib.compress(data)
    parts = [
        deflated[begin : begin + -(-len(deflated) // blocks)]
        for begin in range(0, len(deflated), -(-len(deflated) // blocks))
    ]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + palette
        + b"".join(chunk(b"IDAT", part) for part in parts)
        + chunk(b"IEND", b"")
    )


def row_bytes(bits: int, channels: int, width: int = WIDTH) -> int:
    return 1 + -(-width * bits * channels // 8)


def rows(size: int, number: int) -> bytes:
    """Rows that are zero nowhere but in the byte before them."""
    return b"".join(b"\0" + bytes([1] * (size - 1)) for _ in range(number))


KINDS = [(1, 0, 1), (2, 0, 1), (4, 0, 1), (8, 0, 1), (16, 0, 1), (8, 2, 3), (16, 2, 3), (1, 3, 1), (4, 3, 1), (8, 3, 1),
         (8, 4, 2), (8, 6, 4)]  # fmt: skip


@pytest.mark.parametrize(("bits", "colour", "channels"), KINDS)
def test_a_row_less_is_noticed(bits: int, colour: int, channels: int, tmp_path: Path) -> None:
    size = row_bytes(bits, channels)
    path = tmp_path / "a.png"
    read = read_mask_ids if colour in (0, 3) else read_image
    for number, blocks in ((HEIGHT, 1), (HEIGHT, 3), (HEIGHT + 1, 1)):  # more than is needed is passed over
        content = png(bits=bits, colour=colour, data=rows(size, number), blocks=blocks)
        assert not png_ends_early(content)
        path.write_bytes(content)
        assert read(path).shape[:2] == (HEIGHT, WIDTH)
    for data in (rows(size, HEIGHT)[:-1], rows(size, HEIGHT - 1), rows(size, 1), b"\0"):
        content = png(bits=bits, colour=colour, data=data)
        assert png_ends_early(content)
        path.write_bytes(content)
        reason = r"\((its data end early|image file is truncated.*)\)"  # the latter within a row
        with pytest.raises(InputError, match=rf"^{path}: cannot be read as an image {reason}$"):
            read(path)


def test_a_row_less_of_an_interlaced_picture_is_noticed(tmp_path: Path) -> None:
    passes = [
        np.zeros((HEIGHT, WIDTH))[top::down, left::right].shape
        for left, top, right, down in (
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        )
    ]
    data = b"".join(rows(row_bytes(8, 3, width), height) for height, width in passes if height and width)
    path = tmp_path / "a.png"
    path.write_bytes(png(bits=8, colour=2, data=data, interlace=1))
    assert (read_image(path) == 1).all()
    path.write_bytes(png(bits=8, colour=2, data=data[: -row_bytes(8, 3)], interlace=1))
    with pytest.raises(InputError, match=r"its data end early"):
        read_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_picture_that_is_black_at_its_end_is_whole(mode: str, tmp_path: Path) -> None:
    pixels = np.ones((HEIGHT, WIDTH), np.uint16 if mode == "I;16" else np.uint8)
    pixels[-3:] = 0
    path = tmp_path / "a.png"
    picture = Image.fromarray(pixels)
    (picture if mode == "I;16" else picture.convert(mode)).save(path)
    assert read_image(path).shape == (HEIGHT, WIDTH, 3)


def test_no_png_and_a_damaged_one_end_early() -> None:
    file = io.BytesIO()
    Image.new("L", (WIDTH, HEIGHT)).save(file, "png")
    content = file.getvalue()
    assert not png_ends_early(content)
    place = content.index(b"IDAT") + 6
    for wrong in (b"", b"no picture", content[:40], content[:place] + b"\xff\xff" + content[place + 2 :]):
        assert png_ends_early(wrong)
