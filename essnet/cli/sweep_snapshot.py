"""A sweep at a moment, read from its folder as anybody could: how far it is, and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from essnet.atomic_files import read_json
from essnet.report import ComparedTrial, Comparison, load_comparison
from essnet.sweep.folder import ENDED, FAILED, PENDING, RUNNING, SweepFolder


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
        not_begun = self.comparison.num_trials - self.ended - sum(trial.state == RUNNING for trial in trials)
        return (running + not_begun * sum(totals) / len(totals)) / max(1, concurrent)


def take_snapshot(folder: SweepFolder) -> Snapshot | None:
    """Read a sweep's folder; None before the sweep has begun to write it."""
    if not (folder.path / "sweep.json").exists():
        return None
    comparison = load_comparison(folder)
    steps, max_steps, pace = {}, {}, {}
    for record in folder.records():
        progress = read_json(folder.trial(record.trial_id) / "progress.json")
        steps[record.trial_id] = progress.get("step", 0)
        max_steps[record.trial_id] = record.max_steps
        if progress.get("seconds_per_step"):
            pace[record.trial_id] = progress["seconds_per_step"]
    # A trial may be begun between the two looks at the folder.
    known = {trial.trial_id for trial in comparison.trials}
    missing = known - steps.keys()
    return Snapshot(
        comparison, {**dict.fromkeys(missing, 0), **steps}, {**dict.fromkeys(missing, 0), **max_steps}, pace
    )
