"""A sweep's progress as figures: how many trials have ended, and the best of each arm so far."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from essnet.sweep.folder import COMPLETED, ENDED, FAILED, STOPPED, SweepFolder, TrialRecord
from essnet.training.result import best_metrics


@dataclass(frozen=True)
class Best:
    """An arm's best trial so far."""

    trial_id: str
    value: float


class BestOfArms:
    """Looks up an arm's best trial as often as it is asked, and trials that have ended once."""

    def __init__(self, folder: SweepFolder, *, metric: str, mode: str) -> None:
        self._folder = folder
        self._metric = metric
        self._mode = mode
        self._ended: dict[str, float] = {}

    def of(self, records: Iterable[TrialRecord]) -> dict[str, Best]:
        """Return the best trial of each arm that has a result."""
        best: dict[str, Best] = {}
        for record in records:
            value = self._value(record)
            better = max if self._mode == "max" else min
            if math.isfinite(value) and (
                record.arm not in best or better(value, best[record.arm].value) != best[record.arm].value
            ):
                best[record.arm] = Best(record.trial_id, value)
        return best

    def _value(self, record: TrialRecord) -> float:
        if record.trial_id in self._ended:
            return self._ended[record.trial_id]
        found = best_metrics(self._folder.trial(record.trial_id), self._metric, self._mode)
        value = found.get(self._metric, math.nan)
        if record.state in ENDED:
            self._ended[record.trial_id] = value
        return value


def counts_of(records: Iterable[TrialRecord]) -> Counter[str]:
    """Return how many trials are in each state."""
    return Counter(record.state for record in records)


def progress_metrics(counts: Mapping[str, int], best: Mapping[str, Best]) -> dict[str, float]:
    """Return the metrics of a sweep's run: `sweep/trials_done`, `sweep/trials_failed`, `sweep/best/<arm>`."""
    done = counts.get(COMPLETED, 0) + counts.get(STOPPED, 0)
    return {
        "sweep/trials_done": float(done),
        "sweep/trials_failed": float(counts.get(FAILED, 0)),
        **{f"sweep/best/{arm}": one.value for arm, one in best.items()},
    }
