"""What is done with a run's batches on their way into the loop: timing, a picture of the first, its memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from essnet.data.loading import Batch
from essnet.training.first_batch import save_first_batch
from essnet.training.memory import loss_memory_mib
from essnet.training.performance import Performance
from essnet.training.precision import Precision
from essnet.training.step_profile import step_range
from essnet.training.tracker import Tracker
from essnet.training.trial import Trial


def watched_batches(
    batches: Iterator[Batch],
    *,
    trial: Trial,
    precision: Precision,
    performance: Performance,
    picture: Path,
    tracker: Tracker,
) -> Iterator[Batch]:
    """Return the same batches.

    The first one is waited for here. It is drawn to `picture`, unless that file is there, and sets
    `perf/loss_memory_mib`, unless that is known: a resumed run has both. Waiting for each other one counts as waiting
    for data.
    """
    first = next(batches)
    if not picture.exists():
        save_first_batch(picture, first, classes=trial.train_data.classes)
        tracker.log_artifact(picture, "")
    if "perf/loss_memory_mib" not in performance.memory:
        images, targets = first
        with precision.autocast():
            mib = loss_memory_mib(trial.model, images.to(trial.device), targets.to(trial.device))
        performance.memory["perf/loss_memory_mib"] = mib
    return chain([first], _timed(batches, performance))


def _timed(batches: Iterator[Batch], performance: Performance) -> Iterator[Batch]:
    while True:
        with performance.data_wait(), step_range("data"):
            batch = next(batches)
        yield batch
