from __future__ import annotations

import random

import pytest

from essnet.sweep.importance import parameter_importance


def points(number: int = 30, seed: int = 0) -> list[dict[str, object]]:
    draw = random.Random(seed)
    return [
        {"d": draw.choice([4, 12, 32, 64]), "lr": 10 ** draw.uniform(-4, -1), "similarity": draw.choice(["l2", "dot"])}
        for _ in range(number)
    ]


@pytest.mark.parametrize("path", ["d", "lr", "similarity"])
def test_what_alone_moves_the_result_has_the_largest_share(path: str) -> None:
    found = points()
    order = sorted({str(point[path]) for point in found})
    shares = parameter_importance(found, [float(order.index(str(point[path]))) for point in found])
    assert next(iter(shares)) == path
    assert shares[path] > 0.7
    assert sum(shares.values()) == pytest.approx(1)


def test_the_same_trials_have_the_same_shares() -> None:
    found, values = points(), [random.Random(place).random() for place in range(30)]
    assert parameter_importance(found, values) == parameter_importance(found, values)


def test_what_has_one_value_or_is_not_in_all_has_no_share() -> None:
    found = [{"d": place, "same": 1, **({"rare": place} if place else {})} for place in range(12)]
    assert list(parameter_importance(found, [float(place) for place in range(12)])) == ["d"]


def test_nothing_varies() -> None:
    assert parameter_importance([], []) == {}
    assert parameter_importance([{"d": 1}] * 12, [float(place) for place in range(12)]) == {}
    assert parameter_importance([{"d": place} for place in range(12)], [0.5] * 12) == {}


def test_lists_and_switches_are_values_too() -> None:
    found = [{"crop": [32, 32] if place % 2 else 64, "on": bool(place % 3)} for place in range(12)]
    assert next(iter(parameter_importance(found, [float(place % 2) for place in range(12)]))) == "crop"
