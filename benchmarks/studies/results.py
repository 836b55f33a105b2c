"""The stored result of a sweep: its trials with the figures that a study looks at, small enough to be kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.records import environment
from essnet.atomic_files import read_json, write_json
from essnet.report import ComparedTrial, Comparison, Configuration, answer, best_of, gather

RESULTS = Path(__file__).resolve().parents[1] / "results" / "studies"

_METRICS = (
    "val/miou",
    "val/mean_accuracy",
    "val/pixel_accuracy",
    "val/miou_frequent",
    "val/miou_common",
    "val/miou_rare",
    "perf/step_ms",
    "perf/loss_memory_mib",
)
_DIGITS = 6


def keep(comparison: Comparison, path: Path, *, command: str) -> None:
    """Write what a study needs of a sweep that has ended; `command` is what ran it."""
    spent = read_json(comparison.directory / "budget.json").get("seconds", 0.0)
    assert comparison.baseline is not None
    write_json(
        path,
        {
            "sweep": comparison.sweep,
            "command": command,
            "metric": comparison.metric,
            "mode": comparison.mode,
            "baseline": comparison.baseline.arm,
            "answer": " ".join(answer(comparison).split()),
            "hours": round(spent / 3600, 2),
            "environment": environment(torch.device("cpu"), threads=1),
            "trials": [_kept(trial) for trial in comparison.trials],
        },
    )


def _kept(trial: ComparedTrial) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "arm": trial.arm,
        "overrides": dict(trial.overrides),
        "seed": trial.seed,
        "state": trial.state,
        "steps": trial.steps,
        "replicates": trial.replicates,
        "metrics": {name: round(trial.metrics[name], _DIGITS) for name in _METRICS if name in trial.metrics},
        "curve": [[step, round(value, _DIGITS)] for step, value in trial.curve],
    }


def read(name: str) -> dict[str, Any]:
    """Return a stored result."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def read_report(name: str) -> dict[str, Any]:
    """Return what `launch.py report` said of a sweep of `benchmarks/results/`, in the shape of a stored result."""
    report = json.loads((RESULTS.parent / f"{name}.json").read_text(encoding="utf-8"))
    baseline = next(trial["arm"] for trial in report["trials"] if trial["trial_id"] == report["baseline"])
    trials = [{**trial, "curve": [[trial["steps"], trial["metrics"][report["metric"]]]]} for trial in report["trials"]]
    return {**report, "mode": "max", "baseline": baseline, "trials": trials}


def configurations(result: Mapping[str, Any], *, metric: str | None = None) -> tuple[Configuration, ...]:
    """Return a stored sweep's trials, those together that differ in nothing but the seed; compared by `metric`."""
    metric = metric or result["metric"]
    trials = []
    for kept in result["trials"]:
        values = dict(kept)
        curve = values.pop("curve", [])
        if metric != result["metric"]:  # only of the best evaluation
            curve = [[kept["steps"], kept["metrics"][metric]]] if metric in kept["metrics"] else []
        trials.append(ComparedTrial(**values, curve=tuple((step, value) for step, value in curve)))
    return gather(trials, metric=metric, mode=result["mode"], baseline_arm=result["baseline"])


def baseline_of(found: Sequence[Configuration]) -> Configuration:
    """Return the full softmax."""
    baseline = best_of((one for one in found if one.arm == "full_softmax"), mode="max")
    assert baseline is not None
    return baseline


def embedding_dim(one: Configuration) -> int | None:
    """Return d of a configuration of the dimensions' study; None for the full softmax."""
    return None if one.arm == "full_softmax" else int(one.overrides.get("objective.embedding_dim", 32))


def value_by(curve: Sequence[tuple[int, float]], step: int) -> float:
    """Return the best value of a curve up to a step."""
    return max(value for at, value in curve if at <= step)
