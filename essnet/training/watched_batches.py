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

    Waiting for each counts as waiting for data. The first one is drawn to `picture`, unless that file is there, and
    sets `perf/loss_memory_mib`, unless that is known: a resumed run has both.
    """
    batches = _timed(batches, performance)
    if not picture.exists():
        batch = next(batches)
        save_first_batch(picture, batch, classes=trial.train_data.classes)
        tracker.log_artifact(picture, "")
        batches = chain([batch], batches)
    if "perf/loss_memory_mib" not in performance.memory:
        images, targets = next(batches)
        with precision.autocast():
            mib = loss_memory_mib(trial.model, images.to(trial.device), targets.to(trial.device))
        performance.memory["perf/loss_memory_mib"] = mib
        batches = chain([(images, targets)], batches)
    return batches


def _timed(batches: Iterator[Batch], performance: Performance) -> Iterator[Batch]:
    while True:
        with performance.data_wait(), step_range("data"):
            batch = next(batches)
        yield batch
