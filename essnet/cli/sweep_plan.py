"""What a sweep will run, in words: what `sweep --dry-run` prints."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from essnet.config import Arm, Sweep, describe_point
from essnet.sweep.resources import count


def describe_sweep(
    sweep: Sweep, *, searched: Mapping[str, int], replicates: Mapping[str, int], console: Console
) -> None:
    """Print the arms with what is fixed and what is searched, and their numbers of trials by the arm's name."""
    search = sweep.config.search
    total = sum(searched.values()) + sum(replicates.values())
    wanted = " and ".join(search.directions)
    console.print(
        f"sweep {sweep.config.name}: {count(total, 'trial')}, {search.algorithm} search by {wanted}, "
        f"scheduler {sweep.config.scheduler.name}",
        markup=False,
    )
    if sweep.added_trials:
        console.print(f"  {sweep.added_trials} of them added since", markup=False)
    for limit in _limits(sweep):
        console.print(f"  at most {limit}", markup=False)
    for arm in sweep.arms:
        trials = count(searched[arm.name], "trial")
        if replicates[arm.name]:
            trials += f" and {count(replicates[arm.name], 'replicate')}"
        console.print(f"  {arm.name}{_mark(arm, sweep)}: {trials}", markup=False)
        for path, value in arm.fixed.items():
            console.print(f"    {path} = {value}", markup=False)
        for path in arm.spaces:
            console.print(f"    {path} in {arm.describe(path)}", markup=False)
        for point in arm.first_points:
            console.print(f"    first: {describe_point(point)}", markup=False)
    if sweep.config.replicate.seeds:
        best = "the best" if sweep.config.replicate.top == 1 else f"the best {sweep.config.replicate.top}"
        seeds = ", ".join(map(str, sweep.config.replicate.seeds))
        console.print(f"  {best} of each arm with seeds {seeds}", markup=False)


def _limits(sweep: Sweep) -> list[str]:
    search = sweep.config.search
    limits = []
    if search.time_budget is not None:
        limits.append(f"{search.time_budget:g} hours, after which no trial of the search begins")
    if search.step_budget is not None:
        limits.append(f"{search.step_budget:,} steps, after which no trial of the search begins")
    return limits


def _mark(arm: Arm, sweep: Sweep) -> str:
    if arm.name == sweep.config.baseline:
        return " (baseline)"
    return " (reference)" if arm.name in sweep.references else ""
