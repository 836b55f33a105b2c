"""What a search looks at in a trial: the figures of its objectives, and by how much they miss its constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from essnet.config.sweep import SearchConfig, SearchConstraint
from essnet.training.result import best_metrics

Figures = Mapping[str, float]
"""Metric -> its value, for each that a search looks at."""


def read_figures(directory: Path, search: SearchConfig) -> Figures | None:
    """Return what the trial in a folder has reached, or None where a figure is missing or not finite.

    All metrics of validation are of one evaluation, the best by `search.metric`: what one checkpoint has.
    """
    found = best_metrics(directory, search.metric, search.mode)
    figures = {metric: found.get(metric, math.nan) for metric in search.metrics.values()}
    return figures if all(map(math.isfinite, figures.values())) else None


def violations(figures: Figures, constraints: Sequence[SearchConstraint]) -> list[float]:
    """Return for each constraint by how much a trial misses it, as a part of the limit; 0 or less where it keeps it.

    As parts, those of mebibytes and those of mIoU can be added, as Optuna does.
    """
    return [_violation(figures[constraint.metric], constraint) for constraint in constraints]


def missed(figures: Figures, constraints: Sequence[SearchConstraint]) -> float:
    """Return by how much a trial misses all constraints together; 0 where it keeps to them."""
    return sum(max(0.0, violation) for violation in violations(figures, constraints))


def _violation(value: float, constraint: SearchConstraint) -> float:
    if constraint.at_most is not None:
        limit, beyond = constraint.at_most, value - constraint.at_most
    else:
        limit, beyond = constraint.at_least or 0.0, (constraint.at_least or 0.0) - value
    return beyond / (abs(limit) or 1.0)
