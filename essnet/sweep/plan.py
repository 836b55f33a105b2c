"""Which arm each trial of a sweep belongs to, known before anything starts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from essnet.config import Arm, InputError, Sweep

_MOST_GRID_POINTS = 10_000


@dataclass(frozen=True)
class PlannedTrial:
    """A place in the queue: the sweep's `index`-th trial is the `arm_index`-th of its arm."""

    index: int
    arm: Arm
    arm_index: int

    @property
    def trial_id(self) -> str:
        """Name of the trial's folder and of its MLflow run."""
        return f"{self.index:03d}-{self.arm.name}"


def plan_trials(sweep: Sweep) -> list[PlannedTrial]:
    """Return all trials of a sweep in the order in which they start.

    The baseline comes first, then the arms take turns, so that a sweep that is cut short has seen each.

    Raises
    ------
    InputError
        If an arm cannot be searched by the sweep's algorithm.
    """
    counts = trial_counts(sweep)
    arms = sorted(sweep.arms, key=lambda arm: arm.name != sweep.config.baseline)
    baseline = [(arms[0], index) for index in range(counts[arms[0].name])]
    columns = [[(arm, index) for index in range(counts[arm.name])] for arm in arms[1:]]
    turns = [pair for row in itertools.zip_longest(*columns) for pair in row if pair is not None]
    return [PlannedTrial(index, arm, arm_index) for index, (arm, arm_index) in enumerate(baseline + turns)]


def trial_counts(sweep: Sweep) -> dict[str, int]:
    """Return how many trials each arm has; an arm without a search space has one.

    Raises
    ------
    InputError
        If `grid` meets a space with infinitely or far too many points, or `num_trials` leaves an arm without any.
    """
    search = sweep.config.search
    searched = [arm for arm in sweep.arms if arm.spaces]
    counts = {arm.name: 1 for arm in sweep.arms}
    if search.algorithm == "grid":
        counts |= {arm.name: prod(map(len, grid_axes(arm).values())) for arm in searched}
        largest = max(counts, key=lambda name: counts[name])
        if counts[largest] > _MOST_GRID_POINTS:
            raise InputError(
                f"arms.{largest}: a grid of {counts[largest]} trials; at most {_MOST_GRID_POINTS}, "
                "take fewer values, or search.algorithm: random or optuna"
            )
        return counts
    total = search.num_trials or 0
    if searched and total < len(searched):
        raise InputError(
            f"search.num_trials={total} leaves some of the {len(searched)} searched arms without a trial; "
            f"at least {len(searched)}"
        )
    for place, arm in enumerate(searched):
        counts[arm.name] = total // len(searched) + (place < total % len(searched))
    return counts


def grid_axes(arm: Arm) -> dict[str, Sequence[Any]]:
    """Return for each searched path of an arm all its values.

    Raises
    ------
    InputError
        If a space has infinitely many.
    """
    axes = {}
    for path, space in arm.spaces.items():
        values = space.grid()
        if values is None:
            raise InputError(
                f"arms.{arm.name}.{path}: a float range has no grid; "
                "take {choice: [...]}, or search.algorithm: random or optuna"
            )
        axes[path] = values
    return axes


def grid_points(arm: Arm) -> list[Mapping[str, Any]]:
    """Return every point of an arm's grid; the last path varies fastest."""
    axes = grid_axes(arm)
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
