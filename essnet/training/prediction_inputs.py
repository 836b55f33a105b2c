"""What is to be predicted: files, folders, patterns and videos become single images with a name for their results."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import numpy as np
import numpy.typing as npt

from essnet.config.errors import InputError
from essnet.data.image_files import IMAGE_SUFFIXES, opened, read_image
from essnet.data.video_frames import VIDEO_SUFFIXES, VideoFrames

_SUFFIXES = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


@dataclass(frozen=True)
class PredictionInput:
    """An image that can be read."""

    path: Path
    """Its file."""
    stem: Path
    """What its results are called, below the output's folder and without a suffix."""
    size: tuple[int, int]
    """(H, W) as the file's header says, perhaps not yet upright."""
    video: VideoFrames | None = None
    frame: int = 0
    """Its number in the video."""
    saved: bool = True
    """Whether files of its own are written; other frames are for the video's overlay alone."""

    def __str__(self) -> str:
        return str(self.path) if self.video is None else f"{self.path}#{self.frame}"

    def read(self) -> npt.NDArray[np.uint8]:
        """Read it as RGB, (H, W, 3); raises InputError if it is damaged."""
        return read_image(self.path) if self.video is None else self.video.read(self.frame)


def find_inputs(arguments: Sequence[Path], *, output: Path, seconds: float) -> list[PredictionInput]:
    """Find the images, and read of each file what its header says.

    Parameters
    ----------
    arguments
        Files, whose results have their names; folders, which are looked through to the bottom, and patterns such as
        `photos/*/*.jpg`, whose results keep the folders below theirs.
    output
        Within a folder that is looked through it is left out: it has the results of an earlier run.
    seconds
        Between two frames of a video, whose results lie in a folder of its name.

    Raises
    ------
    InputError
        If a file is missing or no image, there is none in a folder, or none that fits a pattern.
    """
    found: list[PredictionInput] = []
    for argument in arguments:
        for path, stem in _files(argument, output):
            found += _inputs(path, stem, seconds)
    return found


def with_all_frames(inputs: Sequence[PredictionInput], videos: Collection[VideoFrames]) -> list[PredictionInput]:
    """Return the inputs, and for the videos, in ascending order, each frame that is not among them; those come last."""
    of_frames = {(item.video, item.frame): item for item in inputs if item.video in videos}
    found = [item for item in inputs if item.video not in videos]
    for video in videos:
        for number in range(video.count):
            other = PredictionInput(video.path, Path(), size=video.size, video=video, frame=number, saved=False)
            found.append(of_frames.get((video, number), other))
    return found


def _files(argument: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the files that an argument stands for, and what their results are called."""
    if argument.is_dir():
        root, paths = argument, sorted(path for path in argument.rglob("*") if _is_picture(path))
        missing = f"{argument}: holds no image or video ({', '.join(suffix[1:] for suffix in _SUFFIXES)})"
    elif has_magic(str(argument)) and not argument.exists():
        parts = argument.parts
        fixed = next(index for index, part in enumerate(parts) if has_magic(part))
        root = Path(*parts[:fixed])
        paths = sorted(path for path in map(Path, glob(str(argument), recursive=True)) if _is_picture(path))
        missing = f"{argument}: no image or video fits this pattern"
    else:
        yield argument, Path(argument.stem)
        return
    if _is_below(output, root):
        paths = [path for path in paths if not _is_below(path, output)]
    if not paths:
        raise InputError(missing)
    for path in paths:
        yield path, path.relative_to(root).with_suffix("")


def _is_below(path: Path, folder: Path) -> bool:
    below, above = (os.path.realpath(one) for one in (path, folder))
    return below != above and os.path.commonpath([below, above]) == above


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def _inputs(path: Path, stem: Path, seconds: float) -> Iterator[PredictionInput]:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        with opened(path) as image:
            yield PredictionInput(path, stem, size=(image.height, image.width))
        return
    video = VideoFrames(path)
    for number in video.every(seconds):
        yield PredictionInput(path, stem / f"frame-{number:06}", size=video.size, video=video, frame=number)
