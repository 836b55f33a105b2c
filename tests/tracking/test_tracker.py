from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from essnet.sweep.callback import SweepCallback
from essnet.tracking import MlflowTracker, RunStore, deliver_rest, is_delivered
from essnet.tracking.entries import metrics_entry, status_entry
from essnet.tracking.run_file import read_run_file
from tests.tracking.conftest import Place
from tests.tracking.runs import close, log_steps, points, rising, run_id_of, spec_of, wait_until, waiting

ROOT = Path(__file__).resolve().parents[2]


def test_points_arrive_with_the_time_at_which_they_were_logged(store: RunStore, tmp_path: Path) -> None:
    before = int(1000 * time.time())
    tracker = MlflowTracker(tmp_path, spec_of(store))
    tracker.log(1, {"train/loss": 0.5, "val/miou": 0.25})
    tracker.log(2, {"train/loss": 0.125})
    logged = 1000 * time.time()
    close(tracker)
    assert points(store) == [(1, 0.5), (2, 0.125)]
    assert points(store, "val/miou") == [(1, 0.25)]
    history = store.client.get_metric_history(run_id_of(store), "train/loss")
    assert all(before <= point.timestamp <= logged for point in history)
    assert is_delivered(tmp_path)


def test_points_arrive_while_the_run_goes_on(store: RunStore, tmp_path: Path) -> None:
    tracker = MlflowTracker(tmp_path, spec_of(store))
    log_steps(tracker, 1, 2)
    tracker.flush()
    wait_until(lambda: tracker.run_id is not None, "the run is known")
    wait_until(lambda: store.last_steps(run_id_of(store)) == {"train/loss": 2}, "points are delivered")
    assert store.client.get_run(run_id_of(store)).info.status == "RUNNING"
    close(tracker)


def test_the_run_its_tags_its_params_its_end(store: RunStore, tmp_path: Path) -> None:
    tracker = MlflowTracker(tmp_path, spec_of(store))
    tracker.describe("# first")
    tracker.describe("# The answer")
    tracker.end("FINISHED")
    ended = int(1000 * time.time())
    close(tracker)
    run = store.client.get_run(run_id_of(store))
    assert tracker.run_id == run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.info.end_time <= ended
    assert run.data.params == {"seed": "0"}
    assert run.data.tags["essnet.arm"] == "knn"
    assert run.data.tags["mlflow.note.content"] == "# The answer"
    known = {"run_id": run.info.run_id, "tracking_uri": store.uri, "status": "FINISHED"}
    assert read_run_file(tmp_path) == known


def test_artifacts_from_inside_and_outside_of_the_runs_folder(store: RunStore, tmp_path: Path) -> None:
    directory = tmp_path / "trial"
    directory.mkdir()
    (directory / "config.yaml").write_text("seed: 0")
    (tmp_path / "trace.json").write_text("[]")
    tracker = MlflowTracker(directory, spec_of(store))
    tracker.log_artifact(directory / "config.yaml", "")
    tracker.log_artifact(tmp_path / "trace.json", "profile/deep")
    close(tracker)
    run_id = run_id_of(store)
    assert [file.path for file in store.client.list_artifacts(run_id)] == ["config.yaml", "profile"]
    assert [file.path for file in store.client.list_artifacts(run_id, "profile/deep")] == ["profile/deep/trace.json"]


def test_the_data_sets_that_a_run_uses(store: RunStore, tmp_path: Path) -> None:
    dataset = {"name": "textures train", "digest": "0123abcd", "source_type": "generated", "source": "{}"}
    for _ in range(2):  # a resumed run says it again
        tracker = MlflowTracker(tmp_path, spec_of(store))
        tracker.log_inputs([{"context": "training", "dataset": dataset}])
        close(tracker)
    (found,) = store.client.get_run(run_id_of(store)).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("textures train", "0123abcd")
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "training")]


