"""Which arm each trial of a sweep belongs to, known before anything starts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from essnet.config import MOST_POINTS, Arm, InputError, Point, Sweep


@dataclass(frozen=True)
class PlannedTrial:
    """A place in the queue."""

    arm: Arm
    arm_index: int
    """Its place in the arm's search; of a replicate, how many configurations of the arm are better than its own."""
    seed: int | None = None
    """A replicate's own; None for a trial of the search."""


def plan_trials(sweep: Sweep) -> list[PlannedTrial]:
    """Return all trials of a sweep in the order in which they start, as far as they are ready to.

    The baseline comes first, then the arms take turns, so that a sweep that is cut short has seen each; then the best
    of each arm are replicated. A baseline without a search space is replicated at once.

    Raises
    ------
    InputError
        If an arm cannot be searched by the sweep's algorithm.
    """
    counts = trial_counts(sweep)
    arms = sorted(sweep.arms, key=lambda arm: arm.name != sweep.config.baseline)
    columns = [[PlannedTrial(arm, index) for index in range(counts[arm.name])] for arm in arms]
    replicates = _replicates(sweep, arms, counts)
    early = [] if arms[0].spaces else [planned for planned in replicates if planned.arm is arms[0]]
    late = replicates if arms[0].spaces else [planned for planned in replicates if planned.arm is not arms[0]]
    turns = [planned for row in itertools.zip_longest(*columns[1:]) for planned in row if planned is not None]
    return [*columns[0], *early, *turns, *late]


def replicate_counts(sweep: Sweep) -> dict[str, int]:
    """Return how many replicates each arm has beside its search, where no trial fails.

    Raises
    ------
    InputError
        If an arm cannot be searched by the sweep's algorithm.
    """
    counts = dict.fromkeys((arm.name for arm in sweep.arms), 0)
    for planned in _replicates(sweep, sweep.arms, trial_counts(sweep)):
        counts[planned.arm.name] += 1
    return counts


def _replicates(sweep: Sweep, arms: Sequence[Arm], counts: Mapping[str, int]) -> list[PlannedTrial]:
    """The best configuration of each arm with all further seeds, then the second best ..."""
    replicate = sweep.config.replicate
    if replicate.seeds is None:
        return []
    for arm in arms:
        if "seed" in arm.spaces:
            raise InputError(
                f"arms.{arm.name}.seed: is searched, and replicate.seeds sets it too; leave one of them out"
            )
    planned = []
    for rank in range(replicate.top):
        for arm in arms:
            if rank < counts[arm.name]:
                own = sweep.trial_config({**arm.fixed, **arm.first_point()}).seed
                further = [seed for seed in replicate.seeds if seed != own]
                planned += [PlannedTrial(arm, rank, seed) for seed in further]
    return planned


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
    if not grid:
        of_searched = _with_added(of_searched, sweep.added_trials)
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


def _with_added(counts: dict[str, int], number: int) -> dict[str, int]:
    """Deal further trials in proportion to those that arms have, one by one: more of them never take one away."""
    added = dict.fromkeys(counts, 0)
    for _ in range(number if counts else 0):
        added[max(counts, key=lambda name: counts[name] / (2 * added[name] + 1))] += 1
    return {name: counts[name] + added[name] for name in counts}


def _dealt(sweep: Sweep, searched: Sequence[Arm]) -> dict[str, int]:
    """Deal the trials of `random` and `optuna`: first what arms ask for themselves, then the rest in equal parts."""
    counts = {arm.name: arm.options.num_trials for arm in searched if arm.options.num_trials is not None}
    shares = {arm.name: arm.options.share for arm in searched if arm.options.share is not None}
    others = [arm.name for arm in searched if arm.name not in counts and arm.name not in shares]
    total = sweep.config.search.num_trials
    if not searched:
        if total is not None:
            raise InputError(f"search.num_trials={total}, but no arm has a search space; leave it out")
        return {}
    if total is None:
        if others or shares:
            algorithm = sweep.config.search.algorithm
            raise InputError(f"search.num_trials: is missing; search.algorithm={algorithm} needs to know how many")
        total = sum(counts.values())
    so_far = 0.0
    for name, share in shares.items():
        # Rounded where the shares add up to: those of a whole make the whole.
        counts[name] = round((so_far + share) * total) - round(so_far * total)
        so_far += share
    rest = total - sum(counts.values())
    if rest < 0 or (rest and not others):
        raise InputError(
            f"search.num_trials={total}, but num_trials and share of the arms make {total - rest}; "
            + ("let them add up, or leave an arm without either" if not others else f"at least {total - rest}")
        )
    counts |= {name: rest // len(others) + (place < rest % len(others)) for place, name in enumerate(others)}
    without = [arm.name for arm in searched if not counts[arm.name]]
    if without:
        raise InputError(
            f"search.num_trials={total} leaves arms without a trial: {', '.join(without)}; take more, "
            "or less for the other arms"
        )
    for arm in searched:
        if len(arm.first_points) > counts[arm.name]:
            raise InputError(
                f"search.points: {len(arm.first_points)} of arm {arm.name}, which has {counts[arm.name]} trials; "
                "take fewer, or more trials"
            )
    return counts
