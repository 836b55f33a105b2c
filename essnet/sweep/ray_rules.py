"""Ray's schedulers that stop trials and never pause them, as rules that know a trial by its name alone."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler

_MEDIAN_NEEDS = 3
"""Trials that the median rule must know beside the one that it judges."""
_VALUE = "value"


@dataclass(frozen=True)
class Ticket:
    """What a scheduler knows of a trial: its name."""

    trial_id: str


class RayRule:
    """A `StoppingRule` out of one of Ray's schedulers."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._added: set[str] = set()

    def stops(self, trial_id: str, step: int, value: float) -> bool:
        """Tell the scheduler the result; return whether it would stop the trial."""
        ticket = Ticket(trial_id)
        if trial_id not in self._added:
            self._scheduler.on_trial_add(None, ticket)
            self._added.add(trial_id)
        decision = self._scheduler.on_trial_result(None, ticket, {"step": step, _VALUE: value})
        return bool(decision == TrialScheduler.STOP)


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


def halving(*, mode: str, max_steps: int, grace_steps: int, reduction_factor: int, brackets: int = 1) -> RayRule:
    """Return asynchronous successive halving, with several brackets Hyperband."""
    scheduler = AsynchronousHyperBand(
        time_attr="step",
        metric=_VALUE,
        mode=mode,
        grace_period=grace_steps,
        # One beyond the last step: a trial that reaches its end does so by itself.
        max_t=max_steps + 1,
        reduction_factor=reduction_factor,
        brackets=brackets,
    )
    return RayRule(scheduler)


def median_rule(*, mode: str, max_steps: int, grace_steps: int) -> RayRule:
    """Return the rule that ends trials whose best is below the median of the others' running means."""
    never_make_room: dict[str, Any] = {"min_time_slice": math.inf}
    scheduler = MedianStoppingRule(
        time_attr="step",
        metric=_VALUE,
        mode=mode,
        grace_period=grace_steps,
        min_samples_required=_MEDIAN_NEEDS,
        **never_make_room,
    )
    return RayRule(scheduler)
