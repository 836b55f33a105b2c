from __future__ import annotations

from pathlib import Path

from benchmarks.report import make_sweep
from essnet.report import load_comparison
from essnet.report.page.sections import sweep_part
from essnet.sweep.folder import STOPPED


def test_the_made_up_sweep_has_every_part_of_the_page(tmp_path: Path) -> None:
    comparison = load_comparison(make_sweep(tmp_path / "large", trials=30, points=8, metrics=5))
    assert len(comparison.trials) == 30
    assert all(len(trial.metrics) == 5 for trial in comparison.trials)
    assert {len(trial.curve) for trial in comparison.trials} == {8, 2}
    assert sum(trial.state == STOPPED for trial in comparison.trials) == 3
    assert comparison.baseline is not None
    assert comparison.baseline.seeds == (0, 1, 2)
    assert {chart.name for chart in sweep_part(comparison).charts} == {
        "heat-map", "cost-memory", "cost-time", "curves", "importance", "classes", "embeddings",
    }  # fmt: skip
