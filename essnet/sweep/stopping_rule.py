"""What stops trials early: a rule that is told results, and nothing else."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class StoppingRule(Protocol):
    """Decides after each evaluation whether the trial is to end there.

    It is told each result of the trials that may be stopped, once, in the order in which they come. A sweep that goes
    on has a new rule, which is told all former results again: what it answers must follow from what it was told.
    """

    def stops(self, trial_id: str, step: int, value: float) -> bool:
        """Return whether the trial, which has reached `value` of the sweep's metric after `step` steps, ends."""
