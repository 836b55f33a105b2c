"""Two configurations beside each other: pairs of trials of the same seed, looked at where both have taken the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from essnet.report.estimates import Estimate, estimate
from essnet.report.trials import ComparedTrial
from essnet.sweep.folder import COMPLETED


@dataclass(frozen=True)
class AgainstBaseline:
    """A configuration and the baseline over the seeds that they have in common."""

    value: Estimate
    of_baseline: Estimate
    difference: Estimate
    """Of the pairs: the value minus the baseline's."""
    step: int | None
    """Where one of a pair ended before its last step: up to which both are looked at (the least, of several pairs).
    None where each pair is looked at as it ended."""


def compare_at_equal_steps(
    trials: Sequence[ComparedTrial], baseline: Sequence[ComparedTrial], *, metric: str, mode: str
) -> AgainstBaseline | None:
    """Compare trials, one a seed, with the baseline's of the same seeds.

    Where a pair took unequal steps, as one was stopped early or still runs, each counts as if it had ended with the
    shorter one. Two that both went to their end count as they ended: that one has more steps is then what the sweep
    asks for, equal time say. None where no pair can be compared.
    """
    of_baseline = {trial.seed: trial for trial in baseline}
    pairs: list[tuple[float, float]] = []
    cuts: list[int] = []
    for trial in trials:
        other = of_baseline.get(trial.seed)
        if other is None:
            continue
        if trial.steps == other.steps or trial.state == other.state == COMPLETED:
            pairs.append((trial.metrics[metric], other.metrics[metric]))
            continue
        step = min(trial.steps, other.steps)
        value, others = (one.value_up_to(step, metric=metric, mode=mode) for one in (trial, other))
        if value is not None and others is not None:
            pairs.append((value, others))
            cuts.append(step)
    if not pairs:
        return None
    return AgainstBaseline(
        value=estimate([value for value, _ in pairs]),
        of_baseline=estimate([others for _, others in pairs]),
        difference=estimate([value - others for value, others in pairs]),
        step=min(cuts, default=None),
    )
