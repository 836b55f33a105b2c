"""What MLflow has of a sweep: progress, descriptions, ends of runs; also where the store comes back later."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

from essnet.atomic_files import write_json
from essnet.sweep.ended_runs import EndedRuns, is_tracked
from essnet.sweep.folder import COMPLETED, FAILED, PENDING, RUNNING, STOPPED, SweepFolder, TrialRecord
from essnet.sweep.parent_run import deliver_leftovers, end_runs
from essnet.sweep.progress_metrics import Best
from essnet.sweep.run_descriptions import describe_sweep, describe_trial
from essnet.sweep.sweep_tracking import SweepProgress, parent_tracker, track_sweep
from essnet.tracking import MlflowTracker, RunSpec, RunStore, default_uri

STATE = {"name": "study", "baseline": "full", "metric": "val/miou", "mode": "max", "num_trials": 4}
TRIALS = (("000-full", "full"), ("001-knn", "knn"), ("002-knn", "knn"), ("003-knn", "knn"))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    RunStore(default_uri(folder), "first", artifact_root=folder)
    return folder


class Study:
    """A sweep's folder and its store."""

    def __init__(self, path: Path, database: Path) -> None:
        self.folder = SweepFolder(path / "study")
        self.store = RunStore(default_uri(database), path.name, artifact_root=database / "mlartifacts")
        where = {"tracking_uri": self.store.uri, "experiment": path.name}
        self._where: dict[str, Any] = {**where, "artifact_root": str(self.store.artifact_root)}
        parent = self.spec("sweep study", {"essnet.kind": "sweep", "essnet.sweep_id": "1"})
        identity = dict(parent.identity)
        self.parent_id = self.store.find_or_make(parent.name, identity=identity, tags={}, params={})
        state = {**STATE, **self._where, "parent_run_id": self.parent_id, "started": time.time()}
        write_json(self.folder.path / "sweep.json", state)
        parent.save(self.folder.path)
        for index, (trial_id, arm) in enumerate(TRIALS):
            self.folder.write_record(TrialRecord(trial_id, index, arm, index, {}, {}, 0, 20))

    def spec(self, name: str, identity: Mapping[str, str], *, uri: str | None = None) -> RunSpec:
        root = self._where["artifact_root"]
        return RunSpec(uri or self.store.uri, self.store.experiment, root, name=name, identity=dict(identity))

    def run_trial(self, trial_id: str, *values: float, state: str, uri: str | None = None) -> None:
        """Do what a trial does, and note how it ended."""
        directory = self.folder.trial(trial_id)
        identity = {"essnet.trial_id": trial_id, "mlflow.parentRunId": self.parent_id}
        tracker = MlflowTracker(directory, self.spec(trial_id, identity, uri=uri))
        with (directory / "history.jsonl").open("w") as history:
            for place, value in enumerate(values, start=1):
                metrics = {"val/miou": value, "val/loss": 1 - value}
                tracker.log(10 * place, metrics)
                history.write(json.dumps({"step": 10 * place, "metrics": metrics}) + "\n")
        assert tracker.close(wait_seconds=60 if uri is None else 0.1) == (uri is None)
        self.note(trial_id, state)

    def note(self, trial_id: str, state: str, error: str | None = None) -> None:
        self.folder.write_record(replace(self.folder.record(trial_id), state=state, error=error))

    def come_back(self, trial_id: str) -> None:
        """Let the store of a trial, which was elsewhere, be the one of all."""
        spec = RunSpec.load(self.folder.trial(trial_id))
        assert spec is not None
        replace(spec, uri=self.store.uri).save(self.folder.trial(trial_id))

    def run(self, name: str) -> Run:
        query = f"attributes.run_name = '{name}'"
        (found,) = self.store.client.search_runs([self.store.experiment_id], filter_string=query)
        return found

    def points(self, name: str, key: str) -> list[tuple[int, float]]:
        history = self.store.client.get_metric_history(self.run(name).info.run_id, key)
        return sorted((point.step, point.value) for point in history)


@pytest.fixture
def study(tmp_path: Path, database: Path) -> Study:
    return Study(tmp_path, database)


