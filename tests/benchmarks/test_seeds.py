"""Means, intervals and paired differences over seeds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.seeds import estimate, rows, table


def trial(
    number: int, arm: str, seed: int, miou: float, *, state: str = "COMPLETED", **searched: int
) -> dict[str, Any]:
    return {
        "trial_id": f"{number:03d}-{arm}",
        "arm": arm,
        "overrides": {
            "objective.name": arm,
            **{f"objective.{key}": value for key, value in searched.items()},
            "seed": seed,
        },
        "seed": seed,
        "state": state,
        "steps": 300,
        "metrics": {"val/miou": miou, "perf/step_ms": 100.0, "perf/loss_memory_mib": 5.0},
    }


REPORT = {
    "sweep": "s",
    "baseline": "000-full",
    "trials": [
        trial(0, "full", 0, 0.5),
        trial(1, "full", 1, 0.7),
        trial(2, "knn", 0, 0.4, d=4),
        trial(3, "knn", 0, 0.52, d=8),
        trial(4, "knn", 1, 0.73, d=8),
        trial(5, "knn", 2, 0.9, d=8),
        trial(6, "knn", 1, 0.0, state="FAILED", d=4),
    ],
}


def test_a_mean_has_students_interval() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)  # t of 2 degrees at 97.5 %


def test_one_seed_has_no_interval() -> None:
    assert estimate([0.5]).text() == "0.500"


def test_configurations_are_told_apart_by_what_they_search_besides_the_seed() -> None:
    assert [(row.name, row.seeds) for row in rows(REPORT, metric="val/miou")] == [
        ("full", 2),
        ("knn d=4", 1),
        ("knn d=8", 3),
    ]


def test_differences_are_paired_by_seed() -> None:
    full, _, knn = rows(REPORT, metric="val/miou")
    assert full.difference is None
    assert knn.difference is not None
    assert knn.difference.mean == pytest.approx((0.02 + 0.03) / 2)  # the third seed has no partner
    assert knn.value.mean == pytest.approx((0.52 + 0.73 + 0.9) / 3)


def test_the_table_names_the_baseline_first() -> None:
    lines = table(rows(REPORT, metric="val/miou"), metric="val/miou").splitlines()
    assert lines[2].startswith("| full | 2 | 300 | 0.600 ± ")
    assert lines[3].startswith("| knn d=8 | 3 |")
