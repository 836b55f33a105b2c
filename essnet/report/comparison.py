"""What a sweep found out, gathered from its folder: the one source of every table, figure and sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from essnet.atomic_files import read_json
from essnet.sweep.folder import SweepFolder, TrialRecord
from essnet.training.result import read_history

EMBEDDING_DIM = "objective.embedding_dim"
NUM_NEIGHBOURS = "objective.num_neighbours"
_HAS_NEIGHBOURS = ("knn_softmax", "sampled_softmax")


@dataclass(frozen=True)
class ComparedTrial:
    """A trial as the comparison sees it; `metrics` are those of its best evaluation, with its `perf/` figures."""

    trial_id: str
    arm: str
    overrides: Mapping[str, Any]
    point: Mapping[str, Any]
    """The searched part of the overrides."""
    seed: int
    state: str
    steps: int
    metrics: Mapping[str, float]
    run_id: str | None
    error: str | None
    settings: Mapping[str, Any]
    """The `objective` block that it ran with."""

    @property
    def embedding_dim(self) -> int | None:
        """Return d, or None for the full softmax, which has none."""
        return None if self.settings.get("name") == "full_softmax" else self.settings.get("embedding_dim")

    @property
    def other_point(self) -> dict[str, Any]:
        """Return what was searched besides d and k, by the last word of its path."""
        known = (EMBEDDING_DIM, NUM_NEIGHBOURS)
        return {path.split(".")[-1]: value for path, value in self.point.items() if path not in known}

    @property
    def num_neighbours(self) -> int | None:
        """Return k, or None for an objective without neighbours."""
        return self.settings.get("num_neighbours") if self.settings.get("name") in _HAS_NEIGHBOURS else None


@dataclass(frozen=True)
class Comparison:
    """All trials of a sweep beside its baseline."""

    sweep: str
    directory: Path
    tracking_uri: str
    parent_run_id: str | None
    metric: str
    mode: str
    num_trials: int
    trials: tuple[ComparedTrial, ...]
    baseline: ComparedTrial | None
    """The best of the baseline arm's trials, or None while there is none with a result."""
    best: ComparedTrial | None
    """The best of all other trials, or None while there is none with a result."""

    def ranked(self) -> list[ComparedTrial]:
        """Return the trials, best first, those without a result last."""
        return sorted(self.trials, key=lambda trial: _rank(trial, self.metric, self.mode))

    def difference(self, trial: ComparedTrial) -> float | None:
        """Return the trial's metric minus the baseline's."""
        if self.baseline is None or self.metric not in trial.metrics:
            return None
        return trial.metrics[self.metric] - self.baseline.metrics[self.metric]

    def ratio(self, trial: ComparedTrial, figure: str) -> float | None:
        """Return a `perf/` figure of the trial as a multiple of the baseline's."""
        if self.baseline is None or figure not in trial.metrics or not self.baseline.metrics.get(figure):
            return None
        return trial.metrics[figure] / self.baseline.metrics[figure]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison with the keys that scripts rely on."""
        keys = ("trial_id", "arm", "overrides", "seed", "state", "steps", "metrics", "run_id", "error")
        trials = [{key: value for key, value in asdict(trial).items() if key in keys} for trial in self.trials]
        return {
            "sweep": self.sweep,
            "directory": str(self.directory),
            "tracking_uri": self.tracking_uri,
            "parent_run_id": self.parent_run_id,
            "metric": self.metric,
            "baseline": self.baseline.trial_id if self.baseline else None,
            "best": self.best.trial_id if self.best else None,
            "trials": trials,
        }


def load_comparison(folder: SweepFolder) -> Comparison:
    """Gather a sweep's results, also of one that still runs.

    Raises
    ------
    InputError
        If the folder is no sweep's, or its state is damaged.
    """
    state = folder.state()
    metric, mode = state["metric"], state["mode"]
    trials = tuple(_load_trial(folder, record, metric, mode) for record in folder.records())
    with_result = sorted((trial for trial in trials if metric in trial.metrics), key=lambda t: _rank(t, metric, mode))
    baselines = [trial for trial in with_result if trial.arm == state["baseline"]]
    others = [trial for trial in with_result if trial.arm != state["baseline"]]
    return Comparison(
        sweep=state["name"],
        directory=folder.path.absolute(),
        tracking_uri=state["tracking_uri"],
        parent_run_id=state["parent_run_id"],
        metric=metric,
        mode=mode,
        num_trials=state["num_trials"],
        trials=trials,
        baseline=baselines[0] if baselines else None,
        best=others[0] if others else None,
    )


def _load_trial(folder: SweepFolder, record: TrialRecord, metric: str, mode: str) -> ComparedTrial:
    path = folder.trial(record.trial_id)
    history = read_history(path / "history.jsonl")
    sign = -1 if mode == "max" else 1
    sound = [entry["metrics"] for entry in history if math.isfinite(entry["metrics"][metric])]
    best: dict[str, float] = min(sound, key=lambda metrics: sign * metrics[metric], default={})
    last = history[-1]["metrics"] if history else {}
    perf = {name: value for name, value in last.items() if name.startswith("perf/")}
    config = path / "config.yaml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))["objective"] if config.exists() else {}
    return ComparedTrial(
        trial_id=record.trial_id,
        arm=record.arm,
        overrides=record.overrides,
        point=record.point,
        seed=record.seed,
        state=record.state,
        steps=history[-1]["step"] if history else 0,
        metrics={**best, **perf},
        run_id=read_json(path / "run.json").get("run_id"),
        error=record.error,
        settings=settings,
    )


def _rank(trial: ComparedTrial, metric: str, mode: str) -> tuple[bool, float]:
    value = trial.metrics.get(metric, 0.0)
    return metric not in trial.metrics, -value if mode == "max" else value
