from __future__ import annotations

import random

import pytest

from essnet.report.pareto import pareto_front


def naive(points: list[tuple[float, float]]) -> set[int]:
    """Those that no other one beats in one and equals or beats in the other."""
    return {
        place
        for place, (cost, gain) in enumerate(points)
        if not any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points)
    }


@pytest.mark.parametrize("seed", range(50))
def test_the_front_is_the_naive_one(seed: int) -> None:
    draw = random.Random(seed)
    points = [(float(draw.randint(1, 5)), float(draw.randint(1, 5))) for _ in range(draw.randint(0, 12))]
    found = pareto_front(points)
    assert set(found) == naive(points)
    assert [points[place][0] for place in found] == sorted(points[place][0] for place in found)


def test_equal_points_stay_both() -> None:
    assert pareto_front([(1, 1), (1, 1), (1, 0)]) == [0, 1]
