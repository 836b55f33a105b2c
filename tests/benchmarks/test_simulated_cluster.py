"""The simulated cluster: the curves that it replays, what its samples say, and that it misses what is missing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from benchmarks.replayed_trial import EVALUATED, LOGGED, generated_curves, value_at
from benchmarks.simulated_cluster import (
    Sample,
    _Lines,
    busy_part,
    cost_by_quarter,
    count_what_arrived,
    recorded_curves,
    sweep_of,
)
from essnet.atomic_files import write_json
from essnet.config import load_sweep
from essnet.sweep.folder import STOPPED, SweepFolder, TrialRecord
from essnet.sweep.plan import plan_trials
from essnet.tracking import MlflowTracker, RunSpec, RunStore, default_uri


def test_a_curve_is_linear_between_its_points() -> None:
    curve = [0.2, 0.6]
    assert [value_at(curve, part) for part in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx([0, 0.1, 0.2, 0.4, 0.6])
    assert value_at([0.5], 1.0) == 0.5


def test_curves_are_those_of_their_seed() -> None:
    curves = generated_curves(20, points=8, seed=1)
    assert curves == generated_curves(20, points=8, seed=1)
    assert curves != generated_curves(20, points=8, seed=2)
    assert len({tuple(curve) for curve in curves}) == 20
    assert all(len(curve) == 8 and all(0 <= value <= 1 for value in curve) for curve in curves)


def test_recorded_curves_are_those_of_trials_that_were_evaluated(tmp_path: Path) -> None:
    for name, values in (("000-a", [0.1, 0.3]), ("001-b", []), ("002-c", [0.2])):
        lines = [json.dumps({"step": step, "metrics": {"val/miou": value}}) for step, value in enumerate(values)]
        (tmp_path / "trials" / name).mkdir(parents=True)
        (tmp_path / "trials" / name / "history.jsonl").write_text("".join(f"{line}\n" for line in lines))
    assert recorded_curves([tmp_path]) == [[0.1, 0.3], [0.2]]
    assert recorded_curves([]) == []


def sample(begun: int, cpu_seconds: float) -> Sample:
    return Sample(float(begun), cpu_seconds, cpu_seconds, 100.0, begun, decided=begun)


def test_the_cost_of_a_trial_is_that_of_its_quarter() -> None:
    samples = [sample(begun, begun**2 / 1000) for begun in range(101)]
    assert cost_by_quarter(samples) == pytest.approx([25, 75, 125, 175])


def test_samples_may_be_fewer_than_quarters() -> None:
    assert cost_by_quarter([sample(0, 1.0), sample(4, 2.0), sample(4, 3.0)]) == pytest.approx([250, 0, 0, 1000])


def test_start_up_and_closing_are_no_part_of_the_rates() -> None:
    samples = [sample(begun, begun / 10) for begun in (0, 0, 3, 8, 20, 50, 50, 50)]
    assert busy_part(samples, gpus=5) == (samples[3], samples[5])
    assert busy_part(samples[:4], gpus=64) == (samples[3], samples[3])


def test_lines_are_counted_as_the_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = _Lines(path)
    assert lines.count() == 0
    path.write_text("a\nb\nc")
    assert lines.count() == 2
    with path.open("a") as file:
        file.write("\n")
    assert lines.count() == 3


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_the_sweep_has_as_many_trials_as_asked_for(tmp_path: Path, algorithm: str) -> None:
    sweep = sweep_of(50, algorithm=algorithm, seed=0, tracking_uri=None)
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False))
    assert len(plan_trials(load_sweep(tmp_path / "sweep.yaml", ()))) == 50


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "sweep")
    store = RunStore(default_uri(tmp_path), "simulated", artifact_root=tmp_path / "mlartifacts")
    parent = store.find_or_make("sweep", identity={"essnet.kind": "sweep"}, tags={}, params={})
    state = {"name": "sweep", "baseline": "full", "metric": "val/miou", "mode": "max", "num_trials": 1}
    where = {"tracking_uri": store.uri, "experiment": store.experiment, "parent_run_id": parent}
    write_json(folder.path / "sweep.json", {**state, **where})
    record = TrialRecord("000-full", 0, "full", 0, overrides={}, point={}, seed=0, max_steps=200, state=STOPPED)
    folder.write_record(record)
    entries = [json.dumps({"step": step, "metrics": {"val/miou": 0.5}}) for step in (10, 20)]
    (folder.trial("000-full") / "history.jsonl").write_text("".join(f"{entry}\n" for entry in entries))
    identity = {"essnet.trial_id": "000-full", "mlflow.parentRunId": parent}
    tags, params = {"essnet.kind": "trial"}, {"a": "1", "b": "2"}
    artifacts = str(tmp_path / "mlartifacts")
    spec = RunSpec(store.uri, "simulated", artifacts, name="000-full", identity=identity, tags=tags, params=params)
    tracker = MlflowTracker(folder.trial("000-full"), spec)
    for step in (5, 10, 15, 20):
        tracker.log(step, dict.fromkeys(LOGGED, 1.0))
    for step in (10, 20):
        tracker.log(step, dict.fromkeys(EVALUATED, 1.0))
    tracker.end("FINISHED")
    assert tracker.close(wait_seconds=60)
    run = tracker.run_id
    database = tmp_path / "mlflow.db"
    assert count_what_arrived(folder, database) == ({"runs": 1, "params": 2, "points": 36}, [])

    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM metrics WHERE key = 'train/lr' AND step = 15")
    assert count_what_arrived(folder, database)[1] == ["000-full: train/lr: 3 points at 3 steps, 4 sent"]
    store.client.update_run(run, status="RUNNING")
    assert count_what_arrived(folder, database)[1] == ["000-full: its runs are ['RUNNING']"]
