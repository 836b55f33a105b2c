"""Schedulers: which trials are stopped early. References and replicates never are, nor is anybody compared with them.

A rule decides. It is told results under the trials' own names instead of Ray's, which are new after a resume, and told
all former results again when a sweep goes on: it then stops what an uninterrupted one would have stopped.

A rule of another package is built, once for each start of the sweep, by what `scheduler.name` stands for:

    def build(*, mode: str, max_steps: int, grace_steps: int, ...) -> StoppingRule

`mode` says whether more (`max`) or less (`min`) of the sweep's metric is better, `max_steps` is that of the longest
trial, and no trial should end before `grace_steps`; what stands in `scheduler.options` comes as further keyword
arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from essnet.config import Sweep
from essnet.config.extension_names import SCHEDULERS
from essnet.config.extensions import build, check_result
from essnet.config.scheduler import SchedulerConfig
from essnet.sweep.ray_rules import halving, median_rule
from essnet.sweep.results_log import Reported, ResultsLog
from essnet.sweep.stopping_rule import StoppingRule

RESULTS_FILE = "results.jsonl"

_RULES: dict[str, Callable[..., StoppingRule]] = {
    "asha": lambda config, **given: halving(**given, reduction_factor=config.reduction_factor),
    "hyperband": lambda config, **given: halving(
        **given, reduction_factor=config.reduction_factor, brackets=config.brackets
    ),
    "median": lambda config, **given: median_rule(**given),
}
"""`scheduler.name` -> the rule, from the block and what every rule is given; `none` has no rule."""


class EarlyStopping(FIFOScheduler):
    """First in, first out, with a rule that stops trials early.

    Parameters
    ----------
    rule
        Decides, by a trial's name and results.
    log
        Where results are kept; the rule is told those that are there already.
    metric
        What the rule compares.
    protected_arms
        Arms whose trials are neither stopped nor compared with.
    """

    def __init__(self, rule: StoppingRule, *, log: ResultsLog, metric: str, protected_arms: frozenset[str]) -> None:
        super().__init__()
        self._rule = rule
        self._log = log
        self._value_of = metric
        self._protected_arms = protected_arms
        self._decided: dict[tuple[str, int], bool] = {}
        for reported in log.read():
            self._rule.stops(reported.trial_id, reported.step, reported.value)
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
            stopped = self._rule.stops(trial_id, step, value) and step != config["trial"]["trainer"]["max_steps"]
            self._log.append(Reported(trial_id, step, value, stopped))
            self._decided[trial_id, step] = stopped
        return str(TrialScheduler.STOP if self._decided[trial_id, step] else TrialScheduler.CONTINUE)


def build_scheduler(sweep: Sweep, folder: Path) -> TrialScheduler:
    """Build the scheduler of the sweep in `folder`; it goes on from the results that are there.

    Raises
    ------
    InputError
        As `build_rule`.
    """
    rule = build_rule(sweep)
    if rule is None:
        return FIFOScheduler()
    return EarlyStopping(
        rule,
        log=ResultsLog(folder / RESULTS_FILE),
        metric=sweep.config.search.metric,
        protected_arms=sweep.references,
    )


def build_rule(sweep: Sweep) -> StoppingRule | None:
    """Build the rule of a sweep that has not begun yet, or None if it stops no trial.

    Raises
    ------
    InputError
        If it is another package's and cannot be built, or is no rule.
    """
    config = sweep.config.scheduler
    if config.name == "none":
        return None
    trials = [sweep.trial_config({**arm.fixed, **point}) for arm in sweep.arms for point in arm.probe_points()]
    max_steps = max(trial.trainer.max_steps for trial in trials)
    first_evaluation = min(trial.evaluation.every_steps or trial.trainer.max_steps for trial in trials)
    given: dict[str, Any] = {
        "mode": sweep.config.search.mode,
        "max_steps": max_steps,
        "grace_steps": min(config.grace_steps or first_evaluation, max_steps),
    }
    return _RULES[config.name](config, **given) if config.name in _RULES else _extension_rule(config, given)


def _extension_rule(config: SchedulerConfig, given: dict[str, Any]) -> StoppingRule:
    key = "scheduler.name"
    rule = build(config.name, group=SCHEDULERS, key=key, given=given, options=config.options)
    check_result(rule, name=config.name, key=key, has=("stops",), what="a stopping rule")
    checked: StoppingRule = rule
    return checked


def stopped_trials(folder: Path) -> set[str]:
    """Return the trials that a sweep's scheduler has stopped, whether or not that was noted before a crash."""
    return {reported.trial_id for reported in ResultsLog(folder / RESULTS_FILE).read() if reported.stopped}
