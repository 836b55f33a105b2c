"""Running a sweep on Ray Tune, and going on with one that was interrupted.

Ray schedules; the state is ours (`essnet.sweep.folder`). A sweep is resumed by handing Ray the trials that have not
ended: nothing is unpickled, and no trial that ended is run again.
"""

from __future__ import annotations

import logging
import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

# Before ray is imported: it reads these once.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# A trial that fails before its first evaluation has no metric to report; that is no reason to end the sweep.
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")

import ray
from ray import tune
from ray.tune.search import Searcher

from essnet import __version__
from essnet.atomic_files import read_json, write_json
from essnet.config import InputError, Sweep, TrialConfig
from essnet.config.overrides import flatten
from essnet.sweep.callback import SweepCallback
from essnet.sweep.folder import ENDED, FAILED, PENDING, RUNNING, SweepFolder, TrialRecord
from essnet.sweep.plan import PlannedTrial, plan_trials, trial_counts
from essnet.sweep.resources import Placement
from essnet.sweep.scheduler import build_scheduler
from essnet.sweep.search import build_search
from essnet.sweep.trainable import run_trial
from essnet.tracking import RunStore
from essnet.training import best_value

_MAY_CHANGE_ON_RESUME = ("resources.", "failure.", "tracking.")


def run_sweep(sweep: Sweep, folder: SweepFolder, *, store: RunStore, placement: Placement, cache_dir: Path) -> None:
    """Run all trials of a sweep that have not ended yet; return when they have, or when interrupted by SIGINT.

    The folder's records say how each trial ended, and the parent run is left RUNNING for the caller to end.
    """
    parent_run_id = _start_parent(sweep, folder, store)
    tracking = {
        "uri": store.uri,
        "experiment": store.experiment,
        "artifact_root": str(store.artifact_root.absolute()),
        "parent_run_id": parent_run_id,
        "sweep": sweep.config.name,
    }
    task = {"cache_dir": str(cache_dir.absolute()), "tracking": tracking}
    searcher = PlannedSearch(sweep, folder, task=task, threads=placement.threads)
    if not searcher.remaining:
        return
    ray.init(
        num_cpus=placement.machine_cpus,
        num_gpus=placement.machine_gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        tuner = tune.Tuner(
            tune.with_resources(run_trial, {"cpu": placement.cpus, "gpu": placement.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=build_scheduler(sweep),
                num_samples=searcher.remaining,
                max_concurrent_trials=placement.concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder.path.absolute() / "ray"),
                failure_config=tune.FailureConfig(max_failures=sweep.config.failure.max_retries),
                callbacks=[SweepCallback(folder.path.absolute(), tracking)],
                verbose=0,
            ),
        )
        with _sigterm_as_sigint():
            tuner.fit()
    finally:
        ray.shutdown()
        _settle(folder)


@contextmanager
def _sigterm_as_sigint() -> Iterator[None]:
    """Let SIGTERM, with which Slurm and others ask to end, do what Ctrl-C does: Ray Tune ends cleanly on SIGINT only.

    To be entered after `ray.init`, whose own handler for SIGTERM aborts the process.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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


def check_resumable(sweep: Sweep, folder: SweepFolder) -> None:
    """Check that a sweep's folder holds this sweep and not another one.

    Raises
    ------
    InputError
        If the configuration differs in more than resources, retries and tracking.
    """
    saved = read_json(folder.path / "sweep.json").get("configuration")
    if saved is None:
        return
    old, new = dict(flatten(saved)), dict(flatten(_configuration(sweep)))
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path) and not path.startswith(_MAY_CHANGE_ON_RESUME):
            raise InputError(
                f"{path}: is {new.get(path)!r}, but the sweep in {folder.path} has {old.get(path)!r}; "
                "resume it with the same configuration, or choose another name=..."
            )


def _configuration(sweep: Sweep) -> dict[str, Any]:
    values: dict[str, Any] = sweep.config.model_dump(mode="json", exclude={"base", "overrides"})
    return {**values, "base": dict(sweep.base)}


def _start_parent(sweep: Sweep, folder: SweepFolder, store: RunStore) -> str:
    """Start the sweep's parent run, the same one after a resume, and note where it is."""
    state = read_json(folder.path / "sweep.json")
    sweep_id = state.get("sweep_id") or uuid.uuid4().hex
    config = sweep.config
    parent_run_id = store.start(
        f"sweep {config.name}",
        identity={"essnet.kind": "sweep", "essnet.sweep_id": sweep_id},
        tags={"essnet.sweep": config.name},
        params={"baseline": config.baseline, **dict(flatten(config.search.model_dump(), "search."))},
    )
    write_json(
        folder.path / "sweep.json",
        {
            "format_version": 1,
            "essnet_version": __version__,
            "sweep_id": sweep_id,
            "name": config.name,
            "baseline": config.baseline,
            "metric": config.search.metric,
            "mode": config.search.mode,
            "num_trials": len(plan_trials(sweep)),
            "tracking_uri": store.uri,
            "experiment": store.experiment,
            "parent_run_id": parent_run_id,
            "configuration": _configuration(sweep),
        },
    )
    return parent_run_id


def _settle(folder: SweepFolder) -> None:
    """Put trials that were running when the sweep ended back in the queue."""
    for record in folder.records():
        if record.state == RUNNING:
            folder.write_record(replace(record, state=PENDING))


def end_runs(folder: SweepFolder, store: RunStore, *, status: str) -> None:
    """End the sweep's parent run with `status`, and every trial's run that is still RUNNING."""
    states = {record.trial_id: record.state for record in folder.records()}
    parent_run_id = folder.state()["parent_run_id"]
    for run in store.children(parent_run_id):
        if run.info.status == "RUNNING":
            state = states.get(run.data.tags.get("essnet.trial_id", ""))
            store.end(run.info.run_id, "FINISHED" if state in ENDED else "FAILED" if state == FAILED else "KILLED")
    store.end(parent_run_id, status)
