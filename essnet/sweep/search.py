"""Search algorithms: given what is known so far, which point of an arm's space comes next.

Each answer depends on the seed, the trial's place in its arm and the results told so far, and on nothing else: a
search that is built anew after an interruption, and told the same results, goes on as if nothing had happened.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from essnet.config import Arm, Choice, IntRange, Space, SweepConfig
from essnet.sweep.plan import grid_points

optuna.logging.set_verbosity(optuna.logging.WARNING)


class ArmSearch(Protocol):
    """Chooses the points of one arm."""

    def propose(self, arm_index: int) -> Mapping[str, Any]:
        """Return the overrides of the arm's trial number `arm_index`."""

    def tell(self, arm_index: int, point: Mapping[str, Any], value: float) -> None:
        """Take the result of the arm's trial number `arm_index`."""


class GridSearch:
    """Every point, one after another."""

    def __init__(self, arm: Arm) -> None:
        self._points = grid_points(arm)

    def propose(self, arm_index: int) -> Mapping[str, Any]:
        """Return the point number `arm_index` of the grid."""
        return self._points[arm_index]

    def tell(self, arm_index: int, point: Mapping[str, Any], value: float) -> None:
        """Do nothing: a grid does not learn."""


class OptunaSearch:
    """Points chosen by one of Optuna's samplers, seeded anew for each trial."""

    def __init__(self, arm: Arm, *, sampler: Callable[[int], BaseSampler], seed: int, mode: str) -> None:
        self._sampler = sampler
        self._seed = seed
        self._direction = StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE
        # Optuna's categories must be plain scalars; values of a choice go by their place.
        self._choices = {path: space.choice for path, space in arm.spaces.items() if isinstance(space, Choice)}
        self._distributions = {path: _distribution(space) for path, space in arm.spaces.items()}
        self._told: dict[int, FrozenTrial] = {}

    def propose(self, arm_index: int) -> Mapping[str, Any]:
        """Return the point that the sampler suggests, given what was told."""
        # A study of its own for each proposal, with the results in the order of the trials and not in that of
        # their ends: this is what makes a resumed search go on as an uninterrupted one would.
        study = optuna.create_study(direction=self._direction, sampler=self._sampler(self._seed + arm_index))
        study.add_trials(self._told[index] for index in sorted(self._told))
        asked = study.ask(self._distributions).params
        return {path: self._choices[path][value] if path in self._choices else value for path, value in asked.items()}

    def tell(self, arm_index: int, point: Mapping[str, Any], value: float) -> None:
        """Take a result; NaN counts as a failed trial."""
        failed = math.isnan(value)
        self._told[arm_index] = create_trial(
            params={path: self._place(path, chosen) for path, chosen in point.items()},
            distributions=self._distributions,
            value=None if failed else value,
            state=TrialState.FAIL if failed else TrialState.COMPLETE,
        )

    def _place(self, path: str, chosen: Any) -> Any:
        if path not in self._choices:
            return chosen
        # `1 == True`: compare the type as well.
        return next(
            place for place, value in enumerate(self._choices[path]) if value == chosen and type(value) is type(chosen)
        )


def build_search(arm: Arm, config: SweepConfig, num_trials: int) -> ArmSearch:
    """Build the search of an arm that will have `num_trials` trials."""
    # Two arms with the same space shall not see the same random points.
    seed = config.search.seed * 1_000_003 + zlib.crc32(arm.name.encode())
    if config.search.algorithm == "grid":
        return GridSearch(arm)
    if config.search.algorithm == "random":
        return OptunaSearch(arm, sampler=lambda seed: RandomSampler(seed=seed), seed=seed, mode=config.search.mode)
    # TPE begins with random points; in a small sweep a third of the trials has to do.
    startup = min(10, math.ceil(num_trials / 3))
    return OptunaSearch(
        arm,
        sampler=lambda seed: TPESampler(seed=seed, n_startup_trials=startup),
        seed=seed,
        mode=config.search.mode,
    )


def _distribution(space: Space) -> BaseDistribution:
    if isinstance(space, Choice):
        return CategoricalDistribution(range(len(space.choice)))
    if isinstance(space, IntRange):
        low, high = space.int
        high -= (high - low) % space.step
        return IntDistribution(low, high, step=space.step, log=space.log)
    return FloatDistribution(space.float[0], space.float[1], log=space.log)
