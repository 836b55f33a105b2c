from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from essnet.tracking import MlflowTracker, RunStore
from tests.tracking.conftest import Place
from tests.tracking.server import Server


@pytest.fixture
def run_id(store: RunStore) -> str:
    return start(store)


def start(store: RunStore) -> str:
    return store.start("a run", identity={"essnet.trial_id": "a"}, tags={}, params={})


def points(store: RunStore, run_id: str, key: str = "train/loss") -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in store.client.get_metric_history(run_id, key))


def test_points_arrive_at_flush(store: RunStore, run_id: str) -> None:
    tracker = MlflowTracker(store, run_id)
    before = int(1000 * time.time())
    tracker.log(1, {"train/loss": 0.5, "val/miou": 0.25})
    tracker.log(2, {"train/loss": 0.125})
    assert points(store, run_id) == []
    tracker.flush()
    assert points(store, run_id) == [(1, 0.5), (2, 0.125)]
    assert points(store, run_id, "val/miou") == [(1, 0.25)]
    times = [point.timestamp for point in store.client.get_metric_history(run_id, "train/loss")]
    assert all(before <= moment <= 1000 * time.time() for moment in times)
    tracker.flush()
    assert len(points(store, run_id)) == 2


def test_more_points_than_a_batch_takes(store: RunStore, run_id: str) -> None:
    tracker = MlflowTracker(store, run_id)
    for step in range(1, 2502):
        tracker.log(step, {"train/loss": step / 8})
    tracker.flush()
    assert points(store, run_id) == [(step, step / 8) for step in range(1, 2502)]


def test_repeated_steps_are_logged_once(store: RunStore, run_id: str, place: Place) -> None:
    first = MlflowTracker(store, run_id)
    for step in range(1, 6):
        first.log(step, {"train/loss": float(step)})
    first.log(4, {"val/miou": 0.5})
    first.flush()

    again = place.store(store.experiment)
    assert start(again) == run_id
    second = MlflowTracker(again, run_id)
    for step in range(3, 9):
        second.log(step, {"train/loss": float(step)})
    second.log(4, {"val/miou": 0.5})
    second.log(8, {"val/miou": 0.75, "val/loss": 1.0})
    second.flush()
    assert points(store, run_id) == [(step, float(step)) for step in range(1, 9)]
    assert points(store, run_id, "val/miou") == [(4, 0.5), (8, 0.75)]
    assert points(store, run_id, "val/loss") == [(8, 1.0)]


def test_values_that_are_no_numbers_do_not_stop_the_others(store: RunStore, run_id: str) -> None:
    tracker = MlflowTracker(store, run_id)
    tracker.log(1, {"val/loss": float("nan"), "train/loss": float("inf"), "val/miou": 0.5})
    tracker.flush()
    assert points(store, run_id, "val/miou") == [(1, 0.5)]


def test_a_store_that_refuses_keeps_the_points_waiting(
    database: Place, experiment: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = database.store(experiment)
    run_id = start(store)
    tracker = MlflowTracker(store, run_id)
    tracker.log(1, {"train/loss": 1.0})

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("database is locked")

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        for name in ("log_batch", "log_artifact", "set_terminated"):
            broken.setattr(store.client, name, refuse)
        tracker.flush()
        tracker.log_artifact(Path("config.yaml"), "")
        store.end(run_id, "FINISHED")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert "1 points wait: database is locked" in caplog.text
    tracker.log(2, {"train/loss": 2.0})
    tracker.flush()
    assert points(store, run_id) == [(1, 1.0), (2, 2.0)]


@pytest.mark.slow
def test_a_server_that_goes_away_and_comes_back(server: Server, tmp_path: Path) -> None:
    store = RunStore(server.uri, "away", artifact_root=tmp_path)
    run_id = start(store)
    tracker = MlflowTracker(store, run_id)
    tracker.log(1, {"train/loss": 1.0})
    tracker.flush()

    server.stop()
    started = time.monotonic()
    tracker.log(2, {"train/loss": 2.0})
    tracker.flush()
    (tmp_path / "picture.png").touch()
    tracker.log_artifact(tmp_path / "picture.png", "predictions")
    store.end(run_id, "KILLED")
    assert time.monotonic() - started < 30

    server.start()
    tracker.log(3, {"train/loss": 3.0})
    tracker.flush()
    store.end(run_id, "FINISHED")
    assert points(store, run_id) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert store.client.get_run(run_id).info.status == "FINISHED"


_LOG_A_RUN = """
import sys
from pathlib import Path
from essnet.tracking import MlflowTracker, RunStore
uri, folder, experiment, name = sys.argv[1:]
store = RunStore(uri, experiment, artifact_root=Path(folder))
run_id = store.start(name, identity={"essnet.trial_id": name}, tags={}, params={"name": name})
tracker = MlflowTracker(store, run_id)
for step in range(1, 31):
    tracker.log(step, {"train/loss": float(step), "train/lr": 0.5})
    tracker.flush()
assert not tracker._waiting
store.end(run_id, "FINISHED")
"""


@pytest.mark.slow
def test_two_processes_log_to_a_prepared_store_at_once(place: Place, store: RunStore) -> None:
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", _LOG_A_RUN, place.uri, str(place.folder / "mlartifacts")),
                *(store.experiment, name),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).resolve().parents[2],
        )
        for name in ("first", "second")
    ]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    for name in ("first", "second"):
        run = store.find({"essnet.trial_id": name})
        assert run is not None
        assert run.info.status == "FINISHED"
        assert [step for step, _ in points(store, run.info.run_id)] == list(range(1, 31))
    assert len(store.client.search_runs([store.experiment_id])) == 2
