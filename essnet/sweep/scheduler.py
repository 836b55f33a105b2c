"""Schedulers: which trials are stopped early. The baseline never is, nor does it count in anybody's comparison."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from essnet.config import Sweep


class ProtectingASHA(AsyncHyperBandScheduler):
    """Asynchronous successive halving over all trials but those of the protected arm."""

    def __init__(self, *, protected_arm: str, **options: Any) -> None:
        super().__init__(**options)
        self._protected_arm = protected_arm

    def _protects(self, trial: Trial) -> bool:
        return bool(trial.config["arm"] == self._protected_arm)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Let a protected trial go on, and one that is at its end; decide about any other."""
        if self._protects(trial) or result.get("step") == trial.config["trial"]["trainer"]["max_steps"]:
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Record the last result of an unprotected trial."""
        if not self._protects(trial):
            super().on_trial_complete(tune_controller, trial, result)


def build_scheduler(sweep: Sweep) -> TrialScheduler:
    """Build the scheduler of a sweep."""
    config = sweep.config.scheduler
    if config.name == "none":
        return FIFOScheduler()
    trials = [sweep.trial_config({**arm.fixed, **point}) for arm in sweep.arms for point in arm.probe_points()]
    max_steps = max(trial.trainer.max_steps for trial in trials)
    first_evaluation = min(trial.evaluation.every_steps or trial.trainer.max_steps for trial in trials)
    return ProtectingASHA(
        protected_arm=sweep.config.baseline,
        time_attr="step",
        metric=sweep.config.search.metric,
        mode=sweep.config.search.mode,
        # One beyond the last step: a trial that reaches its end does so by itself.
        max_t=max_steps + 1,
        grace_period=min(config.grace_steps or first_evaluation, max_steps),
        reduction_factor=config.reduction_factor,
    )
