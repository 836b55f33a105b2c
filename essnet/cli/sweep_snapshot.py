"""A sweep at a moment, read from its folder as anybody could: how far it is, and how long it will take."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from essnet.atomic_files import read_json
from essnet.config.errors import InputError
from essnet.report import ComparedTrial, Comparison, TrialReader, load_comparison
from essnet.sweep.folder import ENDED, FAILED, PENDING, RUNNING, SweepFolder

_MOST = 1e12
"""Steps, or seconds."""


@dataclass(frozen=True)
class Snapshot:
    """A sweep's comparison so far, and how far each trial is in steps."""

    comparison: Comparison
    steps: dict[str, int]
    max_steps: dict[str, int]
    seconds_per_step: dict[str, float]

    @property
    def ended(self) -> int:
        """How many trials have ended, failed ones included."""
        return sum(trial.state in (*ENDED, FAILED) for trial in self.comparison.trials)

    def without_driver(self) -> Snapshot:
        """Return what is true when the sweep's process is gone: nothing runs, whatever was noted last."""
        trials = tuple(replace(t, state=PENDING) if t.state == RUNNING else t for t in self.comparison.trials)
        return replace(self, comparison=replace(self.comparison, trials=trials))

    def trial_seconds_left(self, trial: ComparedTrial) -> float | None:
        """Seconds that a trial that runs will take; None before its second step."""
        pace = self.seconds_per_step.get(trial.trial_id)
        if trial.state != RUNNING or pace is None:
            return None
        return pace * (self.max_steps[trial.trial_id] - self.steps[trial.trial_id])

    def seconds_left(self, *, concurrent: int) -> float | None:
        """Seconds until all have ended, from the mean pace of those that have one; None before there is any."""
        if not self.seconds_per_step:
            return None
        trials = self.comparison.trials
        totals = [pace * self.max_steps[name] for name, pace in self.seconds_per_step.items()]
        running = sum(self.trial_seconds_left(trial) or 0 for trial in trials)
        begun = self.ended + sum(trial.state == RUNNING for trial in trials)
        not_begun = max(0, self.comparison.num_trials - begun)  # replicates of what was the best once come on top
        return (running + not_begun * sum(totals) / len(totals)) / max(1, concurrent)


class SnapshotReader:
    """Reads a sweep's folder as often as it is asked; of trials that have ended only what says that they have."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._trials = TrialReader(folder)
        self._ended: dict[str, Mapping[str, Any]] = {}

    def read(self) -> Snapshot | None:
        """Return how the sweep stands; None before it has begun to write its folder."""
        if not (self._folder.path / "sweep.json").exists():
            return None
        comparison = load_comparison(self._folder, self._trials)
        progress = {trial.trial_id: self._progress(trial) for trial in comparison.trials}
        return Snapshot(
            comparison,
            steps={name: one.get("step", 0) for name, one in progress.items()},
            max_steps={trial.trial_id: trial.max_steps for trial in comparison.trials},
            seconds_per_step={
                name: one["seconds_per_step"] for name, one in progress.items() if one.get("seconds_per_step")
            },
        )

    def _progress(self, trial: ComparedTrial) -> Mapping[str, Any]:
        progress = self._ended.get(trial.trial_id)
        if progress is None:
            progress = {}
            with suppress(InputError):  # damaged
                progress = _numbers(read_json(self._folder.trial(trial.trial_id) / "progress.json"))
        if trial.state in ENDED:
            self._ended[trial.trial_id] = progress
        return progress


def _numbers(progress: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a trial's progress is a number that a sweep can have."""
    return {key: value for key, value in progress.items() if isinstance(value, int | float) and 0 <= value < _MOST}
