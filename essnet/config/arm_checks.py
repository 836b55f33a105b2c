"""What has to be right about the arms of a sweep before anything starts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from essnet.config.arm import Arm, Point
from essnet.config.conditions import CLASSES_PATHS, HAS_EFFECT, NEIGHBOURS_PATH, Condition
from essnet.config.errors import InputError, named
from essnet.config.messages import did_you_mean, first_problem, in_one_line
from essnet.config.overrides import dotted_paths, flatten, with_overrides
from essnet.config.trial import TrialConfig
from essnet.config.trial_keys import can_be, key_paths

MOST_POINTS = 10_000
"""Points of an arm that are looked at one by one, in about a second; a grid has no more."""

_MOST_OTHERS = 1000
"""Points that are looked at for advice on a refused one."""

_Place = tuple[str | int, ...]
"""Where something is wrong with a trial, in pydantic's steps."""


def check_arm(arm: Arm, *, source: str, elsewhere: Callable[[str], str]) -> set[str]:
    """Check that every point of an arm is a valid trial: each of up to `MOST_POINTS`, else those at the spaces' ends.

    Parameters
    ----------
    source
        The sweep's file, for messages.
    elsewhere
        Says for a path that the arm does not set where it was set.

    Returns
    -------
    Names of the data sets that its trials run on.

    Raises
    ------
    InputError
        If conditions make no sense, a searched path is never active, no point remains, or one is no valid trial.
    """
    here = f"{source}: arms.{arm.name}"
    _check_conditions(arm, here)
    with named(source):
        cases = [point for point, _ in arm.deciding_points()]
    names: set[str] = {_validate(arm, point, here, elsewhere).data.name for point in _points_to_check(arm)}
    _check_each_is_active(arm, cases, here)
    return names


def check_point(arm: Arm, given: Mapping[str, Any]) -> Point:
    """Return a point of an arm as its search would propose it.

    Raises
    ------
    InputError
        If a path is not searched or inactive, a value lies outside its space, or one is missing.
    """
    for path in given:
        if path not in arm.spaces:
            raise InputError(f"{path}: is not searched by arms.{arm.name}{did_you_mean(path, arm.spaces)}")

    def choose(path: str, space: Any) -> Any:
        if path not in given:
            raise InputError(f"{path}: is missing; a point has a value for all that is searched")
        try:
            return space.member(given[path])
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None

    point = arm.build_point(choose)
    if point is None:
        raise InputError(f"{NEIGHBOURS_PATH}: {_no_neighbours(arm)}")
    for path in given:
        if path not in point:
            failing = next(condition for condition in arm.conditions(path) if not arm.holds(condition, point))
            raise InputError(f"{path}: is not searched in this point, but only where {failing.describe()}")
    return point


def has_effect(arm: Arm, path: str) -> bool:
    """Return whether the base trial's value of a key decides about any trial of an arm."""
    if _sets(arm.fixed, path):
        return False
    return any(
        all(arm.holds(condition, point) for condition in HAS_EFFECT.get(path, ())) and path not in arm.active(point)
        for point, _ in arm.deciding_points(also=[path])
    )


def without_effect(overrides: Mapping[str, Any], arms: Iterable[Arm]) -> list[str]:
    """Return those of the base trial's overrides that change no trial of any arm."""
    arms = list(arms)
    return [
        path
        for path, value in overrides.items()
        if not any(has_effect(arm, leaf) for leaf, _ in flatten({path: value}) for arm in arms)
    ]


def _check_conditions(arm: Arm, source: str) -> None:
    """Check what is written in `when`: known keys, values that they can have."""
    for path, space in arm.spaces.items():
        for other, values in space.when.items():
            where = f"{source}.{path}.when: {other}"
            if other not in key_paths():
                raise InputError(f"{where}: unknown key{did_you_mean(other, key_paths())}")
            for value in values:
                if not can_be(other, value):
                    raise InputError(f"{where}: can never be {value!r}")
                if other in arm.spaces and not _takes(arm, other, value):
                    searched = arm.spaces[other].describe()
                    raise InputError(f"{where}: can never be {value!r}; it is searched in {searched}")


def _takes(arm: Arm, path: str, value: object) -> bool:
    """Return whether a searched path has a value in some point: one of its space, or the base trial's."""
    try:
        arm.spaces[path].member(value)
    except ValueError:
        return bool(arm.conditions(path)) and arm.holds(Condition(path, (value,)), {})
    return True


