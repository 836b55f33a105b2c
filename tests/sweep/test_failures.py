"""What becomes of a trial that fails: its kind, whether it is tried again, and what is told."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray import cloudpickle
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

from essnet.atomic_files import write_json
from essnet.config import InputError
from essnet.file_lock import HeldByOther
from essnet.sweep import trainable
from essnet.sweep.callback import SweepCallback
from essnet.sweep.ended_runs import EndedRuns
from essnet.sweep.failures import failure_kind, in_a_line, lost_worker
from essnet.sweep.folder import COMPLETED, FAILED, PENDING, RUNNING, Failure, SweepFolder, TrialRecord
from essnet.sweep.storage import StorageError
from essnet.tracking import MlflowTracker, RunSpec, RunStore
from essnet.tracking.run_file import read_run_file
from essnet.training.loss_watch import NonFiniteLossError
from tests.file_system_calls import refused_from


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (InputError("data.root: is not there"), "bad_input", "data.root: is not there"),
        (NonFiniteLossError("the loss is nan"), "non_finite", "the loss is nan"),
        (
            torch.OutOfMemoryError("CUDA out of memory.\nTried"),
            "out_of_memory",
            "OutOfMemoryError: CUDA out of memory.",
        ),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (ValueError("what\never"), "crash", "ValueError: what"),
        (RuntimeError("shapes differ"), "crash", "RuntimeError: shapes differ"),
        (HeldByOther("12"), "crash", "process 12 holds the trial's folder still"),
    ],
)
def test_kinds(error: Exception, kind: str, line: str) -> None:
    assert (failure_kind(error), in_a_line(error)) == (kind, line)


def test_what_torch_says_when_a_cpu_has_not_enough_memory() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**58, dtype=torch.uint8)
    assert failure_kind(error.value) == "out_of_memory"


def test_lost_workers() -> None:
    assert lost_worker(ActorDiedError())["kind"] == "lost_worker"
    assert lost_worker(OutOfMemoryError("evicted"))["kind"] == "out_of_memory"
    raised = RayTaskError("train", "Traceback\n ...", StorageError("storage: away")).as_instanceof_cause()
    assert lost_worker(raised) == {"kind": "crash", "message": "storage: away"}
    words = "1 worker(s) were killed due to the node running low on memory."
    assert lost_worker(RuntimeError(words))["kind"] == "out_of_memory"


def task_in(directory: Path) -> dict[str, Any]:
    return {
        "directory": str(directory),
        "trial_id": directory.name,
        "sweep_id": "a sweep's id",
        "sweep_directory": str(directory.parents[1]),
        "storage": None,
    }


def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Path:
    """Run a trial whose training raises; return its folder."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(trainable, "_train", fail)
    directory = tmp_path / "trials" / "000-knn"
    directory.mkdir(parents=True, exist_ok=True)
    trainable.run_trial(task_in(directory))
    return directory


@pytest.mark.parametrize("error", [InputError("no"), NonFiniteLossError("nan"), torch.OutOfMemoryError("full")])
def test_ray_retries_nothing_that_would_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    kept = json.loads((failing(tmp_path, monkeypatch, error) / "error.json").read_text())
    assert kept["kind"] == failure_kind(error)
    assert type(error).__name__ in kept["traceback"]


def test_ray_retries_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        failing(tmp_path, monkeypatch, ZeroDivisionError("once"))
    assert json.loads((tmp_path / "trials" / "000-knn" / "error.json").read_text())["kind"] == "crash"


def test_a_folder_that_is_held_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainable, "_OLD_WORKER_SECONDS", 0.0)
    directory = tmp_path / "trials" / "000-knn"
    with trainable.hold(directory / "lock"), pytest.raises(HeldByOther):
        trainable.run_trial(task_in(directory))
    assert "holds the trial's folder" in json.loads((directory / "error.json").read_text())["message"]


