"""What a store has in the end when the process that delivers is killed between any two operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from essnet.file_lock import HeldByOther
from essnet.tracking import RunStore, deliver_rest, delivery, is_delivered, outbox
from essnet.tracking.entries import artifact_entry, description_entry, metrics_entry, status_entry
from essnet.tracking.outbox import Outbox, sole_reader
from essnet.tracking.run_file import read_run_file
from tests.tracking.conftest import Place
from tests.tracking.runs import points, rising, run_id_of, spec_of

OPERATIONS = (
    *((MlflowClient, name) for name in ("create_run", "log_batch", "update_run", "set_terminated", "log_artifact")),
    (delivery, "write_run_file"),
    (Path, "unlink"),
)


class Killed(BaseException):
    """Stands for the end of the process: nothing in between handles it."""


@contextmanager
def killed_at(operation: int, *, done: bool) -> Iterator[Callable[[], bool]]:
    """End the process at its so-many-th operation, before or after it is done; gives whether it came to that."""
    count = 0

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == operation and not done:
                raise Killed
            result = original(*arguments, **options)
            if count == operation:
                raise Killed
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in OPERATIONS:
            patch.setattr(owner, name, watched(getattr(owner, name)))
        yield lambda: count >= operation


@pytest.fixture
def store(database: Place, experiment: str) -> RunStore:
    return database.store(experiment)


def first_attempt(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text("seed: 0")
    writer = Outbox(directory / "tracking")
    writer.append(status_entry("RUNNING"))
    writer.append(artifact_entry("config.yaml", ""))
    for step in range(1, 9):
        writer.append(metrics_entry(step, {"train/loss": float(step)}))
    writer.append(description_entry("# Eight steps"))
    writer.append(status_entry("KILLED"))
    writer.close()


def second_attempt(directory: Path) -> None:
    """Go on from the checkpoint of step 5."""
    writer = Outbox(directory / "tracking")
    writer.append(status_entry("RUNNING"))
    for step in range(6, 13):
        writer.append(metrics_entry(step, {"train/loss": float(step)}))
    writer.append(metrics_entry(12, {"best/miou": 0.5}))
    writer.append(status_entry("FINISHED"))
    writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_killed_between_any_two_operations(
    store: RunStore, tmp_path: Path, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_FILE_BYTES", 200)
    monkeypatch.setattr(delivery, "POINTS_PER_BATCH", 2)
    operation, came_to_it = 0, True
    while came_to_it:
        operation += 1
        name = f"{operation}-{done}"
        directory = tmp_path / name
        spec_of(store, name=name).save(directory)
        first_attempt(directory)
        with killed_at(operation, done=done) as was_killed:
            try:
                deliver_rest(directory)
            except Killed:
                assert was_killed()
            came_to_it = was_killed()
        second_attempt(directory)
        deliver_rest(directory)
        assert points(store, name=name) == rising(*range(1, 13)), operation
        assert points(store, "best/miou", name=name) == [(12, 0.5)]
        run = store.client.get_run(run_id_of(store, name))
        assert run.info.status == read_run_file(directory)["status"] == "FINISHED"
        assert run.data.tags["mlflow.note.content"] == "# Eight steps"
        assert run.data.params == {"seed": "0"}
        assert [file.path for file in store.client.list_artifacts(run.info.run_id)] == ["config.yaml"]
        assert is_delivered(directory)
    assert operation > 15, "it was killed at every operation, of which there are more"


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    deliver_rest(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_last_entries_come_after_what_waits(store: RunStore, tmp_path: Path) -> None:
    spec_of(store).save(tmp_path)
    first_attempt(tmp_path)
    deliver_rest(tmp_path, last=[metrics_entry(9, {"train/loss": 9.0}), status_entry("FAILED")])
    assert points(store) == rising(*range(1, 10))
    assert store.client.get_run(run_id_of(store)).info.status == "FAILED"
    deliver_rest(tmp_path, last=[status_entry("FINISHED")])
    assert store.client.get_run(run_id_of(store)).info.status == "FINISHED"


def test_nobody_else_delivers_meanwhile(store: RunStore, tmp_path: Path) -> None:
    spec_of(store).save(tmp_path)
    first_attempt(tmp_path)
    with sole_reader(tmp_path / "tracking", wait_seconds=0), pytest.raises(HeldByOther):
        deliver_rest(tmp_path)
    assert not is_delivered(tmp_path)


def test_of_runs_that_nobody_knows_the_oldest_stays(store: RunStore, tmp_path: Path) -> None:
    """A request to make one may have arrived though its answer never came."""
    for _ in range(3):
        store.client.create_run(store.experiment_id, run_name="a run", tags={"essnet.trial_id": "a run"})
    spec_of(store).save(tmp_path)
    first_attempt(tmp_path)
    deliver_rest(tmp_path)
    assert points(store) == rising(*range(1, 9))
    assert run_id_of(store) == read_run_file(tmp_path)["run_id"]


def test_a_run_that_somebody_removed_is_made_again(store: RunStore, tmp_path: Path) -> None:
    spec_of(store).save(tmp_path)
    first_attempt(tmp_path)
    deliver_rest(tmp_path)
    removed = run_id_of(store)
    store.remove(removed)
    second_attempt(tmp_path)
    deliver_rest(tmp_path)
    assert run_id_of(store) != removed
    assert points(store) == rising(*range(6, 13))


def test_another_store_is_another_run(store: RunStore, database: Place, tmp_path: Path) -> None:
    spec_of(store).save(tmp_path)
    first_attempt(tmp_path)
    deliver_rest(tmp_path)
    other = RunStore(f"{store.uri}?", store.experiment, artifact_root=database.folder / "mlartifacts")
    assert read_run_file(tmp_path, uri=other.uri) == {}
    assert read_run_file(tmp_path, uri=store.uri)["run_id"] == run_id_of(store)