def _points_to_check(arm: Arm) -> Iterable[Point]:
    number = arm.count()
    return arm.points() if number is not None and number <= MOST_POINTS else arm.probe_points()


def _check_each_is_active(arm: Arm, cases: Sequence[Point], source: str) -> None:
    if not cases:
        raise InputError(f"{source}.{NEIGHBOURS_PATH}: {_no_neighbours(arm)}")
    ever = {path for point in cases for path in arm.active(point)}
    for path in arm.spaces:
        if path in ever:
            continue
        conditions = arm.conditions(path)
        never = [one for one in conditions if not any(arm.holds(one, point) for point in cases)]
        needed = " and ".join(condition.describe() for condition in never[:1] or conditions)
        raise InputError(f"{source}.{path}: is searched in no trial of the arm; it needs {needed}")


def _no_neighbours(arm: Arm) -> str:
    space = arm.spaces[NEIGHBOURS_PATH].describe()
    return f"nothing remains of {space}; neighbours are other classes, at most {CLASSES_PATHS[1]} - 1"


def _validate(arm: Arm, point: Point, source: str, elsewhere: Callable[[str], str]) -> TrialConfig:
    """Validate one point; a refusal names what has to change: the point, the arm, or what the arm does not set."""
    values = _trial_values(arm, point, source)
    try:
        return TrialConfig.model_validate(values)
    except ValidationError as error:
        path, text = first_problem(TrialConfig, error)
    place, fault = _faults(values)[0]
    if not _sets(point, path):
        others = [{}, *itertools.islice(_points_to_check(arm), _MOST_OTHERS)]
        right_there = [other for other in others if _is_right_at(place, _trial_values(arm, other, source))]
        if right_there:
            text += f" (at {describe_point(point)}){_hint(arm, point, place, right_there, source)}"
        elif not _sets(arm.fixed, path) and (place, fault) in _faults(arm.base):
            source = elsewhere(path)
    raise InputError(in_one_line(source, path, text))


def describe_point(point: Point) -> str:
    """Return a point in words."""
    return ", ".join(f"{path}={value}" for path, value in point.items())


def _hint(arm: Arm, point: Point, place: _Place, right_there: Sequence[Point], source: str) -> str:
    """Say which condition could keep a refused point out: one on a value that is right in another point."""
    for path in reversed(list(point)):
        rest = {other: value for other, value in point.items() if other != path}
        is_right_elsewhere = any(path in other and other[path] == point[path] for other in right_there)
        if is_right_elsewhere and _is_right_at(place, _trial_values(arm, rest, source)):
            return f"; a `when` on {path} can leave it out there"
    return ""


def _is_right_at(place: _Place, values: Mapping[str, Any]) -> bool:
    """Return whether nothing is wrong with a trial at a place, nor below it: blocks are checked after their keys."""
    return not any(other[: len(place)] == place for other, _ in _faults(values))


def _faults(values: Mapping[str, Any]) -> list[tuple[_Place, str]]:
    """Return what is wrong with a trial: where, and what."""
    try:
        TrialConfig.model_validate(values)
    except ValidationError as error:
        return [(fault["loc"], fault["msg"]) for fault in error.errors(include_url=False)]
    return []


def _sets(overrides: Iterable[str], path: str) -> bool:
    """Return whether one of dotted paths sets a key or a block that it is in."""
    return any(path == one or path.startswith(f"{one}.") for one in overrides)


def _trial_values(arm: Arm, point: Point, source: str) -> dict[str, Any]:
    with named(source):
        return with_overrides(arm.base, {**arm.fixed, **point})


def read_points(
    points: Sequence[Mapping[str, Any]], arms: Sequence[Arm], *, where: str
) -> dict[str, tuple[Point, ...]]:
    """Check `search.points`; return them by the names of their arms.

    Raises
    ------
    InputError
        If one names no searched arm, is no point of it, or stands twice.
    """
    by_name = {arm.name: arm for arm in arms if arm.spaces}
    found: dict[str, list[Point]] = {}
    for number, written in enumerate(points):
        here = f"{where}.{number}"
        given = dotted_paths(written, source=here)
        name = given.pop("arm", None)
        if not isinstance(name, str) or name not in by_name:
            raise InputError(f"{here}: arm: found {name!r}; one of the searched arms {', '.join(by_name)}")
        with named(here):
            point = check_point(by_name[name], given)
        if point in found.setdefault(name, []):
            raise InputError(f"{here}: stands twice")
        found[name].append(point)
    return {name: tuple(ones) for name, ones in found.items()}
