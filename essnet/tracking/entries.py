"""The entries of an outbox: what a run can tell its store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Entry: TypeAlias = dict[str, Any]


def metrics_entry(step: int, metrics: Mapping[str, float]) -> Entry:
    """Return metrics of a step, at this moment."""
    return {"step": step, "time": _now_ms(), "metrics": {key: float(value) for key, value in metrics.items()}}


def artifact_entry(path: str, folder: str) -> Entry:
    """Return that a file, absolute or in the run's folder, belongs below `folder` of the run's artifacts."""
    return {"artifact": path, "folder": folder}


def tags_entry(tags: Mapping[str, str]) -> Entry:
    """Return tags of the run."""
    return {"tags": dict(tags)}


def description_entry(markdown: str) -> Entry:
    """Return the text that MLflow shows on the run's page."""
    return tags_entry({"mlflow.note.content": markdown})


def inputs_entry(inputs: Sequence[Mapping[str, Any]]) -> Entry:
    """Return data sets that the run uses: of each its `context`, and as `dataset` what MLflow's entity is made of."""
    return {"inputs": [dict(one) for one in inputs]}


def status_entry(status: str) -> Entry:
    """Return that the run is RUNNING, or ended as FINISHED, FAILED or KILLED, at this moment."""
    return {"status": status, "time": _now_ms()}


def best_values(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the `val/` figures of a run's best evaluation as `best/`: MLflow's table shows the last of each metric."""
    return {f"best/{name.removeprefix('val/')}": value for name, value in metrics.items() if name.startswith("val/")}


def _now_ms() -> int:
    return int(1000 * time.time())
