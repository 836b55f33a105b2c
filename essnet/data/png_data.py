"""Whether the data of a PNG go to its last row: Pillow fills the rest with zeros, and says nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from zlib_ng import zlib_ng

from essnet.data.plain_png import png_chunks

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced picture: first column and row, and how many on the next ones are."""
_PART_BYTES = 1 << 20


def png_ends_early(content: bytes) -> bool:
    """Whether the rows of a PNG, of which `content` is the file, are fewer than its header says."""
    chunks = list(png_chunks(content))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        return True
    expected = sum(_row_bytes(chunks[0][1]))
    data = b"".join(data for kind, data in chunks if kind == b"IDAT")
    decompressor = zlib_ng.decompressobj()
    found = 0
    while found < expected:
        try:
            part = len(decompressor.decompress(data, _PART_BYTES))
        except Exception:  # zlib_ng.error, which its stub does not call a class
            return True
        if part == 0:
            return True
        found += part
        data = decompressor.unconsumed_tail
    return False


def _row_bytes(header: bytes) -> Iterator[int]:
    """Yield how many bytes the rows of each pass take; a picture that is not interlaced has one pass."""
    width, height, bits, colour, _, _, is_interlaced = struct.unpack(">IIBBBBB", header)
    for left, top, right, down in _PASSES if is_interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            yield rows * (1 + -(-columns * bits * _CHANNELS[colour] // 8))
