"""Which arm each trial of a sweep belongs to, known before anything starts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from essnet.config import MOST_POINTS, Arm, InputError, Point, Sweep


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
        If `grid` meets a space with infinitely or far too many points, the numbers of trials that are asked for do not
        fit together, or an arm is left without any.
    """
    grid = sweep.config.search.algorithm == "grid"
    for arm in sweep.arms:
        option = "share" if arm.options.share is not None else "num_trials"
        if (arm.options.share is not None or arm.options.num_trials is not None) and (grid or not arm.spaces):
            reason = "grid runs every point" if arm.spaces else "without a search space it has one trial"
            raise InputError(f"arms.{arm.name}: {option}: {reason}; leave it out")
    searched = [arm for arm in sweep.arms if arm.spaces]
    of_searched = {arm.name: _grid_size(arm) for arm in searched} if grid else _dealt(sweep, searched)
    return {arm.name: of_searched.get(arm.name, 1) for arm in sweep.arms}


def grid_points(arm: Arm) -> list[Point]:
    """Return every point of an arm's grid; the last path varies fastest.

    Raises
    ------
    InputError
        If there are infinitely or far too many.
    """
    _grid_size(arm)
    return list(arm.points())


def _grid_size(arm: Arm) -> int:
    for path, space in arm.spaces.items():
        if space.size() is None:
            raise InputError(
                f"arms.{arm.name}.{path}: a float range has no grid; "
                "give it a step, take {choice: [...]}, or search.algorithm: random or optuna"
            )
    number = arm.count() or 0
    if number > MOST_POINTS:
        raise InputError(
            f"arms.{arm.name}: a grid of {number} trials; at most {MOST_POINTS}, "
            "take fewer values, or search.algorithm: random or optuna"
        )
    return number


def _dealt(sweep: Sweep, searched: Sequence[Arm]) -> dict[str, int]:
    """Deal the trials of `random` and `optuna`: first what arms ask for themselves, then the rest in equal parts."""
    counts = {arm.name: arm.options.num_trials for arm in searched if arm.options.num_trials is not None}
    shares = {arm.name: arm.options.share for arm in searched if arm.options.share is not None}
    others = [arm.name for arm in searched if arm.name not in counts and arm.name not in shares]
    total = sweep.config.search.num_trials
    if total is None:
        if others or shares or not searched:
            algorithm = sweep.config.search.algorithm
            raise InputError(f"search.num_trials: is missing; search.algorithm={algorithm} needs to know how many")
        total = sum(counts.values())
    so_far = 0.0
    for name, share in shares.items():
        # Rounded where the shares add up to: those of a whole make the whole.
        counts[name] = round((so_far + share) * total) - round(so_far * total)
        so_far += share
    rest = total - sum(counts.values())
    if rest and not others:
        raise InputError(
            f"search.num_trials={total}, but num_trials and share of the arms make {total - rest}; "
            "let them add up, or leave an arm without either"
        )
    counts |= {name: max(rest, 0) // len(others) + (place < rest % len(others)) for place, name in enumerate(others)}
    if rest < len(others) or 0 in counts.values():
        least = total - rest + len(others)
        raise InputError(
            f"search.num_trials={total} leaves some of the {len(searched)} searched arms without a trial"
            + (f"; at least {least}" if rest < len(others) else "")
        )
    for arm in searched:
        if len(arm.first_points) > counts[arm.name]:
            raise InputError(
                f"search.points: {len(arm.first_points)} of arm {arm.name}, which has {counts[arm.name]} trials; "
                "take fewer, or more trials"
            )
    return counts
