"""Search spaces as YAML writes them: `{choice: [...]}`, `{int: [low, high]}`, `{float: [low, high]}`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from essnet.config.fields import Block, Positive, PositiveFloat

Scalar = bool | int | float | str | None
# `int` and `float` are fields of the spaces below, and so no types within them.
Whole = int
Real = float


def same_value(one: object, other: object) -> bool:
    """Return whether two values of a key mean the same: 20 and 20.0 do, 1 and true do not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _check_value(value: object) -> object:
    for scalar in value if isinstance(value, list) else [value]:
        if not isinstance(scalar, Scalar) or (isinstance(scalar, float) and not math.isfinite(scalar)):
            raise ValueError(f"found {scalar!r}; a choice is among finite numbers, words, true, false, null, and lists")
    return value


Value = Annotated[Any, BeforeValidator(_check_value)]


def _as_lists(when: object) -> object:
    """Make lists of single values; a list is always one of values."""
    if not isinstance(when, Mapping):
        return when
    return {path: values if isinstance(values, list) else [values] for path, values in when.items()}


class SpaceBlock(Block):
    """What every space has."""

    when: Annotated[
        dict[str, Annotated[list[Value], Field(min_length=1)]], BeforeValidator(_as_lists), Field(min_length=1)
    ] = Field(default={})
    """Dotted path -> the values of the trial there with which the space is searched; otherwise the path is not set."""


