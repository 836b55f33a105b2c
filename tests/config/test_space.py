from __future__ import annotations

from typing import Any

import pytest

from essnet.config import Choice, FloatRange, InputError, IntRange
from essnet.config.messages import validate
from essnet.config.space import space_type


def read(value: Any) -> Any:
    kind = space_type(value)
    assert kind is not None
    return validate(kind, value, where=lambda _: "here")


def test_plain_values_are_no_space() -> None:
    assert [space_type(value) for value in (1, "choice", [1], None, {}, {"name": "x"})] == [None] * 6


def test_choice() -> None:
    space = read({"choice": [7, "x", None, [1, 2]]})
    assert isinstance(space, Choice)
    assert space.grid() == space.probes() == [7, "x", None, [1, 2]]
    assert space.describe() == "{7, x, None, [1, 2]}"


def test_equal_in_python_but_different_values_stay_apart() -> None:
    values = [1, True, 1.0, "1", [1], [True]]
    found = read({"choice": values}).grid()
    assert [repr(value) for value in found] == [repr(value) for value in values]


@pytest.mark.parametrize(
    ("space", "values", "text"),
    [
        ({"int": [1, 4]}, [1, 2, 3, 4], "[1, 4]"),
        ({"int": [1, 8], "step": 3}, [1, 4, 7], "[1, 8, step 3]"),
        ({"int": [2, 4], "log": True}, [2, 3, 4], "[2, 4, log]"),
        ({"int": [-2, 0]}, [-2, -1, 0], "[-2, 0]"),
    ],
)
def test_int_range(space: Any, values: list[int], text: str) -> None:
    found = read(space)
    assert isinstance(found, IntRange)
    grid = found.grid()
    assert grid is not None
    assert list(grid) == values
    assert set(found.probes()) <= set(values)
    assert {values[0], values[1], values[-1]} == set(found.probes())
    assert found.describe() == text


def test_float_range() -> None:
    found = read({"float": [1e-4, 1], "log": True})
    assert isinstance(found, FloatRange)
    assert found.grid() is None
    assert found.probes() == [1e-4, 1.0]
    assert found.describe() == "[0.0001, 1, log]"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"choice": []}, "choice: found []; expected at least 1 item"),
        ({"choice": 3}, "choice: found 3; expected a valid list"),
        ({"choice": [2, 3, 2]}, "found 2 twice; each value of a choice stands once"),
        ({"choice": [[1, 2], [1, 2]]}, "found [1, 2] twice; each value of a choice stands once"),
        (
            {"choice": [1.0, float("nan")]},
            "choice.1: found nan; a choice is among finite numbers, words, true, false, null, and lists",
        ),
        (
            {"choice": [{"name": "x"}]},
            "choice.0: found {'name': 'x'}; a choice is among finite numbers, words, true, false, null, and lists",
        ),
        ({"choice": [1], "float": [0, 1]}, "float: unknown key; known are choice"),
        ({"choice": [1], "log": True}, "log: unknown key; known are choice"),
        ({"int": [1]}, "int: found [1]; expected at least 2 items"),
        ({"int": [1, 2, 3]}, "int: found [1, 2, 3]; expected at most 2 items"),
        ({"int": [1, 2.5]}, "int.1: found 2.5; expected a valid integer"),
        ({"int": [False, 2]}, "int.0: found False; expected a valid integer"),
        ({"int": [5, 1]}, "found [5, 1]; expected [low, high] with low < high"),
        ({"int": [5, 5]}, "found [5, 5]; expected [low, high] with low < high"),
        ({"int": [0, 5], "log": True}, "found [0, 5] with log: true; the low end must be above 0"),
        ({"int": [1, 5], "log": True, "step": 2}, "log: true and step do not go together"),
        ({"int": [1, 5], "step": 0}, "step: found 0; expected greater than or equal to 1"),
        ({"float": [0, 1], "log": True}, "found [0.0, 1.0] with log: true; the low end must be above 0"),
        ({"float": [1, float("inf")]}, "float.1: found inf; expected a finite number"),
        ({"float": [1, 2], "lgo": True}, "lgo: unknown key; did you mean log?"),
        ({"float": [1, 2], "log": 1}, "log: found 1; expected a valid boolean"),
    ],
)
def test_faults(space: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(space)
    assert str(error.value) == f"here: {message}"
