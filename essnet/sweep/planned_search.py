"""The searcher that Ray Tune asks for trials: it hands out the sweep's queue as tasks for its workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray.tune.search import Searcher

from essnet.config import Sweep
from essnet.sweep.folder import PENDING, SweepFolder
from essnet.sweep.packing import Packing
from essnet.sweep.run_descriptions import describe_trial
from essnet.sweep.stored_sweep import StoredSweep
from essnet.sweep.trial_queue import TrialQueue


class PlannedSearch(Searcher):
    """Hands Ray Tune the sweep's trials one by one, each with what it takes of the machine."""

    def __init__(
        self,
        sweep: Sweep,
        folder: SweepFolder,
        queue: TrialQueue,
        *,
        task: Mapping[str, Any],
        packing: Packing,
        stored: StoredSweep | None,
    ) -> None:
        super().__init__(metric=sweep.config.search.metric, mode=sweep.config.search.mode)
        self._sweep = sweep
        self._folder = folder
        self._task = task
        self._packing = packing
        self._queue = queue
        self._stored = stored
        self._trials: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Ray keeps a copy of its searcher on disk, which nobody reads; what is stored holds locks."""
        return {**self.__dict__, "_stored": None}

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial as a task for `run_trial`; Ray's own `trial_id` is only its ticket."""
        record = self._queue.next()
        if record is None:
            return Searcher.FINISHED if self._queue.is_done() else None
        config = self._sweep.trial_config({**record.overrides, "name": record.trial_id})
        share = self._packing.share(config, arm=record.arm, alone=record.alone)
        changes: dict[str, object] = {}
        if config.trainer.num_threads is None:
            changes["num_threads"] = share.threads
        if config.trainer.device == "auto" and not share.gpus:
            changes["device"] = "cpu"  # Ray hides no GPU from a trial that asked for none
        trainer = config.trainer.model_copy(update=changes)
        config = config.model_copy(update={"trainer": trainer})
        self._folder.write_record(replace(record.tried_again(), state=PENDING))
        if self._stored is not None:
            self._stored.keep()  # before it begins: whoever goes on elsewhere knows which trial that was
        self._trials[trial_id] = record.trial_id
        return {
            **self._task,
            "trial_id": record.trial_id,
            "arm": record.arm,
            "replicates": record.replicates,
            "directory": str(self._folder.trial(record.trial_id).absolute()),
            "resources": {"CPU": share.cpus, "GPU": share.gpus},
            "placement": dict(share.params),
            "trial": config.model_dump(),
            "description": describe_trial(record, self._folder.state(), output=str(self._folder.path.parent)),
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Look at the clock."""
        self._queue.note_time()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Let the queue look at how the trial went."""
        self._queue.end(self._trials.pop(trial_id))

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the sweep's folder holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the sweep's folder holds the state."""
