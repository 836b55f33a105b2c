"""Runs of tests: what they are, and what the store has of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from essnet.tracking import MlflowTracker, RunSpec, RunStore

DEADLINE_SECONDS = 60.0


def spec_of(store: RunStore, *, uri: str | None = None, name: str = "a run", **identity: str) -> RunSpec:
    return RunSpec(
        uri=store.uri if uri is None else uri,
        experiment=store.experiment,
        artifact_root=str(store.artifact_root),
        name=name,
        identity={"essnet.trial_id": name, **identity},
        tags={"essnet.arm": "knn"},
        params={"seed": "0"},
    )


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS:.0f} s: {what}"
        time.sleep(0.02)


def close(tracker: MlflowTracker) -> None:
    assert tracker.close(wait_seconds=DEADLINE_SECONDS)


def run_id_of(store: RunStore, name: str = "a run") -> str:
    """Return the id of the only run of that name."""
    runs = store.client.search_runs([store.experiment_id], filter_string=f"attributes.run_name = '{name}'")
    (run,) = runs
    return str(run.info.run_id)


def points(store: RunStore, key: str = "train/loss", *, name: str = "a run") -> list[tuple[int, float]]:
    """Return steps and values of a metric, in the order of their steps."""
    history = store.client.get_metric_history(run_id_of(store, name), key)
    return sorted((point.step, point.value) for point in history)


def rising(*steps: int) -> list[tuple[int, float]]:
    """Return the points of `log_steps`."""
    return [(step, float(step)) for step in steps]


def log_steps(tracker: MlflowTracker, *steps: int) -> None:
    for step in steps:
        tracker.log(step, {"train/loss": float(step)})


def waiting(directory: Path) -> int:
    """Return how many lines wait in a run's outbox."""
    return sum(path.read_bytes().count(b"\n") for path in (directory / "tracking").glob("*.jsonl"))
