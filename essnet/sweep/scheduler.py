"""Schedulers: which trials are stopped early. References and replicates never are, nor is anybody compared with them.

Ray's rules decide. They are told results under the trials' own names instead of Ray's, which are new after a resume,
and told all former results again when a sweep goes on: it then stops what an uninterrupted one would have stopped.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from essnet.config import Sweep
from essnet.sweep.results_log import Reported, ResultsLog

RESULTS_FILE = "results.jsonl"

_MEDIAN_NEEDS = 3
"""Trials that the median rule must know beside the one that it judges."""


@dataclass(frozen=True)
class Ticket:
    """What a rule knows of a trial: its name."""

    trial_id: str


class AsynchronousHyperBand(AsyncHyperBandScheduler):
    """Ray's (ASHA with one bracket); a trial's bracket follows from its name, not from numpy's global state."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Draw the trial's bracket."""
        state = np.random.get_state()
        np.random.seed(zlib.crc32(trial.trial_id.encode()))
        try:
            super().on_trial_add(tune_controller, trial)
        finally:
            np.random.set_state(state)


class EarlyStopping(FIFOScheduler):
    """First in, first out, with a rule that stops trials early.

    Parameters
    ----------
    rule
        One of Ray's schedulers that stops and never pauses; of a trial it looks at the name only.
    log
        Where results are kept; the rule is told those that are there already.
    metric
        What the rule compares.
    protected_arms
        Arms whose trials are neither stopped nor compared with.
    """

    def __init__(self, rule: Any, *, log: ResultsLog, metric: str, protected_arms: frozenset[str]) -> None:
        super().__init__()
        self._rule = rule
        self._log = log
        self._value_of = metric
        self._protected_arms = protected_arms
        self._added: set[str] = set()
        self._decided: dict[tuple[str, int], bool] = {}
        for reported in log.read():
            self._tell(reported.trial_id, reported.step, reported.value)
            self._decided[reported.trial_id, reported.step] = reported.stopped

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Let a protected trial go on, and one that is at its end; let the rule decide about any other."""
        config = trial.config
        is_protected = config["replicates"] or config["arm"] in self._protected_arms
        if is_protected or "step" not in result or self._value_of not in result:
            return str(TrialScheduler.CONTINUE)
        trial_id, step, value = config["trial_id"], int(result["step"]), float(result[self._value_of])
        # A trial that goes on from a checkpoint may report a step again: the first time counts.
        if (trial_id, step) not in self._decided:
            stopped = self._tell(trial_id, step, value) and step != config["trial"]["trainer"]["max_steps"]
            self._log.append(Reported(trial_id, step, value, stopped))
            self._decided[trial_id, step] = stopped
        return str(TrialScheduler.STOP if self._decided[trial_id, step] else TrialScheduler.CONTINUE)

    def _tell(self, trial_id: str, step: int, value: float) -> bool:
        """Tell the rule a result; return whether it would stop the trial."""
        ticket = Ticket(trial_id)
        if trial_id not in self._added:
            self._rule.on_trial_add(None, ticket)
            self._added.add(trial_id)
        decision = self._rule.on_trial_result(None, ticket, {"step": step, self._value_of: value})
        return bool(decision == TrialScheduler.STOP)


def build_scheduler(sweep: Sweep, folder: Path) -> TrialScheduler:
    """Build the scheduler of the sweep in `folder`; it goes on from the results that are there."""
    config = sweep.config.scheduler
    if config.name == "none":
        return FIFOScheduler()
    trials = [sweep.trial_config({**arm.fixed, **point}) for arm in sweep.arms for point in arm.probe_points()]
    max_steps = max(trial.trainer.max_steps for trial in trials)
    first_evaluation = min(trial.evaluation.every_steps or trial.trainer.max_steps for trial in trials)
    grace_steps = min(config.grace_steps or first_evaluation, max_steps)
    compared: dict[str, Any] = {
        "time_attr": "step",
        "metric": sweep.config.search.metric,
        "mode": sweep.config.search.mode,
        "grace_period": grace_steps,
    }
    rule: TrialScheduler
    if config.name == "median":
        never_make_room: dict[str, Any] = {"min_time_slice": math.inf}
        rule = MedianStoppingRule(**compared, **never_make_room, min_samples_required=_MEDIAN_NEEDS)
    else:
        rule = AsynchronousHyperBand(
            **compared,
            # One beyond the last step: a trial that reaches its end does so by itself.
            max_t=max_steps + 1,
            reduction_factor=config.reduction_factor,
            brackets=config.brackets if config.name == "hyperband" else 1,
        )
    return EarlyStopping(
        rule,
        log=ResultsLog(folder / RESULTS_FILE),
        metric=sweep.config.search.metric,
        protected_arms=sweep.references,
    )


def stopped_trials(folder: Path) -> set[str]:
    """Return the trials that a sweep's scheduler has stopped, whether or not that was noted before a crash."""
    return {reported.trial_id for reported in ResultsLog(folder / RESULTS_FILE).read() if reported.stopped}
