"""A video that is written frame by frame, and is there whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from essnet.atomic_files import naming, temporary_path

_CODEC = "libx264"
_OPTIONS = {"preset": "veryfast", "crf": "20"}
_BT_709 = 1
"""What players take colours for in files that say nothing, and these say it."""
_LARGEST_DENOMINATOR = 1001
"""Of 30000/1001 frames a second and its like."""


class VideoFile:
    """An MP4 with H.264, without sound.

    Parameters
    ----------
    path
        Where it is once it is finished; the folder is made where it is missing.
    per_second
        Frames.
    """

    def __init__(self, path: Path, *, per_second: float) -> None:
        import av  # where there is a video only

        self.path = path
        self.frames = 0
        """That were added."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        self._temporary = temporary_path(path)
        # With its index first, so that a browser plays it while it comes.
        self._container = av.open(str(self._temporary), "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(per_second).limit_denominator(_LARGEST_DENOMINATOR)
        self._stream: Any = self._container.add_stream(_CODEC, rate=rate, options=_OPTIONS)

    def add(self, frame: npt.NDArray[np.uint8]) -> None:
        """Add a frame, (H, W, 3) RGB with even sides, all of one size.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        import av

        if self.frames == 0:
            self._begin(height=frame.shape[0], width=frame.shape[1])
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        with naming(self.path):
            self._write(picture.reformat(format="yuv420p", dst_colorspace=_BT_709))
        self.frames += 1

    def finish(self) -> None:
        """Put it in its place; raises OSError if it cannot be written."""
        try:
            with naming(self.path):
                self._write(None)
                self._container.close()
                self._temporary.replace(self.path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what is not finished."""
        with suppress(OSError):  # of a disk that is full
            self._container.close()
        self._temporary.unlink(missing_ok=True)

    def _begin(self, *, height: int, width: int) -> None:
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        context = self._stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = context.color_range = _BT_709

    def _write(self, picture: Any) -> None:
        for packet in self._stream.encode(picture):
            self._container.mux(packet)


def _remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed left of this file: unlike a picture's, it may be large."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*.partial"):
        process = leftover.name.split(".")[-2]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            leftover.unlink(missing_ok=True)
