from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from essnet.report.estimates import Estimate, estimate


def test_a_mean_has_students_interval() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert (found.mean, found.count) == (2, 3)
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)  # t of 2 degrees at 97.5 %


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_the_interval_is_scipys(count: int) -> None:
    values = [random.Random(count + place).gauss(0.7, 0.1) for place in range(count)]
    low, high = stats.t.interval(0.95, count - 1, loc=sum(values) / count, scale=stats.sem(values))
    found = estimate(values)
    assert found.half_width is not None
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_one_value_has_no_interval_and_is_itself() -> None:
    found = estimate([0.1])
    assert found == Estimate(0.1, None, 1)
    assert found.text() == "0.100"
    assert not found.contains_zero


@pytest.mark.parametrize(("values", "expected"), [([-1.0, 1.5], True), ([1.0, 1.1, 1.2], False), ([0.0, 0.0], True)])
def test_whether_the_interval_contains_zero(values: list[float], expected: bool) -> None:
    assert estimate(values).contains_zero is expected
    assert estimate([-value for value in values]).contains_zero is expected


def test_text() -> None:
    assert Estimate(0.51234, 0.0156, 3).text() == "0.512 ± 0.016"
    assert Estimate(0.51234, 0.0156, 3).text(sign="+") == "+0.512 ± 0.016"
