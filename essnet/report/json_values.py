"""The comparison as JSON, with the keys that scripts rely on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from essnet.report.answer import answer
from essnet.report.comparison import Comparison
from essnet.report.pareto import COST_FIGURES


def comparison_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return a comparison's values; those of several sweeps as the list `sweeps`."""
    if len(comparisons) > 1:
        return {"sweeps": [_values(one) for one in comparisons]}
    return _values(comparisons[0])


def _values(comparison: Comparison) -> dict[str, Any]:
    return {
        "sweep": comparison.sweep,
        "directory": str(comparison.directory),
        "tracking_uri": comparison.tracking_uri,
        "parent_run_id": comparison.parent_run_id,
        "metric": comparison.metric,
        "mode": comparison.mode,
        "answer": answer(comparison),
        "baseline": comparison.baseline.trial_id if comparison.baseline else None,
        "best": comparison.best.trial_id if comparison.best else None,
        "pareto": {figure: [one.trial_id for one in comparison.pareto_front(figure)] for figure in COST_FIGURES},
        "configurations": [one.to_json() for one in comparison.configurations],
        "trials": [trial.to_json() for trial in comparison.trials],
    }
