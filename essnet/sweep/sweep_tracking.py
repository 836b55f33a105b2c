"""Keeping MLflow up to date with a sweep while it runs: a thread that follows the sweep's folder.

The driver writes records and never waits for the store: what happened is on disk, and whoever looks next can tell.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from essnet.atomic_files import read_json, write_json
from essnet.config.errors import first_line
from essnet.sweep.ended_runs import EndedRuns
from essnet.sweep.folder import SweepFolder
from essnet.sweep.progress_metrics import BestOfArms, counts_of, progress_metrics
from essnet.sweep.run_descriptions import describe_sweep
from essnet.tracking import MlflowTracker, RunSpec
from essnet.tracking.run_spec import OUTBOX

_LOOK_SECONDS = 3.0
_SILENCE_SECONDS = 15.0
"""Between two tries to end trials' runs while the store does not answer."""
_LEAVING_SECONDS = 5.0
_logger = logging.getLogger(__name__)


@contextmanager
def track_sweep(folder: SweepFolder) -> Iterator[None]:
    """Log a sweep's progress to its run, which has begun, and end its trials' runs, while the block runs."""
    tracker = parent_tracker(folder)
    ended = threading.Event()
    threads = [
        # Not waited for when Python ends: one may be in a request that is never answered.
        threading.Thread(target=work, args=(folder, tracker, ended), name=f"mlflow {work.__name__}", daemon=True)
        for work in (_log_progress, _end_runs)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(_LEAVING_SECONDS)
        tracker.close(wait_seconds=_LEAVING_SECONDS)


def parent_tracker(folder: SweepFolder) -> MlflowTracker:
    """Return a tracker to a sweep's run, which is RUNNING from now on."""
    spec = RunSpec.load(folder.path)
    assert spec is not None, folder
    return MlflowTracker(folder.path, spec)


class SweepProgress:
    """Logs the progress of a sweep whenever it has changed; its step is the second since the sweep began.

    The step never goes back, whatever the clock does, and whoever goes on: `progress.json` has the last one.
    """

    def __init__(self, folder: SweepFolder, tracker: MlflowTracker) -> None:
        self._folder = folder
        self._tracker = tracker
        self._state = folder.state()
        self._best = BestOfArms(folder, metric=self._state["metric"], mode=self._state["mode"])
        self._logged: dict[str, float] = {}
        self._step_file = folder.path / OUTBOX / "progress.json"

    def log(self, answers: tuple[str, ...] = ()) -> None:
        """Look at the sweep's folder; `answers` are what the report says of a sweep that has ended."""
        records = self._folder.records()
        counts, best = counts_of(records), self._best.of(records)
        metrics = progress_metrics(counts, best)
        if metrics == self._logged and not answers:
            return
        self._logged = metrics
        # A metric has one value a step: of two changes within a second the later one is a second late.
        seconds = round(time.time() - self._state["started"])
        step = max(read_json(self._step_file).get("step", -1) + 1, seconds)
        write_json(self._step_file, {"step": step})
        self._tracker.log(step, metrics)
        output = str(self._folder.path.parent)
        state = self._folder.state()
        self._tracker.describe(describe_sweep(state, output=output, counts=counts, best=best, answers=answers))
        self._tracker.flush()


def _log_progress(folder: SweepFolder, tracker: MlflowTracker, ended: threading.Event) -> None:
    progress = SweepProgress(folder, tracker)
    while not ended.is_set():
        _log_safely(progress)
        ended.wait(_LOOK_SECONDS)


def _log_safely(progress: SweepProgress) -> None:
    try:
        progress.log()
    except Exception as error:  # a full disk, say: no reason for the sweep to end
        _logger.warning("the sweep's progress is not logged: %s", first_line(error))


def _end_runs(folder: SweepFolder, tracker: MlflowTracker, ended: threading.Event) -> None:
    runs = EndedRuns(folder, stopped=ended.is_set)
    while not ended.is_set():
        pause = _LOOK_SECONDS
        try:
            runs.settle(folder.records())
        except Exception as error:  # whatever MLflow and the libraries below it raise
            pause = _SILENCE_SECONDS
            _logger.warning("MLflow does not answer; trials' runs are ended later: %s", first_line(error))
        ended.wait(pause)
