"""The PNGs that need no decoder: 8-bit grey or palette, rows stored as they are, as Pascal VOC's labels."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3
_MOST_PIXELS = 1 << 25
"""Beyond these the general reader decides, which knows what is no picture but an attack."""


def read_plain_png(content: bytes) -> npt.NDArray[np.uint8] | None:
    """The grey values or palette indices (H, W) of a file's content; None for any other file, and a damaged one.

    Such a PNG is a header and a deflated block. That takes a third of the time of a general reader, which has to be
    asked where this one says None.
    """
    chunks = list(png_chunks(content))
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1] != (b"IEND", b"") or len(chunks[0][1]) != 13:
        return None
    kinds = [kind for kind, _ in chunks]
    width, height, bits, colour, *methods = struct.unpack(">IIBBBBB", chunks[0][1])
    if bits != 8 or colour not in (_GREY, _PALETTE) or any(methods) or not 0 < width * height <= _MOST_PIXELS:
        return None
    first, blocks = kinds.index(b"IDAT") if b"IDAT" in kinds else 0, kinds.count(b"IDAT")
    if kinds.count(b"IHDR") != 1 or kinds[first : first + blocks] != [b"IDAT"] * blocks:
        return None
    if b"acTL" in kinds or (colour == _PALETTE and b"PLTE" not in kinds):
        return None
    decompressor = zlib_ng.decompressobj()
    size = height * (1 + width)
    try:
        rows = decompressor.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT"), size + 1)
    except Exception:  # zlib_ng.error, which its stub does not call a class
        return None
    if len(rows) != size or not decompressor.eof:
        return None
    filtered = np.frombuffer(rows, np.uint8).reshape(height, 1 + width)
    if filtered[:, 0].any():  # a row that is stored as differences
        return None
    return np.ascontiguousarray(filtered[:, 1:])


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of each chunk, up to the first that is cut off or whose checksum is wrong."""
    if not content.startswith(_SIGNATURE):
        return
    place = len(_SIGNATURE)
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        end = place + 8 + length
        if zlib_ng.crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return
        kind = content[place + 4 : place + 8]
        yield kind, content[place + 8 : end]
        if kind == b"IEND":
            return
        place = end + 4
