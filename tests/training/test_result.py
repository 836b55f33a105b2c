from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from essnet.training.result import best_metrics

HISTORY = [
    {"val/miou": 0.2, "val/pixel_accuracy": 0.9, "perf/step_ms": 50.0, "perf/peak_memory_mib": 100.0},
    {"val/miou": 0.6, "val/pixel_accuracy": 0.7, "perf/step_ms": 40.0, "perf/peak_memory_mib": 300.0},
    {"val/miou": 0.5, "val/pixel_accuracy": math.nan, "perf/step_ms": 45.0, "perf/peak_memory_mib": 400.0},
]


def run(folder: Path, history: list[dict[str, float]]) -> Path:
    lines = [json.dumps({"step": step, "metrics": metrics}) for step, metrics in enumerate(history)]
    (folder / "history.jsonl").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("metric", "mode", "value"),
    [
        ("val/miou", "max", 0.6),
        ("val/miou", "min", 0.2),
        ("val/pixel_accuracy", "max", 0.9),
        ("val/pixel_accuracy", "min", 0.7),
        ("perf/step_ms", "min", 45.0),  # a median over all steps so far
        ("perf/peak_memory_mib", "min", 400.0),  # a peak of the whole run, not its least
        ("val/miou_rare", "max", None),
        ("perf/loss_memory_mib", "min", None),
    ],
)
def test_the_best_of_the_evaluations_and_the_last_of_what_is_measured_on_the_way(
    tmp_path: Path, metric: str, mode: str, value: float | None
) -> None:
    assert best_metrics(run(tmp_path, HISTORY), metric, mode).get(metric) == value


@pytest.mark.parametrize(
    ("metric", "accuracy"), [("val/miou", 0.7), ("val/pixel_accuracy", 0.9), ("perf/step_ms", 0.7)]
)
def test_metrics_are_those_of_one_evaluation(tmp_path: Path, metric: str, accuracy: float) -> None:
    metrics = best_metrics(run(tmp_path, HISTORY), metric, "max")
    assert metrics["val/pixel_accuracy"] == accuracy
    assert metrics["perf/step_ms"] == 45.0


def test_nothing_was_evaluated(tmp_path: Path) -> None:
    assert best_metrics(tmp_path, "val/miou", "max") == {}
    assert best_metrics(run(tmp_path, [{"val/miou": math.nan}]), "val/miou", "max") == {}
