"""What the driver does when Ray Tune says that a trial started, ended or failed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from essnet.atomic_files import read_json
from essnet.config import InputError
from essnet.sweep.folder import COMPLETED, FAILED, RUNNING, STOPPED, SweepFolder
from essnet.tracking import RunStore

_logger = logging.getLogger(__name__)


class SweepCallback(Callback):
    """Keeps the trial records and ends the trials' MLflow runs.

    Ray pickles callbacks: this one holds nothing but addresses.
    """

    def __init__(self, sweep_path: Path, tracking: Mapping[str, str]) -> None:
        self._folder = SweepFolder(sweep_path)
        self._tracking = dict(tracking)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note that the trial runs."""
        self._write_state(trial, RUNNING)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note how the trial ended: by itself, by the scheduler, or by an error that is not worth a retry."""
        folder = Path(trial.config["directory"])
        error = read_json(folder / "error.json").get("message")
        if error:
            self._write_state(trial, FAILED, error)
        elif (folder / "result.json").exists():
            self._write_state(trial, COMPLETED)
        else:
            self._write_state(trial, STOPPED)
        self._end_run(folder, "FAILED" if error else "FINISHED")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note that the trial failed for good."""
        folder = Path(trial.config["directory"])
        error = read_json(folder / "error.json").get("message", "the worker process died")
        self._write_state(trial, FAILED, error)
        self._end_run(folder, "FAILED")

    def _write_state(self, trial: Trial, state: str, error: str | None = None) -> None:
        record = self._folder.record(trial.config["trial_id"])
        self._folder.write_record(replace(record, state=state, error=error))

    def _end_run(self, trial_folder: Path, status: str) -> None:
        run_id = read_json(trial_folder / "run.json").get("run_id")
        if run_id is None:
            return
        tracking = self._tracking
        try:
            store = RunStore(tracking["uri"], tracking["experiment"], artifact_root=Path(tracking["artifact_root"]))
        except InputError as error:
            _logger.warning("run %s does not get its status %s: %s", run_id, status, error)
            return
        store.end(run_id, status)