def test_runs_end_as_their_trials_did(study: Study) -> None:
    study.run_trial("000-full", 0.25, 0.75, 0.5, state=COMPLETED)
    study.run_trial("001-knn", 0.5, state=STOPPED)
    study.run_trial("002-knn", state=FAILED)
    study.run_trial("003-knn", 0.125, state=RUNNING)
    runs = EndedRuns(study.folder)
    for _ in range(2):
        assert runs.settle(study.folder.records())
        assert EndedRuns(study.folder).settle(study.folder.records()), "who comes next finds it done"
    statuses = {trial_id: study.run(trial_id).info.status for trial_id, _ in TRIALS}
    assert list(statuses.values()) == ["FINISHED", "FINISHED", "FAILED", "RUNNING"]
    assert study.points("000-full", "best/miou") == [(30, 0.75)]
    assert study.points("000-full", "best/loss") == [(30, 0.25)]
    assert study.points("001-knn", "best/miou") == [(10, 0.5)]
    assert study.run("002-knn").data.metrics == {}
    assert "best/miou" not in study.run("003-knn").data.metrics
    assert r"val/miou 0.75" in study.run("000-full").data.tags["mlflow.note.content"]

    assert end_runs(study.folder, done=False, answers=["No winner."])
    assert study.run("003-knn").info.status == "KILLED"
    assert study.run("sweep study").info.status == "KILLED"
    assert is_tracked(study.folder)
    assert r"No winner\." in study.run("sweep study").data.tags["mlflow.note.content"]


@pytest.mark.parametrize(("worst", "status"), [(COMPLETED, "FINISHED"), (FAILED, "FAILED")])
def test_the_sweeps_own_run_ends(study: Study, tmp_path: Path, worst: str, status: str) -> None:
    for trial_id, _ in TRIALS:
        study.run_trial(trial_id, 0.5, state=COMPLETED)
    study.note("003-knn", worst)
    (tmp_path / "comparison.csv").write_text("trial_id\n")
    assert end_runs(study.folder, done=True, artifacts=[tmp_path / "comparison.csv"])
    run = study.run("sweep study")
    assert run.info.status == status
    reports = study.store.client.list_artifacts(run.info.run_id, "report")
    assert [file.path for file in reports] == ["report/comparison.csv"]


