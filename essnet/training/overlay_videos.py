"""The overlays of videos, put together while the frames are predicted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from essnet.data import ClassTable
from essnet.data.overlay_frames import OverlayFrames
from essnet.data.video_file import VideoFile
from essnet.data.video_frames import VideoFrames


class OverlayVideos:
    """Writes overlays of videos, each of which is there with its last frame, or, if it is cut off, when the block ends.

    Those that are not whole when an exception ends the block are removed.

    All but the constructor is for one thread at a time.

    Parameters
    ----------
    paths
        Of each video that is wanted, where its overlay goes.
    classes, side_by_side
        As in `OverlayFrames`.
    """

    def __init__(self, paths: Mapping[VideoFrames, Path], *, classes: ClassTable, side_by_side: bool = False) -> None:
        self.paths = paths
        self.done: dict[VideoFrames, Path] = {}
        """Those that are whole."""
        self._classes = classes
        self._side_by_side = side_by_side
        self._open: dict[VideoFrames, tuple[OverlayFrames, VideoFile]] = {}

    def __enter__(self) -> OverlayVideos:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        for video in list(self._open):
            if kind is None:
                self._finish(video)
            else:
                self._open.pop(video)[1].discard()

    def add(self, video: VideoFrames, image: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint16]) -> None:
        """Add the next frame of a video, and its class indices.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if video not in self._open:
            file = VideoFile(self.paths[video], per_second=video.per_second)
            self._open[video] = OverlayFrames(self._classes, side_by_side=self._side_by_side), file
        overlays, file = self._open[video]
        file.add(overlays.draw(image, ids))
        if file.frames == video.count:
            self._finish(video)

    def _finish(self, video: VideoFrames) -> None:
        _, file = self._open.pop(video)
        file.finish()
        self.done[video] = file.path