class Driver:
    """A sweep's folder with one trial that runs, the callback that Ray calls, and who ends the trial's run then."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = RunStore(f"sqlite:///{tmp_path / 'mlflow.db'}", "essnet", artifact_root=tmp_path / "artifacts")
        self.folder = SweepFolder(tmp_path)
        self.folder.write_record(TrialRecord("000-knn", 0, "knn", 0, {}, {}, 0, 6, RUNNING))
        self.directory = self.folder.trial("000-knn")
        state = {"name": "sweep", "baseline": "full", "metric": "val/miou", "mode": "max", "num_trials": 1}
        where = {"tracking_uri": self.store.uri, "experiment": "essnet", "parent_run_id": "a sweep's"}
        write_json(tmp_path / "sweep.json", {**state, **where})
        spec = RunSpec(
            uri=self.store.uri,
            experiment="essnet",
            artifact_root=str(tmp_path / "artifacts"),
            name="000-knn",
            identity={"essnet.trial_id": "000-knn"},
        )
        assert MlflowTracker(self.directory, spec).close(wait_seconds=60)
        self.callback = SweepCallback(tmp_path, sweep_id="one")

    def fail(self, kind: str) -> None:
        (self.directory / "error.json").write_text(json.dumps({"kind": kind, "message": f"it was {kind}"}))

    def trial(self, error: Exception | None = None) -> Any:
        """A trial as Ray has it, which writes the errors that it was told."""
        file = self.directory / "error.pkl"
        if error is not None:
            file.write_bytes(cloudpickle.dumps(error))
        config = {"trial_id": "000-knn", "directory": str(self.directory)}
        return SimpleNamespace(config=config, pickled_error_file=str(file) if error is not None else None)

    def status(self) -> str:
        """Return the status of the trial's run once it has been looked after."""
        EndedRuns(self.folder).settle(self.folder.records())
        return str(self.store.client.get_run(read_run_file(self.directory)["run_id"]).info.status)


def test_out_of_memory_is_tried_once_more_alone(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.fail("out_of_memory")
    driver.callback.on_trial_complete(0, [], driver.trial())
    record = driver.folder.record("000-knn")
    assert (record.state, record.alone, record.failure) == (PENDING, True, "out_of_memory")
    assert driver.status() == "RUNNING"

    driver.callback.on_trial_start(0, [], driver.trial())
    record = driver.folder.record("000-knn")
    assert (record.error, record.earlier_failures) == (None, (Failure("out_of_memory", "it was out_of_memory"),))
    assert not (driver.directory / "error.json").exists()
    driver.fail("out_of_memory")
    driver.callback.on_trial_complete(0, [], driver.trial())
    record = driver.folder.record("000-knn")
    assert (record.state, record.failure, record.error) == (FAILED, "out_of_memory", "it was out_of_memory")
    assert driver.status() == "FAILED"


@pytest.mark.parametrize("kind", ["bad_input", "non_finite"])
def test_what_would_come_again_has_failed(tmp_path: Path, kind: str) -> None:
    driver = Driver(tmp_path)
    driver.fail(kind)
    driver.callback.on_trial_complete(0, [], driver.trial())
    record = driver.folder.record("000-knn")
    assert (record.state, record.failure, driver.status()) == (FAILED, kind, "FAILED")


@pytest.mark.parametrize("said", [ActorDiedError(), None])
def test_a_worker_that_died_without_a_word(tmp_path: Path, said: Exception | None) -> None:
    driver = Driver(tmp_path)
    driver.callback.on_trial_error(0, [], driver.trial(said))
    record = driver.folder.record("000-knn")
    assert (record.state, record.failure, record.error) == (FAILED, "lost_worker", "the worker process died")
    assert driver.status() == "FAILED"


def test_what_ray_tries_again_is_remembered(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.fail("crash")
    driver.callback.on_trial_recover(0, [], driver.trial(RuntimeError("raised in the trial")))
    driver.callback.on_trial_start(0, [], driver.trial())
    driver.callback.on_trial_recover(0, [], driver.trial(ActorDiedError()))
    driver.callback.on_trial_start(0, [], driver.trial())
    (driver.directory / "result.json").write_text("{}")
    driver.callback.on_trial_complete(0, [], driver.trial())
    record = driver.folder.record("000-knn")
    assert (record.state, record.error, record.failure) == (COMPLETED, None, None)
    assert record.earlier_failures == (
        Failure("crash", "it was crash"),
        Failure("lost_worker", "the worker process died"),
    )


def test_a_disk_that_is_full_ends_the_sweep_and_no_trial(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.callback.on_step_begin(0, [])
    with refused_from(0, tmp_path):
        driver.callback.on_trial_complete(0, [], driver.trial())
    assert driver.folder.record("000-knn").state == RUNNING  # as it was: it is begun again, and finds that it is done
    with pytest.raises(OSError, match=r"No space left on device: '.*trial\.json'"):
        driver.callback.on_step_begin(1, [])


def test_a_trial_that_ray_stops_gives_its_memory_back_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Model:
        pass

    models: list[weakref.ref[Model]] = []
    alive: list[bool] = []

    def train(*_: object, **__: object) -> None:
        model = Model()
        models.append(weakref.ref(model))
        raise SystemExit  # what `tune.report` raises in a trial that is stopped

    monkeypatch.setattr(trainable, "_train", train)
    monkeypatch.setattr(trainable, "return_memory", lambda: alive.append(models[0]() is not None))
    with pytest.raises(SystemExit):
        trainable.run_trial(task_in(tmp_path / "trials" / "000-knn"))
    assert alive == [False]
    assert not (tmp_path / "trials" / "000-knn" / "error.json").exists()
