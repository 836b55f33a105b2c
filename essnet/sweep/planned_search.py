"""The searcher that Ray Tune asks for trials: it deals out the plan, and knows what has ended already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray.tune.search import Searcher

from essnet.config import Sweep, TrialConfig
from essnet.sweep.folder import ENDED, PENDING, SweepFolder, TrialRecord
from essnet.sweep.plan import PlannedTrial, plan_trials, trial_counts
from essnet.sweep.search import build_search
from essnet.training import best_value


class PlannedSearch(Searcher):
    """Hands Ray Tune the sweep's planned trials one by one, each with its point from its arm's search."""

    def __init__(self, sweep: Sweep, folder: SweepFolder, *, task: Mapping[str, Any], threads: int) -> None:
        super().__init__(metric=sweep.config.search.metric, mode=sweep.config.search.mode)
        self._sweep = sweep
        self._folder = folder
        self._task = task
        self._threads = threads
        counts = trial_counts(sweep)
        self._searches = {arm.name: build_search(arm, sweep.config, counts[arm.name]) for arm in sweep.arms}
        self._known = {record.trial_id: record for record in folder.records()}
        for record in self._known.values():
            if record.state in ENDED:
                self._tell(record)
        self._queue = [
            planned
            for planned in plan_trials(sweep)
            if planned.trial_id not in self._known or self._known[planned.trial_id].state not in ENDED
        ]
        self._running: dict[str, TrialRecord] = {}

    @property
    def remaining(self) -> int:
        """How many trials are still to be handed out."""
        return len(self._queue)

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial as a task for `run_trial`; Ray's own `trial_id` is only its ticket."""
        if not self._queue:
            return Searcher.FINISHED
        planned = self._queue.pop(0)
        record = self._known.get(planned.trial_id) or self._new_record(planned)
        config = self._trial_config(record)
        record = replace(record, state=PENDING, error=None, max_steps=config.trainer.max_steps, seed=config.seed)
        self._folder.write_record(record)
        self._running[trial_id] = record
        return {
            **self._task,
            "trial_id": record.trial_id,
            "arm": record.arm,
            "directory": str(self._folder.trial(record.trial_id).absolute()),
            "trial": config.model_dump(),
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the arm's search how a trial went."""
        self._tell(self._running.pop(trial_id))

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the sweep's folder holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the sweep's folder holds the state."""

    def _new_record(self, planned: PlannedTrial) -> TrialRecord:
        point = dict(self._searches[planned.arm.name].propose(planned.arm_index))
        overrides = {**planned.arm.fixed, **point}
        return TrialRecord(
            trial_id=planned.trial_id,
            index=planned.index,
            arm=planned.arm.name,
            arm_index=planned.arm_index,
            overrides=overrides,
            point=point,
            seed=0,
            max_steps=0,
        )

    def _trial_config(self, record: TrialRecord) -> TrialConfig:
        config = self._sweep.trial_config({**record.overrides, "name": record.trial_id})
        if config.trainer.num_threads is not None:
            return config
        trainer = config.trainer.model_copy(update={"num_threads": self._threads})
        return config.model_copy(update={"trainer": trainer})

    def _tell(self, record: TrialRecord) -> None:
        search = self._sweep.config.search
        value = best_value(self._folder.trial(record.trial_id), search.metric, search.mode)
        if value is not None:
            self._searches[record.arm].tell(record.arm_index, record.point, value)
