"""Search algorithms: given what is known so far, which point of an arm's space comes next.

Each answer depends on the seed, the trial's place in its arm and the figures told so far, and on nothing else: a
search that is built anew after an interruption, and told the same figures, goes on as if nothing had happened.
"""

from __future__ import annotations

import copy
import math
import random
import zlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from essnet.config import Arm, Choice, FloatRange, IntRange, Point, Space, SweepConfig
from essnet.config.sweep import SearchConfig
from essnet.sweep.objectives import Figures, violations
from essnet.sweep.plan import grid_points

_SEEDS = 2**32
"""numpy takes seeds below it."""

_DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}

optuna.logging.set_verbosity(optuna.logging.WARNING)


class ArmSearch(Protocol):
    """Chooses the points of one arm."""

    def propose(self, arm_index: int) -> Point:
        """Return the overrides of the arm's trial number `arm_index`."""

    def tell(self, arm_index: int, point: Point, figures: Figures) -> None:
        """Take the figures of the arm's trial number `arm_index`."""


class GridSearch:
    """Every point, one after another."""

    def __init__(self, arm: Arm) -> None:
        self._points = grid_points(arm)

    def propose(self, arm_index: int) -> Point:
        """Return the point number `arm_index` of the grid."""
        return self._points[arm_index]

    def tell(self, arm_index: int, point: Point, figures: Figures) -> None:
        """Do nothing: a grid does not learn."""


class OptunaSearch:
    """Points chosen by one of Optuna's samplers, seeded anew for each trial; `search.points` come before its own.

    A path is suggested where the values chosen so far make it active, so that the sampler never sees a value that
    had no effect.

    Parameters
    ----------
    arm
        What is searched.
    search
        Its objectives and constraints.
    sampler
        Builds the sampler from a seed.
    seed
        That of the arm's first trial.
    earlier
        Points of the arm with what other sweeps found there; they are known from the beginning.
    """

    def __init__(
        self,
        arm: Arm,
        *,
        search: SearchConfig,
        sampler: Callable[[int], BaseSampler],
        seed: int,
        earlier: Iterable[tuple[Point, Figures]],
    ) -> None:
        self._arm = arm
        self._search = search
        self._sampler = sampler
        self._seed = seed
        self._earlier = [self._to_trial(point, figures) for point, figures in earlier]
        self._told: dict[int, FrozenTrial] = {}

    def propose(self, arm_index: int) -> Point:
        """Return the point that the sampler suggests, given what is known."""
        if arm_index < len(self._arm.first_points):
            return self._arm.first_points[arm_index]
        point = self._suggest(self._seed + arm_index, {})
        if point is None:
            # Fewer classes than the least number of neighbours: begin where some number of them remains.
            cases = [case for case, _ in self._arm.deciding_points()]
            point = self._suggest(self._seed + arm_index, random.Random(self._seed + arm_index).choice(cases))
        assert point is not None
        return point

    def tell(self, arm_index: int, point: Point, figures: Figures) -> None:
        """Take a trial's figures, all finite."""
        self._told[arm_index] = self._to_trial(point, figures)

    def _to_trial(self, point: Point, figures: Figures) -> FrozenTrial:
        parameters: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}

        def note(path: str, space: Space) -> Any:
            name = self._name(path, space)
            parameters[name] = _to_optuna(space, point[path])
            distributions[name] = _distribution(space)
            return point[path]

        self._arm.build_point(note)
        missed = violations(figures, self._search.constraints)
        return _KnownTrial.of(
            parameters,
            distributions,
            values=[figures[metric] for metric in self._search.directions],
            constraints={str(place): violation for place, violation in enumerate(missed)},
        )

    def _suggest(self, seed: int, decided: Point) -> Point | None:
        # A study of its own for each proposal, with the trials in the order of the trials and not in that of
        # their ends: this is what makes a resumed search go on as an uninterrupted one would.
        directions = [_DIRECTIONS[mode] for mode in self._search.directions.values()]
        study = optuna.create_study(directions=directions, sampler=self._sampler(seed % _SEEDS))
        study.add_trials([*self._earlier, *(self._told[index] for index in sorted(self._told))])
        trial = study.ask()

        def choose(path: str, space: Space) -> Any:
            return decided[path] if path in decided else _suggest(trial, self._name(path, space), space)

        return self._arm.build_point(choose)

    def _name(self, path: str, space: Space) -> str:
        """The parameter's name: what the number of classes has cut is another parameter, with values of its own."""
        return path if space == self._arm.spaces[path] else f"{path} in {space.describe()}"


