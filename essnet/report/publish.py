"""Files of a comparison: in the sweep's folder, and as artifacts of its parent run."""

from __future__ import annotations

from pathlib import Path

from essnet.atomic_files import write_atomically, write_json
from essnet.report.answer import answer
from essnet.report.comparison import Comparison
from essnet.report.csv_text import comparison_csv
from essnet.tracking import RunStore


def publish(comparison: Comparison, folder: Path, *, store: RunStore) -> None:
    """Write `comparison.json`, `comparison.csv` and, once there is a result, `comparison.png`; log them to MLflow."""
    write_json(folder / "comparison.json", comparison.to_json())
    text = comparison_csv(comparison)
    write_atomically(folder / "comparison.csv", lambda path: path.write_text(text, encoding="utf-8"))
    names = ["comparison.json", "comparison.csv"]
    if comparison.baseline is not None and comparison.best is not None:
        from essnet.report.figure import save_figure

        save_figure(comparison, folder / "comparison.png")
        names.append("comparison.png")
    if comparison.parent_run_id is not None:
        for name in names:
            store.log_artifact(comparison.parent_run_id, folder / name, "report")
        store.describe(comparison.parent_run_id, answer(comparison))
