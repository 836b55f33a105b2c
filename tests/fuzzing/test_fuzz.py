"""A share of what `make torture` runs: inputs made wrong at random are taken, or answered in a line."""

from __future__ import annotations

import sys

import pytest

from tests.fuzzing.campaign import Findings, fuzz

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux counts it")]
CASES = {
    "trials": 2000,
    "sweeps": 1000,
    "overrides": 2000,
    "images": 2000,
    "masks": 2000,
    "videos": 1000,
    "MATLAB labels": 2000,
    "annotations": 300,
    "checkpoints": 300,
    "sweep folders": 400,
    "archives": 2000,
}


@pytest.fixture(scope="module")
def findings() -> dict[str, Findings]:
    return fuzz(CASES)


@pytest.mark.timeout(900)  # the first has to wait for all
@pytest.mark.parametrize("subject", CASES)
def test_every_case_is_taken_or_answered(findings: dict[str, Findings], subject: str) -> None:
    found = findings[subject]
    assert found.troubles == {}
    assert found.cases == CASES[subject]
    assert found.outcomes["answered"] > found.cases / 20  # else the cases are none