def test_progress_is_logged_when_it_changes(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    started = study.folder.state()["started"]
    moment = 0.0
    monkeypatch.setattr("essnet.sweep.sweep_tracking.time.time", lambda: started + moment)
    tracker = parent_tracker(study.folder)
    progress = SweepProgress(study.folder, tracker)
    for second, trial_id, value, state in (
        (1.0, "000-full", 0.5, COMPLETED),
        (2.0, "001-knn", 0.25, COMPLETED),
        (3.0, "002-knn", 0.75, FAILED),
        (4.0, "003-knn", 0.125, STOPPED),
    ):
        moment = second
        study.run_trial(trial_id, value, state=state)
        progress.log()
    moment = 9.0
    progress.log()
    assert tracker.close(wait_seconds=60)
    assert study.points("sweep study", "sweep/trials_done") == [(1, 1.0), (2, 2.0), (3, 2.0), (4, 3.0)]
    assert study.points("sweep study", "sweep/trials_failed") == [(1, 0.0), (2, 0.0), (3, 1.0), (4, 1.0)]
    assert study.points("sweep study", "sweep/best/full")[-1] == (4, 0.5)
    assert study.points("sweep study", "sweep/best/knn") == [(2, 0.25), (3, 0.75), (4, 0.75)]
    text = study.run("sweep study").data.tags["mlflow.note.content"]
    assert "3 of 4 trials done, 1 failed" in text
    assert r"| knn | 002\-knn | 0.75 |" in text


def test_the_step_never_goes_back(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sets the clock, a year on and back, and another process goes on."""
    started = study.folder.state()["started"]
    moment = 0.0
    monkeypatch.setattr("essnet.sweep.sweep_tracking.time.time", lambda: started + moment)
    tracker = parent_tracker(study.folder)
    progress = SweepProgress(study.folder, tracker)
    for (trial_id, _), seconds in zip(TRIALS, (10.0, 3.2e7, 20.0, -3.2e7), strict=True):
        moment = seconds
        study.note(trial_id, COMPLETED)
        if seconds < 0:
            progress = SweepProgress(study.folder, tracker)
        progress.log()
    assert tracker.close(wait_seconds=60)
    expected = [(10, 1.0), (32_000_000, 2.0), (32_000_001, 3.0), (32_000_002, 4.0)]
    assert study.points("sweep study", "sweep/trials_done") == expected


def test_it_happens_while_the_sweep_runs(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("essnet.sweep.sweep_tracking._LOOK_SECONDS", 0.1)
    with track_sweep(study.folder):
        study.run_trial("000-full", 0.5, state=COMPLETED)
        deadline = time.monotonic() + 60
        while study.run("000-full").info.status != "FINISHED":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert study.run("sweep study").info.status == "RUNNING"
        while study.run("sweep study").data.metrics.get("sweep/trials_done") != 1.0:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_what_the_store_could_not_be_told_is_sent_later(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    nowhere = "http://127.0.0.1:9"
    study.run_trial("000-full", 0.25, 0.5, state=COMPLETED, uri=nowhere)
    study.run_trial("001-knn", 0.125, state=PENDING)
    assert not end_runs(study.folder, done=False, wait_seconds=0.0)
    assert "MLflow does not have all of the trials" in caplog.text
    assert not is_tracked(study.folder)
    assert not deliver_leftovers(study.folder, done=False)

    study.come_back("000-full")
    assert deliver_leftovers(study.folder, done=False)
    assert is_tracked(study.folder)
    assert study.points("000-full", "val/miou") == [(10, 0.25), (20, 0.5)]
    assert study.points("000-full", "best/miou") == [(20, 0.5)]
    statuses = [study.run(name).info.status for name in ("000-full", "001-knn", "sweep study")]
    assert statuses == ["FINISHED", "KILLED", "KILLED"]


def test_leftovers_of_a_sweep_that_runs_are_its_own(study: Study) -> None:
    study.run_trial("000-full", 0.5, state=COMPLETED)
    with study.folder.locked():
        assert not deliver_leftovers(study.folder, done=False)
    assert study.run("000-full").info.status == "RUNNING"


def test_runs_that_nobody_knows_are_removed_in_the_end(study: Study) -> None:
    study.run_trial("000-full", 0.5, state=COMPLETED)
    tags = {"essnet.trial_id": "000-full", "mlflow.parentRunId": study.parent_id}
    study.store.client.create_run(study.store.experiment_id, run_name="000-full", tags=tags)
    assert end_runs(study.folder, done=True)
    assert study.run("000-full").data.metrics["best/miou"] == 0.5


def test_descriptions_say_what_it_is_and_how_to_run_it_again() -> None:
    record = TrialRecord("003-knn", 3, "knn", 1, {}, {"objective.embedding_dim": 12}, 7, 20, replicates="001-knn")
    state = {**STATE, "baseline": "<full>", "resume_command": "launch.py sweep 'a b.yaml' --resume"}
    text = describe_trial(record, state, output="some where")
    assert "launch.py train --from-trial study/003-knn --output 'some where'" in text
    assert r"objective\.embedding\_dim = 12" in text
    assert "&lt;full&gt;" in text
    assert "<" not in text
    assert "seed 7" in text
    failed = replace(record, state=FAILED, error="[x](http://y) <img>")
    text = describe_trial(failed, state, output="runs", metrics={"val/miou": 0.5, "perf/step_ms": 3.0})
    assert r"It failed: \[x\]\(http\://y\) &lt;img&gt;" in text
    assert "val/miou 0.5" in text
    assert "perf" not in text
    text = describe_sweep(state, output="runs", counts={COMPLETED: 2}, best={"knn": Best("003-knn", 0.25)})
    assert "2 of 4 trials done" in text
    assert "launch.py sweep 'a b.yaml' --resume" in text
    assert "launch.py report study\n" in text
