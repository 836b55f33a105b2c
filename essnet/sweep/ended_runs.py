"""Ending the MLflow runs of trials that have ended: what is left to deliver, the result, the status."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from essnet.config.errors import first_line
from essnet.file_lock import HeldByOther
from essnet.sweep.folder import ENDED, FAILED, SweepFolder, TrialRecord
from essnet.sweep.run_descriptions import describe_trial
from essnet.tracking import RunStore, deliver_rest, is_delivered
from essnet.tracking.entries import Entry, best_values, description_entry, metrics_entry, status_entry
from essnet.tracking.run_file import read_run_file
from essnet.training.result import best_metrics, read_history

_PAUSE_SECONDS = 1.0
_LOCK_SECONDS = 5.0
_logger = logging.getLogger(__name__)


class EndedRuns:
    """Ends the runs of a sweep's trials; of each once.

    Parameters
    ----------
    folder
        The sweep's folder.
    stopped
        Asked before each trial; True ends the work.
    """

    def __init__(self, folder: SweepFolder, *, stopped: Callable[[], bool] = lambda: False) -> None:
        self._folder = folder
        self._stopped = stopped
        self._state = folder.state()
        self._settled: set[tuple[str, str]] = set()

    def settle(self, records: list[TrialRecord], *, others: str | None = None) -> bool:
        """End the runs of the trials that have ended; return whether all are.

        `others` is the status of those that have not; None leaves them alone. Raises whatever MLflow and the libraries
        below it raise when the store does not answer.
        """
        complete = True
        for record in records:
            status = run_status(record, others=others)
            if status is None or (record.trial_id, record.state) in self._settled:
                continue
            if self._stopped():
                return False
            try:
                self._end(record, status)
            except HeldByOther:  # its process is not quite gone
                complete = False
            else:
                self._settled.add((record.trial_id, record.state))
        return complete

    def settle_within(self, seconds: float, *, others: str) -> bool:
        """Do what `settle` does, again and again until all are ended or the time is over; return whether all are."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if self.settle(self._folder.records(), others=others):
                    self._remove_doubles()
                    return True
            except Exception as error:  # whatever MLflow and the libraries below it raise
                reason = first_line(error)
            else:
                reason = "a trial's process is not gone"
            if time.monotonic() >= deadline or self._stopped():
                _logger.warning("MLflow does not have all of the trials: %s", reason)
                return False
            time.sleep(_PAUSE_SECONDS)

    def _end(self, record: TrialRecord, status: str) -> None:
        directory = self._folder.trial(record.trial_id)
        if is_delivered(directory) and read_run_file(directory).get("status") in (status, None):
            return  # without a run, of an earlier version, or ended already
        deliver_rest(directory, last=self._last_entries(record, directory, status), wait_seconds=_LOCK_SECONDS)

    def _remove_doubles(self) -> None:
        """Remove runs that nobody knows, made by a request whose answer never came."""
        state = self._state
        store = RunStore(state["tracking_uri"], state["experiment"], artifact_root=Path(state["artifact_root"]))
        for run in store.children(state["parent_run_id"]):
            trial_id = run.data.tags.get("essnet.trial_id", "")
            known = read_run_file(self._folder.trial(trial_id)).get("run_id") if trial_id else None
            if known is not None and known != run.info.run_id:
                store.remove(run.info.run_id)

    def _last_entries(self, record: TrialRecord, directory: Path, status: str) -> list[Entry]:
        if record.state not in (*ENDED, FAILED):
            return [status_entry(status)]
        metrics = best_metrics(directory, self._state["metric"], self._state["mode"])
        best = best_values(metrics)
        history = read_history(directory / "history.jsonl")
        text = describe_trial(record, self._state, output=str(self._folder.path.parent), metrics=metrics)
        entries = [metrics_entry(history[-1]["step"], best)] if best else []
        return [*entries, description_entry(text), status_entry(status)]


def run_status(record: TrialRecord, *, others: str | None) -> str | None:
    """Return the status of a trial's run, or `others` for a trial that has not ended."""
    if record.state in ENDED:
        return "FINISHED"
    return "FAILED" if record.state == FAILED else others


def is_tracked(folder: SweepFolder) -> bool:
    """Return whether the store has all of a sweep that does not run: no run waits for anything."""
    directories = [folder.path, *(folder.trial(record.trial_id) for record in folder.records())]
    return all(
        is_delivered(directory) and read_run_file(directory).get("status") != "RUNNING" for directory in directories
    )


def sweep_status(records: list[TrialRecord], *, done: bool) -> str:
    """Return the status of a sweep's run."""
    if not done:
        return "KILLED"
    return "FAILED" if any(record.state == FAILED for record in records) else "FINISHED"
