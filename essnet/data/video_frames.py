"""Frames of a video file, some time apart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from essnet.config.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")


class VideoFrames:
    """A video of which frames are read in ascending order, by one thread at a time.

    Parameters
    ----------
    path
        The file; a few facts of it are read at once.

    Raises
    ------
    InputError
        If it is no video that can be read, or does not say how long and how fast it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        cv2, capture = quiet_cv2(), self._open()
        self.count = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        """How many frames there are, as the file says."""
        self.per_second = float(capture.get(cv2.CAP_PROP_FPS))
        self.size = round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), round(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        """(H, W)."""
        capture.release()
        if self.count < 1 or not self.per_second > 0:
            raise InputError(f"{path}: does not say how many frames it has, and how many a second; store it as MP4")
        self._reading: Any = None
        self._next = 0

    def every(self, seconds: float) -> range:
        """Return the numbers of the frames so far apart, rounded to whole frames, the first one included."""
        return range(0, self.count, max(1, round(seconds * self.per_second)))

    def read(self, number: int) -> npt.NDArray[np.uint8]:
        """Read a frame as RGB, (H, W, 3) uint8; numbers ascend from one call to the next.

        Raises
        ------
        InputError
            If the video is cut off or damaged there.
        """
        if self._reading is None:
            self._reading = self._open()
        if number < self._next:
            raise ValueError(f"frame {number} was passed; the next one is {self._next}")
        while self._next < number and self._reading.grab():  # not decoded into pixels
            self._next += 1
        ok, frame = self._reading.read()
        if not ok:
            raise InputError(f"{self.path}: cut off before frame {number} of the {self.count} that it says it has")
        self._next += 1
        pixels: npt.NDArray[np.uint8] = quiet_cv2().cvtColor(frame, quiet_cv2().COLOR_BGR2RGB)
        return pixels

    def _open(self) -> Any:
        if not self.path.is_file():
            raise InputError(f"{self.path}: not found")
        capture = quiet_cv2().VideoCapture(str(self.path), quiet_cv2().CAP_FFMPEG)
        if not capture.isOpened():
            raise InputError(f"{self.path}: cannot be read as a video")
        return capture


def quiet_cv2() -> Any:
    """Return OpenCV, imported where there is a video only, and set to say nothing itself.

    FFmpeg, which it has inside, asks for that once: before the first video of a process.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