class _KnownTrial(FrozenTrial):
    """A trial that has ended, so that all studies can share its parts.

    Optuna's storage copies what is added to it deeply, which is most of a proposal's time where hundreds are known.
    """

    @classmethod
    def of(
        cls,
        params: dict[str, Any],
        distributions: dict[str, BaseDistribution],
        *,
        values: list[float],
        constraints: dict[str, float],
    ) -> _KnownTrial:
        """Return a completed trial that belongs to no study yet."""
        now = datetime.now()
        trial = cls(
            number=-1,
            trial_id=-1,
            state=TrialState.COMPLETE,
            value=None,
            values=values,
            datetime_start=now,
            datetime_complete=now,
            params=params,
            distributions=distributions,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        for name, violation in constraints.items():
            trial.set_constraint(name, violation)
        return trial

    def __deepcopy__(self, memo: object) -> _KnownTrial:
        return copy.copy(self)  # its number changes, nothing else


def build_search(
    arm: Arm, config: SweepConfig, num_trials: int, earlier: Iterable[tuple[Point, Figures]] = ()
) -> ArmSearch:
    """Build the search of an arm that will have `num_trials` trials, beside what is known from `earlier` ones."""
    # Two arms with the same space shall not see the same random points.
    seed = config.search.seed * 1_000_003 + zlib.crc32(arm.name.encode())
    if config.search.algorithm == "grid":
        return GridSearch(arm)
    # TPE begins with random points; in a small sweep a third of the trials has to do.
    startup = min(10, math.ceil(num_trials / 3))
    samplers: dict[str, Callable[[int], BaseSampler]] = {
        "random": lambda seed: RandomSampler(seed=seed),
        "optuna": lambda seed: TPESampler(seed=seed, n_startup_trials=startup),
    }
    sampler = samplers[config.search.algorithm]
    return OptunaSearch(arm, search=config.search, sampler=sampler, seed=seed, earlier=earlier)


def _distribution(space: Space) -> BaseDistribution:
    if isinstance(space, Choice):
        # Optuna's categories must be plain scalars; values of a choice go by their place.
        return CategoricalDistribution(range(len(space.choice)))
    if isinstance(space, IntRange):
        return IntDistribution(space.int[0], space.last, step=space.step, log=space.log)
    if space.step is not None:
        # By the step's number, as Optuna's own steps are sums with the errors of sums.
        return IntDistribution(0, (space.size() or 1) - 1)
    return FloatDistribution(space.float[0], space.float[1], log=space.log)


def _suggest(trial: Trial, name: str, space: Space) -> Any:
    if isinstance(space, Choice):
        return space.choice[trial.suggest_categorical(name, range(len(space.choice)))]
    if isinstance(space, IntRange):
        return trial.suggest_int(name, space.int[0], space.last, step=space.step, log=space.log)
    if space.step is not None:
        return space.at(trial.suggest_int(name, 0, (space.size() or 1) - 1))
    return trial.suggest_float(name, space.float[0], space.float[1], log=space.log)


def _to_optuna(space: Space, value: Any) -> Any:
    if isinstance(space, Choice):
        # `1 == True` and `1 == 1.0`: their texts differ.
        return next(place for place, mine in enumerate(space.choice) if repr(mine) == repr(value))
    if isinstance(space, FloatRange) and space.step is not None:
        return space.index(value)
    return value
