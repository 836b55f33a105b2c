"""Images, videos and labels with some bytes changed, given to what reads them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from essnet.data.class_table import read_class_table
from essnet.data.image_files import check_image_size, read_image, read_mask_ids
from essnet.data.image_regions import read_region
from essnet.data.mask_labels import MaskLabels
from essnet.data.mat_labels import read_mat_ids
from essnet.data.video_frames import VideoFrames
from tests.data.official_fixtures import write_palette
from tests.data.test_video_frames import write_video
from tests.fuzzing.cases import Run, random_of
from tests.fuzzing.mutations import mutated, with_png_checksums


def _pictures() -> Iterator[tuple[str, bytes]]:
    """A picture in each format and kind that is read."""
    levels = np.random.default_rng(0).integers(0, 4, (24, 40)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for ending, mode, options in (
        ("png", "RGB", {}), ("png", "P", {}), ("png", "L", {}), ("png", "LA", {}), ("png", "1", {}),
        ("png", "I;16", {}), ("jpg", "RGB", {"exif": exif}), ("jpg", "L", {}), ("jpg", "CMYK", {}), ("webp", "RGB", {}),
        ("bmp", "RGB", {}),
        ("tif", "RGB", {}), ("tif", "RGB", {"compression": "tiff_lzw"}), ("tif", "L", {"compression": "tiff_deflate"}),
    ):  # fmt: skip
        file = io.BytesIO()
        picture = Image.fromarray(levels.astype(np.uint16) if mode == "I;16" else levels)
        (picture if mode == "I;16" else picture.convert(mode)).save(
            file, format={"jpg": "jpeg", "tif": "tiff"}.get(ending, ending), **options
        )
        yield ending, file.getvalue()


def images(folder: Path) -> Run:
    sound = list(_pictures())

    def run(number: int) -> None:
        random = random_of("image", number)
        ending, content = random.choice(sound)
        content = mutated(content, random)
        path = folder / f"x.{ending}"
        path.write_bytes(with_png_checksums(content) if random.random() < 0.7 else content)
        check = random.randrange(3)
        if check == 0:
            read_image(path)
        elif check == 1:
            read_image(path, mask_size=(24, 40))
            check_image_size(path, (24, 40))
        else:
            read_region(path, (slice(0, 24), slice(0, 40)), size=(6, 10), mask_size=(24, 40))

    return run


def masks(folder: Path) -> Run:
    ids = np.random.default_rng(0).integers(0, 4, (24, 40))
    sound = [content for ending, content in _pictures() if ending in ("png", "tif")]
    write_palette(folder / "x.png", ids.astype(np.uint8))
    sound.append((folder / "x.png").read_bytes())

    def run(number: int) -> None:
        random = random_of("mask", number)
        kind = random.random()
        names = b"a\nb\nc\nd\n"
        (folder / "classes.txt").write_bytes(mutated(names, random) if kind < 0.1 else names)
        labels = MaskLabels(classes=read_class_table(folder / "classes.txt"))
        path = folder / "x.png"
        content = mutated(random.choice(sound), random)
        path.write_bytes(with_png_checksums(content) if random.random() < 0.7 else content)
        found = read_mask_ids(path)
        labels.to_targets(found, path=path)
        labels.count(found, path=path)

    return run


def matlab_labels(folder: Path) -> Run:
    ids = np.random.default_rng(0).integers(0, 4, (24, 40))
    names = np.array(["a", "bcd"], object)
    sound = []
    for dtype in ("u1", "f8"):
        for content in (
            {"names": names, "S": ids.astype(dtype), "S2": 3},
            {"S": {"cells": names, "Segmentation": ids.astype(dtype)}},
        ):
            file = io.BytesIO()
            savemat(file, content)
            sound.append(file.getvalue())
    header = len(b"MATLAB".ljust(128))

    def run(number: int) -> None:
        random = random_of("MATLAB labels", number)
        content = random.choice(sound)
        kind = random.random()
        if kind < 0.6:  # where all else is said
            content = content[:header] + mutated(content[header:], random)
        if kind > 0.4:
            variables = zlib.compress(content[header:])
            content = content[:header] + struct.pack("<II", 15, len(variables)) + variables
        path = folder / "x.mat"
        path.write_bytes(mutated(content, random) if kind > 0.6 else content)
        read_mat_ids(path, variable="S", field=random.choice((None, "Segmentation")))

    return run


def videos(folder: Path) -> Run:
    """MP4, AVI and Matroska."""
    sound = {ending: write_video(folder / f"sound{ending}").read_bytes() for ending in (".mp4", ".avi", ".mkv")}
    header = 2048

    def run(number: int) -> None:
        random = random_of("video", number)
        ending = random.choice(list(sound))
        content = sound[ending]
        path = folder / f"x{ending}"
        if random.random() < 0.5:
            path.write_bytes(mutated(content[:header], random) + content[header:])
        else:
            path.write_bytes(mutated(content, random))
        video = VideoFrames(path)
        for frame in video.every(0.5):
            video.read(frame)

    return run