class Choice(SpaceBlock):
    """One of several values."""

    choice: Annotated[list[Value], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for index, value in enumerate(self.choice):
            if any(same_value(value, other) for other in self.choice[:index]):
                raise ValueError(f"found {value!r} twice; each value of a choice stands once")
        return self

    def size(self) -> Whole | None:
        """Return the number of values, or None where there are infinitely many."""
        return len(self.choice)

    def values(self) -> Iterator[Any]:
        """Yield every value."""
        yield from self.choice

    def member(self, value: Any) -> Any:
        """Return the value of the space that means the same as `value`.

        Raises
        ------
        ValueError
            If there is none.
        """
        for mine in self.choice:
            if same_value(mine, value):
                return mine
        raise _outside(self, value)

    def probes(self) -> list[Any]:
        """Values that have to be valid for the whole space to be valid."""
        return list(self.choice)

    def groups(self, mentioned: Sequence[Any]) -> list[tuple[Any, Whole]]:
        """Return values, each with how many it stands for: those that conditions mention stand for themselves."""
        return [(value, 1) for value in self.choice]

    def up_to(self, most: Whole) -> Choice | None:
        """Return the space without the whole numbers above `most`, or None where nothing remains."""
        kept = [value for value in self.choice if type(value) is not int or value <= most]
        return self.model_copy(update={"choice": kept}) if kept else None

    def describe(self) -> str:
        """Return the space in a few words."""
        return "{" + ", ".join(str(value) for value in self.choice) + "}"


class IntRange(SpaceBlock):
    """A whole number between two others, both included."""

    int: Annotated[list[int], Field(min_length=2, max_length=2)]
    step: Positive = 1
    log: bool = False

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _check_ends(self.int, self.log, stepped=self.step != 1)
        _check_step(self)
        return self

    @property
    def last(self) -> Whole:
        """The last value that the steps reach."""
        low, high = self.int
        return high - (high - low) % self.step

    def size(self) -> Whole | None:
        """Return the number of values, or None where there are infinitely many."""
        return (self.last - self.int[0]) // self.step + 1

    def values(self) -> Iterator[Any]:
        """Yield every value."""
        yield from range(self.int[0], self.last + 1, self.step)

    def member(self, value: Any) -> Any:
        """Return the value of the space that means the same as `value`.

        Raises
        ------
        ValueError
            If there is none.
        """
        if type(value) is not Whole or not self.int[0] <= value <= self.last or (value - self.int[0]) % self.step:
            raise _outside(self, value)
        return value

    def probes(self) -> list[Any]:
        """Values that have to be valid for the space to be valid: the ends, and the next after the first."""
        return sorted({self.int[0], min(self.int[0] + self.step, self.last), self.last})

    def groups(self, mentioned: Sequence[Any]) -> list[tuple[Any, Whole]]:
        """Return values, each with how many it stands for: those that conditions mention stand for themselves."""
        return _mentioned_and_another(self, mentioned)

    def up_to(self, most: Whole) -> IntRange | None:
        """Return the space without the whole numbers above `most`, or None where nothing remains."""
        low, high = self.int
        if most >= high:
            return self
        return self.model_copy(update={"int": [low, most]}) if most >= low else None

    def describe(self) -> str:
        """Return the space in a few words."""
        step = f", step {self.step}" if self.step != 1 else ", log" if self.log else ""
        return f"[{self.int[0]}, {self.int[1]}{step}]"


class FloatRange(SpaceBlock):
    """A number between two others, both included."""

    float: Annotated[list[float], Field(min_length=2, max_length=2)]
    step: PositiveFloat | None = None
    log: bool = False

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _check_ends(self.float, self.log, stepped=self.step is not None)
        _check_step(self)
        return self

    def size(self) -> Whole | None:
        """Return the number of values, or None where there are infinitely many."""
        if self.step is None:
            return None
        return int((_exact(self.float[1]) - _exact(self.float[0])) / _exact(self.step)) + 1

    def at(self, index: Whole) -> Real:
        """Return value number `index` of a range with steps, as one would write it: 0.3, not 0.1 + 0.2."""
        return Real(_exact(self.float[0]) + index * _exact(self.step or 0))

    def values(self) -> Iterator[Any]:
        """Yield every value; of a range without steps none."""
        yield from map(self.at, range(self.size() or 0))

    def member(self, value: Any) -> Any:
        """Return the value of the space that means the same as `value`.

        Raises
        ------
        ValueError
            If there is none.
        """
        if type(value) not in (Whole, Real) or not self.float[0] <= value <= self.float[1]:
            raise _outside(self, value)
        if self.step is None:
            return Real(value)
        nearest = self.at(self.index(value))
        if not math.isclose(nearest, value, rel_tol=1e-9, abs_tol=self.step * 1e-9):
            raise _outside(self, value)
        return nearest

    def index(self, value: Real) -> Whole:
        """Return the number of the step nearest to `value`."""
        return min(round((_exact(value) - _exact(self.float[0])) / _exact(self.step or 1)), (self.size() or 1) - 1)

    def probes(self) -> list[Any]:
        """Values that have to be valid for the whole space to be valid: the ends; of steps the second too."""
        size = self.size()
        if size is None:
            return list(self.float)
        return [self.at(index) for index in sorted({0, 1, size - 1})]

    def groups(self, mentioned: Sequence[Any]) -> list[tuple[Any, Whole]]:
        """Return values, each with how many it stands for: those that conditions mention stand for themselves."""
        return _mentioned_and_another(self, mentioned)

    def up_to(self, most: Whole) -> FloatRange | None:
        """Return the space as it is: it has no whole numbers."""
        return self

    def describe(self) -> str:
        """Return the space in a few words."""
        step = f", step {self.step:g}" if self.step is not None else ", log" if self.log else ""
        return f"[{self.float[0]:g}, {self.float[1]:g}{step}]"


Space = Choice | IntRange | FloatRange
_SPACES: dict[str, type[Space]] = {"choice": Choice, "int": IntRange, "float": FloatRange}


def space_type(value: object) -> type[Space] | None:
    """Return which space a YAML value describes, or None where it is a plain value."""
    if not isinstance(value, Mapping):
        return None
    kinds = [kind for name, kind in _SPACES.items() if name in value]
    return kinds[0] if kinds else None


def _check_ends(ends: list[Any], log: bool, *, stepped: bool) -> None:
    low, high = ends
    if low >= high:
        raise ValueError(f"found {ends}; expected [low, high] with low < high")
    if log and low <= 0:
        raise ValueError(f"found {ends} with log: true; the low end must be above 0")
    if log and stepped:
        raise ValueError("log: true and step do not go together")


def _check_step(space: IntRange | FloatRange) -> None:
    if space.size() == 1:
        raise ValueError(f"found {space.describe()}; expected a step no larger than the range")


def _exact(number: float) -> Fraction:
    """Return the decimal number that was written."""
    return Fraction(repr(number))


def _outside(space: Space, value: object) -> ValueError:
    return ValueError(f"found {value!r}; the space is {space.describe()}")


def _mentioned_and_another(space: IntRange | FloatRange, mentioned: Sequence[Any]) -> list[tuple[Any, int]]:
    """The mentioned values of a range, and one other for all the others."""
    mine: list[Any] = []
    for value in mentioned:
        try:
            member = space.member(value)
        except ValueError:
            continue
        if member not in mine:
            mine.append(member)
    groups = [(value, 1) for value in mine]
    size = space.size()
    if size is None:
        low, high = space.float  # type: ignore[union-attr]  # whole numbers have a size
        among = [low + (high - low) * part / (len(mine) + 1) for part in range(len(mine) + 2)]
        return [*groups, (next(value for value in among if value not in mine), 1)]
    if size > len(mine):
        groups.append((next(value for value in space.values() if value not in mine), size - len(mine)))
    return groups
