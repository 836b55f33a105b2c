from __future__ import annotations

import io
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_masks

from essnet.coco_lvis.painting import MALFORMED, Canvas, covered, paint, read_counts, to_png_rows
from essnet.coco_lvis.png import encode_png16
from tests.coco_lvis.oracle import compressed_counts, expand, plain_counts

pictures = st.integers(1, 40).flatmap(
    lambda height: st.integers(1, 40).flatmap(
        lambda width: st.tuples(st.integers(0, 2**32 - 1), st.just((height, width)), st.sampled_from([0.02, 0.5, 1.0]))
    )
)


def decompress(text: str | bytes) -> list[int] | None:
    characters = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8)
    counts = np.empty(len(characters), np.int64)
    found = read_counts(characters, counts)
    return None if found == MALFORMED else counts[:found].tolist()


@settings(deadline=None)  # the first call compiles
@given(pictures)
def test_compressed_runs_are_read_as_pycocotools_writes_them(picture: tuple[int, tuple[int, int], float]) -> None:
    seed, size, share = picture
    inside = np.random.default_rng(seed).random(size) < share
    assert decompress(compressed_counts(inside)) == plain_counts(inside)


@pytest.mark.parametrize("counts", [[0, 10**6], [2**29, 1, 2**29], [7, 0, 0, 3, 10**5, 1]])
def test_large_and_empty_runs_are_read(counts: list[int]) -> None:
    runs = coco_masks.frPyObjects({"size": [sum(counts), 1], "counts": counts}, sum(counts), 1)
    assert decompress(runs["counts"]) == counts


# Cut in the middle of a number; not of the alphabet; below zero; longer than any picture.
@pytest.mark.parametrize("text", [b"P", b"0P", b" ", b"0\xff", b"O", b"1111N", b"oooooooo1"])
def test_what_is_no_run_lengths_is_malformed(text: bytes) -> None:
    assert decompress(text) is None


def test_no_text_is_no_runs() -> None:
    assert decompress(b"") == []


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([12], 0), ([0, 12], 12), ([3, 4, 5], 4), ([11], MALFORMED), ([3, 10], MALFORMED), ([-1, 13], MALFORMED)],
)
def test_covered_pixels_are_counted_and_lengths_checked(counts: list[int], expected: int) -> None:
    assert covered(np.array(counts, np.int64), 12) == expected


def test_lengths_that_overflow_are_malformed() -> None:
    assert covered(np.array([2**62, 2**62, 2**62, 2**62, 12], np.int64), 12) == MALFORMED


def test_the_last_painted_lies_on_top() -> None:
    columns = np.zeros(10, np.uint16)
    layers: Sequence[tuple[list[int], int]] = [([0, 10], 7), ([2, 5, 3], 1284), ([4, 1, 1, 2, 2], 0)]
    expected = np.zeros(10, np.uint16)
    for counts, class_id in layers:
        paint(columns, np.array(counts, np.int64), class_id)
        expected[expand(counts)] = class_id
    assert columns.tolist() == expected.tolist() == [7, 7, 1284, 1284, 0, 1284, 0, 0, 7, 7]


@settings(deadline=None)  # the first call compiles
@given(pictures)
def test_a_png_holds_the_mask_and_the_counts_are_those_of_its_pixels(
    picture: tuple[int, tuple[int, int], float],
) -> None:
    seed, (height, width), share = picture
    rng = np.random.default_rng(seed)
    values = np.array([0, 1, 255, 256, 257, 511, 1284, 65535])
    mask = np.where(rng.random((height, width)) < share, rng.choice(values, (height, width)), 3).astype(np.uint16)
    canvas = Canvas()
    canvas.rows(50, 50).fill(99)  # what was there does not matter
    canvas.blank(50, 50).fill(7)
    columns, rows = canvas.blank(height, width), canvas.rows(height, width)
    columns[: mask.size] = mask.T.ravel()
    pixels = np.zeros(65536, np.int64)
    to_png_rows(columns, rows, pixels)
    content = encode_png16(rows)
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    with Image.open(io.BytesIO(content)) as image:
        assert (image.mode, image.size) == ("I;16", (width, height))
        assert np.array_equal(np.array(image), mask)
    assert np.array_equal(pixels, np.bincount(mask.ravel(), minlength=65536))


def test_a_png_is_what_the_standard_says() -> None:
    mask = np.array([[1, 1284], [1, 2]], np.uint16)
    rows = np.empty((2, 5), np.uint8)
    to_png_rows(mask.T.copy().ravel(), rows, np.zeros(1285, np.int64))
    content = encode_png16(rows)
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    kinds = []
    position = 8
    while position < len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        kind, data = content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        assert int.from_bytes(content[position + 8 + length :][:4], "big") == zlib.crc32(kind + data)
        kinds.append((kind, data))
        position += 12 + length
    assert [kind for kind, _ in kinds] == [b"IHDR", b"IDAT", b"IEND"]
    assert kinds[0][1] == bytes([0, 0, 0, 2, 0, 0, 0, 2, 16, 0, 0, 0, 0])
    # Filter 2 is the difference to the row above, bytewise: 1284 is 5 * 256 + 4, and 2 - 1284 is -5 and -2.
    assert list(zlib.decompress(kinds[1][1])) == [2, 0, 1, 5, 4, 2, 0, 0, 251, 254]
