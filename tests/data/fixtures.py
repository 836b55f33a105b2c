"""Small folder data sets in the official layout, and files that are wrong in one way each."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def make_folder_dataset(
    path: Path,
    *,
    splits: tuple[str, ...] = ("train", "val"),
    num_images: int = 3,
    size: tuple[int, int] = (12, 16),
    num_classes: int = 4,
    suffix: str = ".png",
    seed: int = 0,
) -> Path:
    """Write a data set whose image pixels encode the class (grey level 20 + 40 * class); returns its root."""
    rng = np.random.default_rng(seed)
    for split in splits:
        for kind in ("images", "masks"):
            (path / kind / split).mkdir(parents=True)
        for number in range(num_images):
            ids = rng.integers(num_classes, size=size).astype(np.uint8)
            grey = (20 + 40 * ids).astype(np.uint8)
            Image.fromarray(np.stack([grey] * 3, axis=-1)).save(path / "images" / split / f"{number:03}{suffix}")
            save_mask(path / "masks" / split / f"{number:03}.png", ids)
    (path / "classes.txt").write_text("".join(f"class {index}\n" for index in range(num_classes)))
    return path


def save_mask(path: Path, ids: np.ndarray) -> None:
    Image.fromarray(ids).save(path)


def save_low_depth_grey_png(path: Path, ids: np.ndarray, *, bits: int) -> None:
    """A grey PNG of 1, 2 or 4 bits per pixel, written by hand: Pillow writes 8 bits only."""
    height, width = ids.shape
    per_byte = 8 // bits
    rows = b""
    for row in ids.tolist():
        row = row + [0] * (-width % per_byte)
        packed = bytearray()
        for start in range(0, len(row), per_byte):
            byte = 0
            for value in row[start : start + per_byte]:
                byte = byte << bits | value
            packed.append(byte)
        rows += b"\0" + bytes(packed)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
