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
    assert list(space.values()) == space.probes() == [7, "x", None, [1, 2]]
    assert space.describe() == "{7, x, None, [1, 2]}"


def test_equal_in_python_but_different_values_stay_apart() -> None:
    values = [1, True, "1", [1], [True]]
    found = list(read({"choice": values}).values())
    assert [repr(value) for value in found] == [repr(value) for value in values]


def test_a_number_written_in_two_ways_stands_twice() -> None:
    with pytest.raises(ValueError, match=r"found 20\.0 twice"):
        read({"choice": [20, 20.0]})


@pytest.mark.parametrize(
    ("space", "values", "text"),
    [
        ({"int": [1, 4]}, [1, 2, 3, 4], "[1, 4]"),
        ({"int": [1, 8], "step": 3}, [1, 4, 7], "[1, 8, step 3]"),
        ({"int": [2, 4], "log": True}, [2, 3, 4], "[2, 4, log]"),
        ({"int": [-2, 0]}, [-2, -1, 0], "[-2, 0]"),
        ({"int": [1, 5], "step": 4}, [1, 5], "[1, 5, step 4]"),
    ],
)
def test_int_range(space: Any, values: list[int], text: str) -> None:
    found = read(space)
    assert isinstance(found, IntRange)
    assert list(found.values()) == values
    assert found.size() == len(values)
    assert set(found.probes()) <= set(values)
    assert {values[0], values[1], values[-1]} == set(found.probes())
    assert found.describe() == text


def test_float_range() -> None:
    found = read({"float": [1e-4, 1], "log": True})
    assert isinstance(found, FloatRange)
    assert found.size() is None
    assert found.probes() == [1e-4, 1.0]
    assert found.describe() == "[0.0001, 1, log]"