def test_an_artifact_that_is_gone_keeps_nothing_else_back(
    store: RunStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = MlflowTracker(tmp_path, spec_of(store))
    tracker.log_artifact(tmp_path / "gone.png", "predictions")
    log_steps(tracker, 1)
    close(tracker)
    assert points(store) == rising(1)
    assert "MLflow did not take predictions/gone.png" in caplog.text


def test_more_points_than_a_request_takes(store: RunStore, tmp_path: Path) -> None:
    tracker = MlflowTracker(tmp_path, spec_of(store))
    log_steps(tracker, *range(1, 2502))
    close(tracker)
    assert points(store) == rising(*range(1, 2502))


def test_a_resumed_run_repeats_steps_that_are_there_once(store: RunStore, tmp_path: Path, place: Place) -> None:
    first = MlflowTracker(tmp_path, spec_of(store))
    log_steps(first, *range(1, 6))
    first.log(4, {"val/miou": 0.5})
    first.end("KILLED")
    close(first)
    run_id = first.run_id

    second = MlflowTracker(tmp_path, spec_of(place.store(store.experiment)))
    assert second.run_id == run_id
    log_steps(second, *range(3, 9))
    second.log(4, {"val/miou": 0.5})
    second.log(8, {"val/miou": 0.75, "val/loss": 1.0})
    close(second)
    assert run_id_of(store) == run_id
    assert store.client.get_run(run_id).info.status == "RUNNING"
    assert points(store) == rising(*range(1, 9))
    assert points(store, "val/miou") == [(4, 0.5), (8, 0.75)]
    assert points(store, "val/loss") == [(8, 1.0)]


def test_values_that_are_no_numbers_do_not_stop_the_others(store: RunStore, tmp_path: Path) -> None:
    tracker = MlflowTracker(tmp_path, spec_of(store))
    tracker.log(1, {"val/loss": float("nan"), "train/loss": float("inf"), "val/miou": 0.5})
    tracker.log(2, {"val/miou": 0.75})
    close(tracker)
    assert points(store, "val/miou") == [(1, 0.5), (2, 0.75)]


def test_what_mlflow_would_never_take_does_not_stop_the_others(
    store: RunStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = MlflowTracker(tmp_path, spec_of(store))
    wait_until(lambda: tracker.run_id is not None, "the run is known")
    wait_until(lambda: store.client.get_run(run_id_of(store)).info.status == "RUNNING", "it runs")
    tracker.log(1, {"what?": 1.0})
    tracker.end("FINISHED")
    close(tracker)
    assert store.client.get_run(run_id_of(store)).info.status == "FINISHED"
    assert "MLflow refuses 1 points" in caplog.text


def test_a_store_that_refuses_keeps_the_points_waiting(
    database: Place, experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = database.store(experiment)

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr("mlflow.MlflowClient.log_batch", refuse)
        tracker = MlflowTracker(tmp_path, spec_of(store))
        log_steps(tracker, 1, 2)
        assert not tracker.close(wait_seconds=1.0)
    assert caplog.text.count("MLflow does not answer") == 1
    assert "database is locked" in caplog.text
    assert waiting(tmp_path) == 3
    wait_until(lambda: not thread_of_mlflow(), "the thread ends")
    deliver_rest(tmp_path, last=[status_entry("FINISHED")])
    assert points(store) == rising(1, 2)
    assert store.client.get_run(run_id_of(store)).info.status == "FINISHED"
    assert is_delivered(tmp_path)


def thread_of_mlflow() -> bool:
    return any(thread.name == "mlflow" for thread in threading.enumerate())


def test_threads_end_with_their_trial(database: Place, experiment: str, tmp_path: Path) -> None:
    """A worker process runs one trial after another."""
    store = database.store(experiment)
    for name in ("first", "second"):
        tracker = MlflowTracker(tmp_path / name, spec_of(store, name=name))
        log_steps(tracker, 1)
        close(tracker)
        wait_until(lambda: not thread_of_mlflow(), "the thread ends")
        assert points(store, name=name) == rising(1)


def test_what_ray_pickles_holds_no_thread(tmp_path: Path) -> None:
    assert pickle.loads(pickle.dumps(SweepCallback(tmp_path, sweep_id="one")))._folder.path == tmp_path


def test_a_process_that_was_forked_meanwhile_holds_nothing_up(database: Place, experiment: str, tmp_path: Path) -> None:
    """Data loaders' workers are forks of the trial, and have its files open."""
    store = database.store(experiment)
    tracker = MlflowTracker(tmp_path, spec_of(store))
    wait_until(lambda: tracker.run_id is not None, "the run is known, and the outbox locked")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # waits, with everything that it inherited, until the parent closes the pipe
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        log_steps(tracker, 1)
        close(tracker)
        deliver_rest(tmp_path, last=[metrics_entry(2, {"train/loss": 2.0})])
        assert points(store) == rising(1, 2)
    finally:
        os.close(read)
        os.close(write)
        os.waitpid(child, 0)


_LOG_A_RUN = """
import sys
from pathlib import Path
from essnet.tracking import MlflowTracker, RunSpec
uri, folder, artifacts, experiment, name, first, last, end = sys.argv[1:]
spec = RunSpec(uri=uri, experiment=experiment, artifact_root=artifacts, name=name, identity={"essnet.trial_id": name})
tracker = MlflowTracker(Path(folder) / name, spec)
for step in range(int(first), int(last) + 1):
    tracker.log(step, {"train/loss": float(step), "train/lr": 0.5})
    tracker.flush()
print("logged", flush=True)
if end == "wait":
    sys.stdin.read()
tracker.end("FINISHED")
assert tracker.close(wait_seconds=60)
"""


def log_in_a_process(
    store: RunStore, folder: Path, name: str, *, first: int = 1, last: int = 30, end: str = "end"
) -> subprocess.Popen[str]:
    arguments = (store.uri, str(folder), str(store.artifact_root), store.experiment, name, str(first), str(last), end)
    return subprocess.Popen(
        [sys.executable, "-c", _LOG_A_RUN, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )


@pytest.mark.slow
def test_two_processes_log_to_a_prepared_store_at_once(store: RunStore, tmp_path: Path) -> None:
    processes = [log_in_a_process(store, tmp_path, name) for name in ("first", "second")]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    for name in ("first", "second"):
        assert store.client.get_run(run_id_of(store, name)).info.status == "FINISHED"
        assert points(store, name=name) == rising(*range(1, 31))
    assert len(store.client.search_runs([store.experiment_id])) == 2


@pytest.mark.slow
def test_a_process_that_is_killed_loses_nothing_that_it_logged(store: RunStore, tmp_path: Path) -> None:
    process = log_in_a_process(store, tmp_path, "a run", end="wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "logged\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = log_in_a_process(store, tmp_path, "a run", first=21, last=40)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert points(store) == rising(*range(1, 41))
    assert is_delivered(tmp_path / "a run")
