"""An arm of a sweep: what is fixed, what is searched, and which points there are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

from essnet.config.conditions import CLASSES_PATHS, HAS_EFFECT, NEIGHBOURS_PATH, Condition, most_neighbours
from essnet.config.errors import InputError
from essnet.config.overrides import with_overrides
from essnet.config.space import Space, same_value
from essnet.config.sweep import ArmOptions
from essnet.config.trial_keys import value_at

Point = Mapping[str, Any]
"""Dotted path -> value, for the searched paths that are active."""

_MOST_PROBES = 1000
"""Probes of an arm in all their combinations; of more, each stands once."""
_MOST_DECIDING_POINTS = 10_000
"""Cases that conditions may tell apart: half a second."""


@dataclass(frozen=True)
class Arm:
    """A family of trials: fixed overrides, and the spaces of what is searched, by dotted path.

    A searched path is active, that is set by a point, where the space's own `when` holds and the key has an effect;
    elsewhere the base trial's value stays. Conditions look at the trial as it is with the point's other values.
    """

    name: str
    base: Mapping[str, Any]
    """The base trial, as it was written."""
    fixed: Mapping[str, Any]
    spaces: Mapping[str, Space]
    options: ArmOptions = field(default_factory=ArmOptions)
    first_points: tuple[Point, ...] = ()
    """Points that are tried before the search chooses its own."""

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The searched paths as they are written, but each after those that its conditions look at.

        Raises
        ------
        InputError
            If conditions go round in a circle.
        """
        ordered: dict[str, None] = {}

        def visit(path: str, on_the_way: tuple[str, ...]) -> None:
            if path in on_the_way:
                circle = [*on_the_way[on_the_way.index(path) :], path]
                raise InputError(f"arms.{self.name}: the conditions go round in a circle: {' needs '.join(circle)}")
            if path not in ordered:
                for other in self._looks_at(path):
                    visit(other, (*on_the_way, path))
                ordered[path] = None

        for path in self.spaces:
            visit(path, ())
        return tuple(ordered)

    def conditions(self, path: str) -> list[Condition]:
        """Return what has to hold where a path matters: where it is active if it is searched."""
        when = self.spaces[path].when if path in self.spaces else {}
        return [*HAS_EFFECT.get(path, ()), *(Condition(other, tuple(values)) for other, values in when.items())]

    def value(self, path: str, point: Point) -> Any:
        """Return the trial's value at a path.

        Raises
        ------
        KeyError
            If there is none.
        """
        return value_at(self._values, path, point)

    def holds(self, condition: Condition, point: Point) -> bool:
        """Return whether a condition holds in the trial; it does not where the trial has no such key."""
        try:
            return condition.allows(self.value(condition.path, point))
        except KeyError:
            return False

    def active(self, point: Point) -> list[str]:
        """Return the searched paths that are active, where `point` has a value for each that others depend on."""
        return [path for path in self.order if self._is_active(path, point)]

    def axis(self, path: str, point: Point) -> Space | None:
        """Return an active path's space, or None where nothing of it remains: neighbours are other classes."""
        space = self.spaces[path]
        most = most_neighbours(lambda other: self.value(other, point)) if path == NEIGHBOURS_PATH else None
        return space if most is None else space.up_to(most)

    def build_point(self, choose: Callable[[str, Space], Any]) -> Point | None:
        """Build a point from what `choose` answers for each active path and its space; None for a dead end."""
        point: dict[str, Any] = {}
        for path in self.order:
            if self._is_active(path, point):
                space = self.axis(path, point)
                if space is None:
                    return None
                point[path] = choose(path, space)
        return point

    def points(self) -> Iterator[Point]:
        """Yield every point, each once; a range without steps must not be among the spaces."""
        return (point for point, _ in self._walk(self.order, _each_value))

    def count(self) -> int | None:
        """Return the number of points without looking at each, or None where a range has infinitely many."""
        if any(space.size() is None for space in self.spaces.values()):
            return None
        return sum(
            number * prod((self.axis(path, point) or space).size() or 0 for path, space in self._others(point))
            for point, number in self.deciding_points()
        )

    def deciding_points(self, also: Iterable[str] = ()) -> Iterator[tuple[Point, int]]:
        """Yield each case that conditions tell apart: values of the paths that they look at, and how many it is for.

        Cases in which an active path has no value left are no points.

        Parameters
        ----------
        also
            Further paths to be told apart by conditions on them.

        Raises
        ------
        InputError
            If conditions go round in a circle, or tell very many cases apart.
        """
        mentioned = self._mentioned(also)

        def groups(path: str, space: Space) -> Iterable[tuple[Any, int]]:
            if self._decides_neighbours(path):
                return _each_value(path, space)  # each leaves another number of neighbours
            return space.groups(mentioned[path])

        walk = self._walk([path for path in self.order if path in mentioned], groups)
        for number, (point, stands_for) in enumerate(walk):
            if number == _MOST_DECIDING_POINTS:
                raise InputError(
                    f"arms.{self.name}: its conditions tell more than {_MOST_DECIDING_POINTS:,} cases apart; "
                    f"take fewer values of {', '.join(mentioned)}"
                )
            if all(self.axis(path, point) is not None for path in self.active(point)):
                yield point, stands_for

    def probe_points(self) -> list[Point]:
        """Return points that stand for the whole arm: every combination of probes, or of very many each probe once."""
        mentioned = self._mentioned()

        def probes_of(path: str, space: Space) -> Iterable[tuple[Any, int]]:
            groups = space.groups(mentioned[path]) if path in mentioned else ()
            values = [*space.probes(), *(value for value, _ in groups)]
            return ((value, 1) for place, value in enumerate(values) if repr(value) not in map(repr, values[:place]))

        walk = (point for point, _ in self._walk(self.order, probes_of))
        points = list(itertools.islice(walk, _MOST_PROBES + 1))
        if len(points) <= _MOST_PROBES:
            return points
        points = []
        seen: set[tuple[str, str]] = set()
        for case, _ in self.deciding_points():
            probes = {path: (self.axis(path, case) or space).probes() for path, space in self._others(case)}
            first = {**case, **{path: values[0] for path, values in probes.items()}}
            for path, chosen in case.items():
                # Values that no condition mentions stand for each other.
                if not self._decides_neighbours(path) and not _among(chosen, mentioned[path]):
                    space = self.axis(path, case) or self.spaces[path]
                    probes[path] = [each for each in space.probes() if not _among(each, mentioned[path])]
            for point in (first, *({**first, path: value} for path, values in probes.items() for value in values)):
                new = {(path, repr(value)) for path, value in point.items()} - seen
                if new:
                    points.append(point)
                    seen |= new
        return points

    def first_point(self) -> Point:
        """Return one point of the arm's spaces."""
        return next(iter(self.probe_points()))

    def describe(self, path: str) -> str:
        """Return in a few words what is searched at a path, and on which other searched paths that depends."""
        cases = [case for case, _ in self.deciding_points()]
        remaining = [self.axis(path, case) for case in cases if path in self.active(case)]
        text = (remaining[0] or self.spaces[path]).describe()
        if any(space != remaining[0] for space in remaining):
            text = f"{self.spaces[path].describe()} below the number of classes"
        varying = [one for one in self.conditions(path) if not all(self.holds(one, case) for case in cases)]
        words = [
            one.describe(among=[each for each in one.values if self._is_ever(one.path, each, cases)]) for one in varying
        ]
        return f"{text} where {' and '.join(words)}" if words else text

    def _is_ever(self, path: str, value: Any, cases: Iterable[Point]) -> bool:
        return any(self.holds(Condition(path, (value,)), case) for case in cases)

    @cached_property
    def _values(self) -> Mapping[str, Any]:
        return with_overrides(self.base, self.fixed)

    def _looks_at(self, path: str) -> list[str]:
        """The searched paths that decide whether a path is active, and what remains of its space."""
        others = [condition.path for condition in self.conditions(path)]
        if path == NEIGHBOURS_PATH:
            others += CLASSES_PATHS
        return [other for other in others if other in self.spaces]

    def _mentioned(self, also: Iterable[str] = ()) -> dict[str, list[Any]]:
        """The searched paths that decide over others, or `also` over these keys, -> what conditions say of them."""
        mentioned: dict[str, list[Any]] = {other: [] for path in self.spaces for other in self._looks_at(path)}
        for condition in (c for path in (*self.spaces, *also) for c in self.conditions(path)):
            if condition.path in self.spaces:
                mentioned.setdefault(condition.path, []).extend(condition.values)
        return mentioned

    def _decides_neighbours(self, path: str) -> bool:
        return path in CLASSES_PATHS and NEIGHBOURS_PATH in self.spaces

    def _is_active(self, path: str, point: Point) -> bool:
        return all(self.holds(condition, point) for condition in self.conditions(path))

    def _others(self, case: Point) -> list[tuple[str, Space]]:
        """The active paths that a case of the deciding ones leaves open."""
        return [(path, self.spaces[path]) for path in self.active(case) if path not in case]

    def _walk(
        self,
        paths: Sequence[str],
        values_of: Callable[[str, Space], Iterable[tuple[Any, int]]],
        point: Point | None = None,
        number: int = 1,
    ) -> Iterator[tuple[Point, int]]:
        """Yield the combinations of values, the last path's varying fastest, each with how many it stands for."""
        point = point or {}
        if not paths:
            yield point, number
            return
        path, *others = paths
        if not self._is_active(path, point):
            yield from self._walk(others, values_of, point, number)
            return
        space = self.axis(path, point)
        for value, stands_for in () if space is None else values_of(path, space):
            yield from self._walk(others, values_of, {**point, path: value}, number * stands_for)


def _each_value(_: str, space: Space) -> Iterator[tuple[Any, int]]:
    return ((value, 1) for value in space.values())


def _among(value: Any, values: Iterable[Any]) -> bool:
    return any(same_value(value, other) for other in values)
