"""Search spaces as YAML writes them: `{choice: [...]}`, `{int: [low, high]}`, `{float: [low, high]}`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from essnet.config.fields import Block, Positive

Scalar = bool | int | float | str | None


def _check_value(value: object) -> object:
    for scalar in value if isinstance(value, list) else [value]:
        if not isinstance(scalar, Scalar) or (isinstance(scalar, float) and not math.isfinite(scalar)):
            raise ValueError(f"found {scalar!r}; a choice is among finite numbers, words, true, false, null, and lists")
    return value


class Choice(Block):
    """One of several values."""

    choice: Annotated[list[Annotated[Any, BeforeValidator(_check_value)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for index, value in enumerate(self.choice):
            # `1 == True` in Python, and they are different values here; their texts differ.
            if any(value == other and repr(value) == repr(other) for other in self.choice[:index]):
                raise ValueError(f"found {value!r} twice; each value of a choice stands once")
        return self

    def probes(self) -> list[Any]:
        """Values that have to be valid for the whole space to be valid."""
        return list(self.choice)

    def grid(self) -> Sequence[Any] | None:
        """Every value, or None where there are infinitely many."""
        return list(self.choice)

    def describe(self) -> str:
        """Return the space in a few words."""
        return "{" + ", ".join(str(value) for value in self.choice) + "}"


class IntRange(Block):
    """A whole number between two others, both included."""

    int: Annotated[list[int], Field(min_length=2, max_length=2)]
    step: Positive = 1
    log: bool = False

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _check_ends(self.int, self.log)
        if self.log and self.step != 1:
            raise ValueError("log: true and step do not go together")
        return self

    def probes(self) -> list[Any]:
        """Values that have to be valid for the space to be valid: the ends, and the next after the first."""
        low, high = self.int
        return sorted({low, min(low + self.step, high), high - (high - low) % self.step})

    def grid(self) -> Sequence[Any] | None:
        """Every value, or None where there are infinitely many."""
        return range(self.int[0], self.int[1] + 1, self.step)

    def describe(self) -> str:
        """Return the space in a few words."""
        step = f", step {self.step}" if self.step != 1 else ", log" if self.log else ""
        return f"[{self.int[0]}, {self.int[1]}{step}]"


class FloatRange(Block):
    """A number between two others."""

    float: Annotated[list[float], Field(min_length=2, max_length=2)]
    log: bool = False

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _check_ends(self.float, self.log)
        return self

    def probes(self) -> list[Any]:
        """Values that have to be valid for the whole space to be valid."""
        return list(self.float)

    def grid(self) -> Sequence[Any] | None:
        """Every value, or None where there are infinitely many."""
        return None

    def describe(self) -> str:
        """Return the space in a few words."""
        return f"[{self.float[0]:g}, {self.float[1]:g}{', log' if self.log else ''}]"


Space = Choice | IntRange | FloatRange
_SPACES: dict[str, type[Space]] = {"choice": Choice, "int": IntRange, "float": FloatRange}


def space_type(value: object) -> type[Space] | None:
    """Return which space a YAML value describes, or None where it is a plain value."""
    if not isinstance(value, Mapping):
        return None
    kinds = [kind for name, kind in _SPACES.items() if name in value]
    return kinds[0] if kinds else None


def _check_ends(ends: list[Any], log: bool) -> None:
    low, high = ends
    if low >= high:
        raise ValueError(f"found {ends}; expected [low, high] with low < high")
    if log and low <= 0:
        raise ValueError(f"found {ends} with log: true; the low end must be above 0")
