"""The worker's side of a storage, here a folder."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from essnet.sweep import storage as storage_module
from essnet.sweep import stored_trial as module
from essnet.sweep.snapshot_writer import SnapshotWriter, TakenOver
from essnet.sweep.snapshots import Snapshots
from essnet.sweep.storage import Storage, StorageError
from essnet.sweep.stored_trial import stored_trial
from tests.sweep.test_snapshots import files_of, read_all
from tests.sweep.test_stored_sweep import wait_until


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, and work below tmp_path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))
    for name in ("_LOOK_SECONDS", "_KEEP_SECONDS", "_ASK_SECONDS"):
        monkeypatch.setattr(module, name, 0.02)
    monkeypatch.setattr(storage_module, "_PAUSE_SECONDS", 0.02)


@pytest.fixture
def task(tmp_path: Path) -> dict[str, Any]:
    kept = {"address": str(tmp_path / "storage"), "prefix": "tiny", "sweep_id": "x"}
    return {"trial_id": "000-a", "directory": "/of/the/driver", "cache_dir": "/of/the/driver", "storage": kept}


@pytest.fixture
def snapshots(task: dict[str, Any]) -> Snapshots:
    return Snapshots(Storage(task["storage"]["address"]), "tiny/trials/000-a")


def save(directory: Path, step: int) -> None:
    """Write a checkpoint as `CheckpointFolder` does, and remove the one before."""
    files_of(directory / "checkpoints" / f".step-{step}.partial", model=f"m{step}")
    (directory / "checkpoints" / f".step-{step}.partial").rename(directory / "checkpoints" / f"step-{step}")
    for name in ("last", "best"):
        (directory / "checkpoints" / f".{name}").symlink_to(f"step-{step}")
        (directory / "checkpoints" / f".{name}").replace(directory / "checkpoints" / name)
    shutil.rmtree(directory / "checkpoints" / f"step-{step - 1}", ignore_errors=True)


def last(snapshots: Snapshots) -> str | None:
    snapshot = snapshots.newest()
    return None if snapshot is None else snapshot.links.get("checkpoints/last")


def test_it_goes_on_from_what_the_storage_has(task: dict[str, Any], snapshots: Snapshots, tmp_path: Path) -> None:
    def fail() -> None:
        with stored_trial(task) as (here, _):
            directory = Path(here["directory"])
            assert directory.is_relative_to(tmp_path / "node")
            assert read_all(directory) == {}
            save(directory, 1)
            wait_until(lambda: last(snapshots) == "step-1")
            files_of(directory, log="1", error="why")
            (directory / "error").rename(directory / "error.json")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    shutil.rmtree(tmp_path / "node")  # another node
    with stored_trial(task) as (here, _):
        directory = Path(here["directory"])
        assert read_all(directory) == {"log": "1", "error.json": "why", "checkpoints/step-1/model": "m1"}
        assert (directory / "checkpoints" / "last").resolve().name == "step-1"
        # Whoever reads the storage now does not take the first attempt's error for this one's.
        newest = snapshots.newest()
        assert newest is not None
        assert "error.json" not in newest.files
        (directory / "error.json").unlink()
        files_of(directory, result="done")
    newest = snapshots.newest()
    assert newest is not None
    assert newest.ended
    assert set(newest.files) == {"log", "result", "checkpoints/step-1/model"}
    assert not directory.exists()


def test_a_checkpoint_that_is_removed_while_it_is_sent(
    task: dict[str, Any], snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, removed = threading.Event(), threading.Event()
    write = Storage.write
    listed: list[str] = []

    def slow(self: Storage, key: str, content: bytes) -> None:
        if content == b"m1":
            sending.set()
            assert removed.wait(60)
        if "/snapshots/" in key:
            listed.append(content.decode())
        write(self, key, content)

    monkeypatch.setattr(Storage, "write", slow)
    with stored_trial(task) as (here, _):
        save(Path(here["directory"]), 1)
        assert sending.wait(60)
        save(Path(here["directory"]), 2)
        removed.set()
    assert last(snapshots) == "step-2"
    assert any("checkpoints/step-1/model" in text for text in listed)  # it was whole there before the next one was


def test_a_storage_that_is_away_for_a_while_costs_nothing(
    task: dict[str, Any], snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away, tried = threading.Event(), threading.Semaphore(0)
    write = Storage.write

    def failing(self: Storage, key: str, content: bytes) -> None:
        if away.is_set():
            tried.release()
            raise StorageError("storage: away")
        write(self, key, content)

    monkeypatch.setattr(Storage, "write", failing)
    with stored_trial(task) as (here, trial):
        away.set()
        save(Path(here["directory"]), 1)
        for _ in range(3):
            assert tried.acquire(timeout=60)
        assert not trial.should_stop()
        assert last(snapshots) is None
        away.clear()
        wait_until(lambda: last(snapshots) == "step-1")
    assert [record.getMessage() for record in caplog.records] == ["storage: away; it is tried again"]


def test_a_storage_that_stays_away_is_an_error(task: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_PATIENCE_SECONDS", 0.1)

    def failing(self: Storage, key: str, content: bytes) -> None:
        raise StorageError("storage: away")

    def run() -> None:
        with stored_trial(task) as (here, trial):
            monkeypatch.setattr(Storage, "write", failing)
            files_of(Path(here["directory"]), log="1")
            with pytest.raises(StorageError, match="away"):
                trial.keep_files()

    with pytest.raises(StorageError, match="away"):
        run()


def test_somebody_asks_it_to_stop(task: dict[str, Any], snapshots: Snapshots) -> None:
    with stored_trial(task) as (_, trial):
        assert not trial.should_stop()
        snapshots.storage.write(f"{snapshots.prefix}/stop", b"")
        wait_until(trial.should_stop)


def test_another_process_has_begun_it_again(task: dict[str, Any], snapshots: Snapshots) -> None:
    def run() -> None:
        with stored_trial(task) as (here, trial):
            SnapshotWriter(snapshots, after=snapshots.newest())
            save(Path(here["directory"]), 1)
            wait_until(trial.should_stop)

    with pytest.raises(TakenOver):
        run()
    assert last(snapshots) is None


def test_a_snapshot_that_is_not_whole_is_not_gone_on_from(task: dict[str, Any], snapshots: Snapshots) -> None:
    with stored_trial(task) as (here, _):
        save(Path(here["directory"]), 1)
    newest = snapshots.newest()
    assert newest is not None
    snapshots.storage.remove([f"{snapshots.prefix}/{newest.files['checkpoints/step-1/model']}"])
    with stored_trial(task) as (here, _):
        assert read_all(Path(here["directory"])) == {}
