"""Sweep folders with made-up results, written as the driver and the trials write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from essnet.atomic_files import write_json
from essnet.sweep.folder import COMPLETED, SweepFolder, TrialRecord


def make_sweep_folder(path: Path, *, metric: str = "val/miou", mode: str = "max", num_trials: int = 3) -> SweepFolder:
    """Write the sweep's own file; trials are added with `add_trial`."""
    write_json(
        path / "sweep.json",
        {
            "name": path.name, "metric": metric, "mode": mode, "baseline": "full", "num_trials": num_trials,
            "tracking_uri": "sqlite:///nowhere.db", "parent_run_id": "parent",
        },
    )  # fmt: skip
    return SweepFolder(path)


def add_trial(
    folder: SweepFolder,
    index: int,
    arm: str,
    history: Mapping[int, Mapping[str, float]],
    *,
    state: str = COMPLETED,
    error: str | None = None,
    failure: str | None = None,
    seed: int = 0,
    replicates: str | None = None,
    objective: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    point: Mapping[str, Any] | None = None,
) -> None:
    """Write a trial with the metrics of its evaluations by step."""
    settings = {
        "name": "full_softmax",
        "embedding_dim": 12,
        "num_neighbours": 7,
        "similarity": "l2",
        **(objective or {}),
    }
    record = TrialRecord(
        trial_id=f"{index:03d}-{arm}", index=index, arm=arm, arm_index=0, overrides=dict(overrides or {}),
        point=dict(point or {}),
        seed=seed, max_steps=20, state=state, error=error, failure=failure, replicates=replicates,
    )  # fmt: skip
    folder.write_record(record)
    directory = folder.trial(record.trial_id)
    lines = [json.dumps({"step": step, "metrics": metrics}) for step, metrics in history.items()]
    (directory / "history.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (directory / "config.yaml").write_text(yaml.safe_dump({"objective": settings}))
    write_json(directory / "run.json", {"run_id": f"run-{index}"})
