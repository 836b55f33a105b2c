"""The table of a saved report; means, intervals and differences are tested in tests/report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.seeds import table

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


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
        "steps": 1300,
        "metrics": {"val/miou": miou, "perf/step_ms": 100.0 + seed, "perf/loss_memory_mib": 5.0},
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


def test_rows_are_configurations_named_by_what_tells_them_apart_the_baseline_first() -> None:
    assert table(REPORT, metric="val/miou").splitlines()[2:] == [
        "| full | 2 | 1,300 | 0.600 ± 1.271 | - | 100 | 5 |",
        "| knn d=8 | 3 | 1,300 | 0.717 ± 0.473 | +0.025 ± 0.064 | 101 | 5 |",
        "| knn d=4 | 1 | 1,300 | 0.400 | -0.100 | 100 | 5 |",
    ]


def test_a_report_without_a_result_of_the_baseline() -> None:
    lines = table({**REPORT, "baseline": None}, metric="val/miou").splitlines()
    assert [line.split(" | ")[4] for line in lines[2:]] == ["-", "-", "-"]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("camvid_objectives", "| embedding_softmax | 3 | 400 | 0.536 ± 0.005 | +0.019 ± 0.014 | 1,372 | 57 |"),
        ("coco_lvis_overfit", "| embedding_equal_time | 3 | 700 | 0.099 ± 0.017 | +0.051 ± 0.032 | 670 | 25 |"),
        ("textures_closing", "| d64_k3_rate_x1 | 3 | 300 | 0.902 ± 0.003 | -0.002 ± 0.003 | 346 | 33 |"),
        ("textures_factors", "| paper_l2_d12_k7 | 2 | 300 | 0.807 ± 0.122 | -0.097 ± 0.116 | 133 | 6 |"),
        ("textures_many_classes", "| embedding_softmax | 3 | 600 | 0.344 ± 0.038 | -0.015 ± 0.020 | 573 | 18 |"),
    ],
)
def test_the_published_tables(name: str, row: str) -> None:
    report = json.loads((RESULTS / f"{name}.json").read_text())
    assert row in table(report, metric="val/miou").splitlines()
