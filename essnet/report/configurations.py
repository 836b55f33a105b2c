"""Trials that differ in nothing but the seed, taken together: what is compared is their mean."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from essnet.config.sweep import SearchConstraint
from essnet.report.equal_steps import AgainstBaseline, compare_at_equal_steps
from essnet.report.estimates import Estimate, estimate
from essnet.report.trials import ComparedTrial
from essnet.sweep.folder import COMPLETED, FAILED, STOPPED
from essnet.sweep.objectives import missed


@dataclass(frozen=True)
class Configuration:
    """An arm with the same overrides, the seed aside."""

    arm: str
    overrides: Mapping[str, Any]
    """Without the seed."""
    trials: tuple[ComparedTrial, ...]
    """All of them, in the order in which they stand in the sweep."""
    counted: tuple[ComparedTrial, ...]
    """Those with a result, one a seed; where any is complete, only such."""
    metrics: Mapping[str, float]
    """Means over the counted trials, of what all of them have; where none counts, the first one's."""
    value: Estimate | None
    """The metric that is compared; None while there is no result."""
    missed: float = 0.0
    """By how much the means miss the sweep's constraints, each as a part of its limit; 0: they keep to them."""
    against_baseline: AgainstBaseline | None = None
    """None where they have no seed in common, or no evaluation by a step that both have taken."""

    @property
    def difference(self) -> Estimate | None:
        """Return the value minus the baseline's, of the same seeds and steps."""
        return self.against_baseline.difference if self.against_baseline else None

    @property
    def is_complete(self) -> bool:
        """Whether its result is of trials that went to their end."""
        return any(trial.state == COMPLETED for trial in self.counted)

    @property
    def first(self) -> ComparedTrial:
        """Return the trial that stands for it: all others have the same settings."""
        return (self.counted or self.trials)[0]

    @property
    def trial_id(self) -> str:
        """Return the first trial's."""
        return self.first.trial_id

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds over which it is the mean."""
        return tuple(trial.seed for trial in self.counted)

    @property
    def steps(self) -> int:
        """Return the most steps that a counted trial took."""
        return max((trial.steps for trial in self.counted), default=self.first.steps)

    @property
    def searched(self) -> dict[str, Any]:
        """Return what was searched besides d, k and the seed, by the last word of its path."""
        known = ("objective.embedding_dim", "objective.num_neighbours", "seed")
        return {path.split(".")[-1]: value for path, value in self.first.point.items() if path not in known}

    def to_json(self) -> dict[str, Any]:
        """Return it with the keys that scripts rely on."""
        return {
            "arm": self.arm,
            "overrides": dict(self.overrides),
            "trials": [trial.trial_id for trial in self.trials],
            "seeds": list(self.seeds),
            "steps": self.steps,
            "mean": self.value.mean if self.value else None,
            "half_width": self.value.half_width if self.value else None,
            "difference": self.difference.mean if self.difference else None,
            "difference_half_width": self.difference.half_width if self.difference else None,
            "difference_step": self.against_baseline.step if self.against_baseline else None,
            "metrics": dict(self.metrics),
        }


def gather(
    trials: Sequence[ComparedTrial],
    *,
    metric: str,
    mode: str,
    baseline_arm: str,
    constraints: Sequence[SearchConstraint] = (),
) -> tuple[Configuration, ...]:
    """Group trials into configurations, in the order of their first trials, with differences to the baseline."""
    groups: dict[tuple[str, str], list[ComparedTrial]] = defaultdict(list)
    for trial in trials:
        groups[trial.arm, json.dumps(_without_seed(trial), sort_keys=True)].append(trial)
    found = [_configuration(group, metric, constraints) for group in groups.values()]
    baseline = best_of((one for one in found if one.arm == baseline_arm), mode=mode)
    if baseline is None:
        return tuple(found)
    return tuple(replace(one, against_baseline=_against(one, baseline, metric, mode)) for one in found)


def best_of(configurations: Iterable[Configuration], *, mode: str) -> Configuration | None:
    """Return the configuration with the best mean, or None where none has a result.

    Only the best known compete: those with complete trials before those without, so that no stopped or failed trial
    beats one that went to its end; of these those that keep to the sweep's constraints, or miss them by least; of these
    those with the most seeds, so that no lucky run beats a mean; and of these those without a stopped or failed trial.
    """

    def precedence(one: Configuration) -> tuple[bool, float, int, bool, float]:
        is_broken = any(trial.state in (FAILED, STOPPED) for trial in one.trials)
        return not one.is_complete, one.missed, -len(one.seeds), is_broken, rank(one, mode=mode)[1]

    return min((one for one in configurations if one.value is not None), key=precedence, default=None)


def rank(configuration: Configuration, *, mode: str) -> tuple[bool, float]:
    """Return a sorting key: the best mean first, what has no result last."""
    value = configuration.value.mean if configuration.value else 0.0
    return configuration.value is None, -value if mode == "max" else value


def _configuration(
    trials: Sequence[ComparedTrial], metric: str, constraints: Sequence[SearchConstraint]
) -> Configuration:
    with_result = [trial for trial in trials if math.isfinite(trial.metrics.get(metric, math.nan))]
    complete = [trial for trial in with_result if trial.state == COMPLETED]
    counted: dict[int, ComparedTrial] = {}
    for trial in complete or with_result:
        counted.setdefault(trial.seed, trial)  # a point that was drawn twice is no second seed
    shown = list(counted.values()) or [trials[0]]
    names = [name for name in shown[0].metrics if all(name in trial.metrics for trial in shown)]
    metrics = {name: fmean(trial.metrics[name] for trial in shown) for name in names}
    known = [constraint for constraint in constraints if constraint.metric in metrics]
    return Configuration(
        arm=trials[0].arm,
        overrides=_without_seed(trials[0]),
        trials=tuple(trials),
        counted=tuple(counted.values()),
        metrics=metrics,
        missed=missed(metrics, known) if len(known) == len(constraints) else math.inf,
        value=estimate([trial.metrics[metric] for trial in counted.values()]) if counted else None,
    )


def _against(one: Configuration, baseline: Configuration, metric: str, mode: str) -> AgainstBaseline | None:
    if one is baseline and one.value is not None:
        return AgainstBaseline(one.value, one.value, difference=Estimate(0.0, None, len(one.counted)), step=None)
    return compare_at_equal_steps(one.counted, baseline.counted, metric=metric, mode=mode)


def _without_seed(trial: ComparedTrial) -> dict[str, Any]:
    return {path: value for path, value in trial.overrides.items() if path != "seed"}
