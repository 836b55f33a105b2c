"""A share of what `make torture` runs: inputs made wrong at random are taken, or answered in a line."""

from __future__ import annotations

import sys

import pytest

from tests.fuzzing.campaign import fuzz

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux counts it")]
CASES = {
    "trials": 300,
    "sweeps": 200,
    "overrides": 300,
    "images": 400,
    "masks": 400,
    "videos": 300,
    "MATLAB labels": 400,
    "annotations": 200,
    "checkpoints": 100,
    "sweep folders": 150,
    "archives": 300,
}


@pytest.mark.parametrize(("subject", "count"), CASES.items())
def test_every_case_is_taken_or_answered(subject: str, count: int) -> None:
    found = fuzz(subject, first=0, count=count)
    assert found.troubles == {}
    assert found.cases == count
    assert found.outcomes["answered"] > count / 20  # else the cases are none
