"""What the driver does when Ray Tune says that a trial started, ended or failed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.tune import Callback
from ray.tune.experiment import Trial

from essnet.atomic_files import read_json
from essnet.sweep.failures import OUT_OF_MEMORY, lost_worker
from essnet.sweep.folder import COMPLETED, FAILED, PENDING, RUNNING, STOPPED, SweepFolder, TrialRecord
from essnet.sweep.interrupted import Interrupted
from essnet.sweep.storage import insist
from essnet.sweep.stored_sweep import fetch_trial


class SweepCallback(Callback):
    """Keeps the trial records, which say all that `essnet.sweep.sweep_tracking` needs to end the trials' MLflow runs.

    Ray pickles callbacks: this one holds nothing but addresses.
    """

    def __init__(self, sweep_path: Path, *, sweep_id: str, storage: str | None = None) -> None:
        self._folder = SweepFolder(sweep_path)
        self._interrupted = Interrupted(sweep_id)
        self._storage = storage
        self._refused: OSError | None = None

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """End the sweep if a record could not be written, as the disk is full, say.

        Raises
        ------
        OSError
            What was raised then: Ray Tune would have taken it for a failure of the trial.
        """
        if self._refused is not None:
            raise self._refused

    def _write(self, record: TrialRecord) -> None:
        try:
            self._folder.write_record(record)
        except OSError as error:
            self._refused = error

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note that the trial runs."""
        # What an earlier attempt said must not count as this one's, if its process dies before it can say anything.
        (Path(trial.config["directory"]) / "error.json").unlink(missing_ok=True)
        record = self._folder.record(trial.config["trial_id"])
        self._write(replace(record.tried_again(), state=RUNNING))

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note why the attempt failed that Ray is going to follow by another."""
        record, failure = self._look(trial, lost=_last_error(trial))
        self._write(replace(record, error=failure["message"], failure=failure["kind"]).tried_again())

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note how the trial ended: by itself, by the scheduler, or by an error that Ray need not retry."""
        self._note_end(trial, lost=None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note that the trial failed for good."""
        self._note_end(trial, lost=_last_error(trial))

    def _look(self, trial: Trial, *, lost: Exception | None) -> tuple[TrialRecord, dict[str, str]]:
        """Return the trial's record, and what it failed with: nothing if it did not.

        `lost` is what Ray says of a trial that it gave up, which counts where the trial could not say anything itself.
        """
        folder = Path(trial.config["directory"])
        if self._storage is not None:
            address = self._storage
            insist(lambda: fetch_trial(address, self._folder, trial.config["trial_id"]))
        os.listdir(folder)  # over NFS, what another node wrote is looked up anew
        record = self._folder.record(trial.config["trial_id"])
        failure = read_json(folder / "error.json")
        if lost is not None and not failure:
            failure = lost_worker(lost)
        return record, failure

    def _note_end(self, trial: Trial, *, lost: Exception | None) -> None:
        record, failure = self._look(trial, lost=lost)
        if failure:
            again = failure["kind"] == OUT_OF_MEMORY and not record.alone
            record = replace(record, state=PENDING if again else FAILED, alone=again or record.alone)
            self._write(replace(record, error=failure["message"], failure=failure["kind"]))
            return
        if (Path(trial.config["directory"]) / "result.json").exists():
            state = COMPLETED
        else:  # of an interrupted sweep it goes on
            state = PENDING if self._interrupted.is_noted() else STOPPED
        self._write(replace(record, state=state))


def _last_error(trial: Trial) -> Exception:
    """Return what Ray says of a trial that it gave up, from the driver's own folder: the storage follows later."""
    try:
        return cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())  # type: ignore[no-any-return]
    except Exception:  # no such file, or an error that cannot be read here
        return RuntimeError("the worker process died")
