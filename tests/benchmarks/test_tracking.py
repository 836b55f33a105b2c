"""The benchmark of tracking: what it measures, and that it sees what is missing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.tracking import _is_as_aimed_at, measure_overhead
from benchmarks.tracking_outages import TrackedTrial
from essnet.tracking import RunStore, default_uri

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def test_a_point_that_is_missing_is_told(database: Path, tmp_path: Path) -> None:
    store = RunStore(default_uri(database), "trials", artifact_root=database)
    trial = TrackedTrial(store, tmp_path / "calm-0", stop_after=lambda step: step >= 4)
    assert trial.steps == 4
    assert trial.problems() == []
    with closing(sqlite3.connect(database / "mlflow.db")) as connection, connection:
        connection.execute("DELETE FROM metrics WHERE key = 'train/lr' AND step = 3")
    assert trial.problems() == ["calm-0: train/lr: 3 of 4 steps, 0 twice"]


def test_rounds_of_the_overhead(database: Path, tmp_path: Path) -> None:
    found = measure_overhead(default_uri(database), tmp_path, rounds=2, steps=3, step_ms=1.0)
    assert len(found["ratios"]) == 2
    store = RunStore(default_uri(database), "overhead", artifact_root=tmp_path)
    runs = store.client.search_runs([store.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    assert all(len(run.data.metrics) == 20 for run in runs)


def test_what_is_aimed_at() -> None:
    assert _is_as_aimed_at({"overhead": {"ratio": {"p50": 1.02}}})
    assert not _is_as_aimed_at({"overhead": {"ratio": {"p50": 1.021}}})
    outages = {"ratio": {"p50": 1.0}, "problems": []}
    assert _is_as_aimed_at({"outages": outages})
    assert not _is_as_aimed_at({"outages": {**outages, "problems": ["calm-0: val/loss: 3 of 4 steps, 0 twice"]}})
