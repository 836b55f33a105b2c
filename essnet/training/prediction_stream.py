"""Predictions of any number of images: read ahead, predicted in batches, and written beside that."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from essnet.config.errors import InputError
from essnet.models import SegmentationModel
from essnet.progress import ItemProgress
from essnet.training.image_sizes import padded_size
from essnet.training.overlay_videos import OverlayVideos
from essnet.training.prediction import Prediction, predict_batch
from essnet.training.prediction_files import PredictionFiles
from essnet.training.prediction_inputs import PredictionInput

Pixels: TypeAlias = npt.NDArray[np.uint8]
Saved: TypeAlias = dict[str, Path]

MOST_PIXELS = 1 << 22
"""Of a batch, whatever its size; a single image may have more."""
_THREADS = 2


@dataclass
class PredictionsDone:
    """What became of the images."""

    saved: dict[PredictionInput, Saved] = field(default_factory=dict)
    """The files of each image that has files of its own."""
    unreadable: dict[PredictionInput, InputError] = field(default_factory=dict)
    predicted: int = 0
    """How many images and frames."""
    seconds: float = 0.0
    """From the first image to the last file."""


class PredictionStream:
    """Predicts images in batches.

    Those of one size come one after the other, so that batches are full. Beside the batch on its way, two more are
    held that were read ahead, and the files of two that wait to be written, however many images there are.

    Parameters
    ----------
    model
        In evaluation mode.
    files
        What is written of each image.
    output
        The folder of the results.
    batch_size
        Images of a batch, at most.
    videos
        Whose overlays are written as videos; all their frames are among what is predicted.
    progress
        Called when an image's files are there, or it could not be read.
    """

    def __init__(
        self,
        model: SegmentationModel,
        *,
        files: PredictionFiles,
        output: Path,
        batch_size: int,
        videos: OverlayVideos | None = None,
        progress: ItemProgress | None = None,
    ) -> None:
        self._model = model
        self._files = files
        self._output = output
        self._batch_size = batch_size
        self._videos = videos if videos is not None else OverlayVideos({}, classes=files.classes)
        self._progress = progress if progress is not None else lambda done, total: None

    def run(self, inputs: Sequence[PredictionInput]) -> PredictionsDone:
        """Predict all that can be read; interrupted, it leaves whole files and none that is begun."""
        done, begin = PredictionsDone(), time.perf_counter()
        writing: deque[tuple[PredictionInput, Future[Saved]]] = deque()

        def settle(*, at_most: int) -> None:
            while len(writing) > at_most:
                item, saved = writing.popleft()
                files = saved.result()
                done.predicted += 1
                if item.saved:
                    done.saved[item] = files
                self._progress(done.predicted + len(done.unreadable), len(inputs))

        def unreadable(item: PredictionInput, error: InputError) -> None:
            done.unreadable[item] = error
            self._progress(done.predicted + len(done.unreadable), len(inputs))

        in_order = sorted(inputs, key=lambda item: padded_size(item.size, self._model))
        # An overlay's frames are written one after the other.
        with (
            _Threads(_THREADS) as of_pictures,
            _Threads(1) as of_overlays,
            closing(self._read(in_order, unreadable)) as pictures,
        ):
            for batch in self._batches(pictures):
                predictions = predict_batch(
                    self._model, [pixels for _, pixels in batch], with_uncertainty=self._files.need_uncertainty
                )
                for (item, pixels), prediction in zip(batch, predictions, strict=True):
                    writers = of_overlays if item.video in self._videos.paths else of_pictures
                    writing.append((item, writers.submit(self._write, item, pixels, prediction)))
                settle(at_most=2 * self._batch_size)
            settle(at_most=0)
        done.seconds = time.perf_counter() - begin
        return done

    def _write(self, item: PredictionInput, pixels: Pixels, prediction: Prediction) -> Saved:
        if item.video is not None and item.video in self._videos.paths:
            self._videos.add(item.video, pixels, prediction.ids)
        return self._files.save(pixels, prediction, self._output / item.stem) if item.saved else {}

    def _read(
        self, inputs: Sequence[PredictionInput], unreadable: Callable[[PredictionInput, InputError], None]
    ) -> Generator[tuple[PredictionInput, Pixels], None, None]:
        """Yield the images in order, two batches of them read ahead."""
        coming: deque[tuple[PredictionInput, Future[Pixels]]] = deque()
        # Frames of a video come one after the other.
        with _Threads(_THREADS) as of_files, _Threads(1) as of_videos:
            rest = iter(inputs)
            while True:
                while len(coming) < 2 * self._batch_size and (item := next(rest, None)) is not None:
                    coming.append((item, (of_files if item.video is None else of_videos).submit(item.read)))
                if not coming:
                    return
                item, reading = coming.popleft()
                try:
                    pixels = reading.result()
                except InputError as error:
                    unreadable(item, error)
                else:
                    yield item, pixels

    def _batches(
        self, pictures: Iterator[tuple[PredictionInput, Pixels]]
    ) -> Iterator[list[tuple[PredictionInput, Pixels]]]:
        """Yield images of one padded size together."""
        batch: list[tuple[PredictionInput, Pixels]] = []
        batch_size = (0, 0)
        for item, pixels in pictures:
            size = padded_size((pixels.shape[0], pixels.shape[1]), self._model)
            full = len(batch) == self._batch_size or (len(batch) + 1) * size[0] * size[1] > MOST_PIXELS
            if batch and (full or size != batch_size):
                yield batch
                batch = []
            batch.append((item, pixels))
            batch_size = size
        if batch:
            yield batch


class _Threads(ThreadPoolExecutor):
    """Threads that end what they have begun, and begin nothing more, when the block is left by an exception."""

    def __exit__(self, *error: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)