@pytest.mark.parametrize(
    ("space", "values", "text"),
    [
        ({"float": [0.1, 0.5], "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5], "[0.1, 0.5, step 0.1]"),
        ({"float": [0, 1], "step": 0.4}, [0.0, 0.4, 0.8], "[0, 1, step 0.4]"),
        ({"float": [-1e-5, 1e-5], "step": 1e-5}, [-1e-5, 0.0, 1e-5], "[-1e-05, 1e-05, step 1e-05]"),
        ({"float": [0.1, 0.3], "step": 0.2}, [0.1, 0.3], "[0.1, 0.3, step 0.2]"),  # 0.3 - 0.1 < 0.2 in binary
    ],
)
def test_float_range_with_steps(space: Any, values: list[float], text: str) -> None:
    found = read(space)
    assert isinstance(found, FloatRange)
    assert list(found.values()) == values  # as they would be written: 0.3, not 0.30000000000000004
    assert found.size() == len(values)
    assert set(found.probes()) == {values[0], values[1], values[-1]}
    assert [found.index(value) for value in values] == list(range(len(values)))
    assert found.describe() == text


def test_sizes_beyond_what_fits_a_list() -> None:
    assert read({"int": [1, 10**30]}).size() == 10**30
    assert read({"float": [0, 1e20], "step": 1e-5}).size() == 10**25 + 1


@pytest.mark.parametrize(
    ("space", "value", "member"),
    [
        ({"choice": [7, None, [1, 2]]}, [1, 2], [1, 2]),
        ({"choice": [1.0]}, 1, 1.0),
        ({"int": [1, 9], "step": 4}, 5, 5),
        ({"float": [1, 9]}, 3, 3.0),
        ({"float": [0, 1], "step": 0.1}, 0.1 + 0.2, 0.3),
    ],
)
def test_member(space: Any, value: Any, member: Any) -> None:
    found = read(space).member(value)
    assert (found, type(found)) == (member, type(member))


@pytest.mark.parametrize(
    ("space", "value"),
    [
        ({"choice": [1]}, True),
        ({"choice": [1]}, 2),
        ({"int": [1, 9], "step": 4}, 6),
        ({"int": [1, 9], "step": 4}, 13),
        ({"int": [0, 9]}, False),
        ({"int": [0, 9]}, 1.0),
        ({"float": [1, 9]}, 9.5),
        ({"float": [1, 9]}, "x"),
        ({"float": [0, 1], "step": 0.1}, 0.35),
    ],
)
def test_no_member(space: Any, value: Any) -> None:
    found = read(space)
    with pytest.raises(ValueError, match="the space is") as error:
        found.member(value)
    assert str(error.value) == f"found {value!r}; the space is {found.describe()}"


@pytest.mark.parametrize(
    ("space", "values"),
    [
        ({"choice": [3, None, 7, "x", 9]}, [3, None, 7, "x"]),
        ({"int": [3, 9]}, [3, 4, 5, 6, 7]),
        ({"int": [1, 9], "step": 4}, [1, 5]),
        ({"int": [7, 9]}, [7]),
        ({"int": [8, 9]}, None),
        ({"choice": [8]}, None),
    ],
)
def test_up_to(space: Any, values: list[Any] | None) -> None:
    found = read(space).up_to(7)
    assert (None if found is None else list(found.values())) == values


@pytest.mark.parametrize(
    ("space", "groups"),
    [
        ({"choice": [1, 2, 3]}, [(1, 1), (2, 1), (3, 1)]),
        ({"int": [1, 10**12]}, [(5, 1), (1, 10**12 - 1)]),
        ({"int": [4, 6]}, [(5, 1), (4, 2)]),
        ({"float": [4, 6], "step": 1}, [(5.0, 1), (4.0, 2)]),
        ({"float": [0, 4]}, [(0.0, 1)]),
        ({"float": [5, 6]}, [(5.0, 1), (5.5, 1)]),
    ],
)
def test_groups_tell_mentioned_values_apart(space: Any, groups: list[tuple[Any, int]]) -> None:
    assert read(space).groups([5, 5, "x"]) == groups


def test_when_takes_one_value_or_several() -> None:
    space = read({"choice": [1], "when": {"a.b": 3, "c": [True, None], "d": [[1, 2]]}})
    assert space.when == {"a.b": [3], "c": [True, None], "d": [[1, 2]]}
    assert read({"int": [1, 2]}).when == {}


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
        ({"choice": [1], "float": [0, 1]}, "float: unknown key; known are choice, when"),
        ({"choice": [1], "log": True}, "log: unknown key; known are choice, when"),
        ({"int": [1]}, "int: found [1]; expected at least 2 items"),
        ({"int": [1, 2, 3]}, "int: found [1, 2, 3]; expected at most 2 items"),
        ({"int": [1, 2.5]}, "int.1: found 2.5; expected a valid integer"),
        ({"int": [False, 2]}, "int.0: found False; expected a valid integer"),
        ({"int": [5, 1]}, "found [5, 1]; expected [low, high] with low < high"),
        ({"int": [5, 5]}, "found [5, 5]; expected [low, high] with low < high"),
        ({"int": [0, 5], "log": True}, "found [0, 5] with log: true; the low end must be above 0"),
        ({"int": [1, 5], "log": True, "step": 2}, "log: true and step do not go together"),
        ({"int": [1, 5], "step": 5}, "found [1, 5, step 5]; expected a step no larger than the range"),
        ({"float": [0.1, 1.0], "step": 5}, "found [0.1, 1, step 5]; expected a step no larger than the range"),
        ({"int": [1, 5], "step": 0}, "step: found 0; expected greater than or equal to 1"),
        ({"float": [0, 1], "log": True}, "found [0.0, 1.0] with log: true; the low end must be above 0"),
        ({"float": [1, float("inf")]}, "float.1: found inf; expected a finite number"),
        ({"float": [1, 2], "lgo": True}, "lgo: unknown key; did you mean log?"),
        ({"float": [1, 2], "step": 0}, "step: found 0; expected greater than 0"),
        ({"float": [1, 2], "step": 0.1, "log": True}, "log: true and step do not go together"),
        ({"choice": [1], "when": 3}, "when: found 3; expected a block of keys"),
        ({"choice": [1], "when": {}}, "when: found {}; expected at least 1 item"),
        ({"choice": [1], "when": {"a": []}}, "when.a: found []; expected at least 1 item"),
        (
            {"choice": [1], "when": {"a": {"b": 1}}},
            "when.a.0: found {'b': 1}; a choice is among finite numbers, words, true, false, null, and lists",
        ),
        ({"float": [1, 2], "log": 1}, "log: found 1; expected a valid boolean"),
    ],
)
def test_faults(space: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(space)
    assert str(error.value) == f"here: {message}"
