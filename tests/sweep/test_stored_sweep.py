"""The driver's side of a storage, here a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from essnet.atomic_files import read_json, write_json
from essnet.config import InputError
from essnet.sweep import stored_sweep
from essnet.sweep.folder import COMPLETED, RUNNING, SweepFolder, TrialRecord
from essnet.sweep.requests import Requests
from essnet.sweep.snapshot_writer import CHECKPOINTS, FILES, SnapshotWriter, TakenOver
from essnet.sweep.snapshots import Snapshots
from essnet.sweep.storage import Storage
from essnet.sweep.stored_sweep import StoredSweep, fetch_trial
from tests.sweep.test_snapshots import files_of, read_all

RECORD = TrialRecord("000-a", 0, "a", 0, {}, {}, 0, 6, RUNNING)
CHECKPOINTS_OF_A_TRIAL = {
    "checkpoints_step-1_model": "m1", "checkpoints_step-2_model": "m2", "checkpoints_step-3_model": "m3",
}  # fmt: skip


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "storage")


def begun(output: Path, *, sweep_id: str = "x", budget: int = 0) -> SweepFolder:
    """A sweep's folder with one trial."""
    folder = SweepFolder(output / "tiny")
    keys = ("name", "baseline", "metric", "mode", "tracking_uri", "parent_run_id")
    write_json(folder.path / "sweep.json", {**dict.fromkeys(keys, "x"), "num_trials": 1, "sweep_id": sweep_id})
    write_json(folder.path / "budget.json", {"seconds": budget})
    (folder.path / "comparison.json").write_text("{}")
    folder.write_record(RECORD)
    return folder


def trial_writer(address: str) -> SnapshotWriter:
    return SnapshotWriter(Snapshots(Storage(address), "tiny/trials/000-a"), after=None)


def test_another_machine_has_what_the_driver_wrote(tmp_path: Path, address: str) -> None:
    folder = begun(tmp_path / "here")
    Requests(folder.path).add_trials(2)
    stored = StoredSweep(address, folder)
    assert not stored.is_there()
    with stored.kept(lambda line: pytest.fail(line)):
        stored.keep()
    there = SweepFolder(tmp_path / "there" / "tiny")
    other = StoredSweep(address, there)
    assert other.is_there()
    other.bring_back()
    assert there.records() == [RECORD]
    assert there.state() == folder.state()
    assert Requests(there.path).added_trials() == 2
    assert not (there.path / "comparison.json").exists()


def test_the_newer_one_of_folder_and_storage_counts(tmp_path: Path, address: str) -> None:
    here, there = begun(tmp_path / "here", budget=1), SweepFolder(tmp_path / "there" / "tiny")
    with StoredSweep(address, here).kept(print):
        pass
    write_json(here.path / "budget.json", {"seconds": 2})  # after the storage had gone, say
    StoredSweep(address, here).bring_back()
    assert read_json(here.path / "budget.json")["seconds"] == 2
    with StoredSweep(address, here).kept(print):
        pass
    StoredSweep(address, there).bring_back()
    write_json(there.path / "budget.json", {"seconds": 3})
    with StoredSweep(address, there).kept(print):
        pass
    StoredSweep(address, here).bring_back()
    assert read_json(here.path / "budget.json")["seconds"] == 3


def test_another_sweep_of_the_same_name(tmp_path: Path, address: str) -> None:
    with StoredSweep(address, begun(tmp_path / "here")).kept(print):
        pass
    other = begun(tmp_path / "there", sweep_id="y")
    with pytest.raises(
        InputError, match=r"there/tiny: is another sweep than the one in .*storage/tiny; choose another"
    ):
        StoredSweep(address, other).bring_back()
    assert other.state()["sweep_id"] == "y"


def test_what_a_trial_leaves_is_brought(tmp_path: Path, address: str) -> None:
    folder = begun(tmp_path / "here")
    path = folder.trial("000-a")
    assert not fetch_trial(address, folder, "000-a")  # nothing is there yet
    writer = trial_writer(address)
    writer.keep(FILES, files_of(tmp_path / "trial", log="1", error="e"))
    checkpoints = files_of(tmp_path / "trial", **CHECKPOINTS_OF_A_TRIAL)
    writer.keep(CHECKPOINTS, checkpoints, {"checkpoints/last": "step-3", "checkpoints/best": "step-2"})
    assert not fetch_trial(address, folder, "000-a")
    own = {"trial.json", "storage.json"}
    assert read_all(path).keys() == {"log", "error"} | own
    writer.keep(FILES, files_of(tmp_path / "later", log="2"))
    writer.end()
    assert fetch_trial(address, folder, "000-a", with_best=True)
    assert read_all(path).keys() == {"log", "checkpoints/step-2/model"} | own
    assert (path / "log").read_text() == "2"
    assert (path / "checkpoints" / "best" / "model").read_text() == "m2"


def test_trials_are_followed_and_asked_to_stop(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_sweep, "_LOOK_SECONDS", 0.05)
    folder = begun(tmp_path / "here")
    Requests(folder.path).stop("000-a")
    writer = trial_writer(address)
    writer.keep(FILES, files_of(tmp_path / "trial", log="1"))
    with StoredSweep(address, folder).kept(lambda line: pytest.fail(line)):
        wait_until((folder.trial("000-a") / "log").exists)
        assert Storage(address).names("tiny/trials/000-a") == ["stop"]
        folder.write_record(TrialRecord(**{**vars(RECORD), "state": COMPLETED}))
        checkpoints = files_of(tmp_path / "trial", **CHECKPOINTS_OF_A_TRIAL)
        writer.keep(CHECKPOINTS, checkpoints, {"checkpoints/best": "step-2"})
        writer.end()
    assert (folder.trial("000-a") / "checkpoints" / "best" / "model").exists()


def test_a_sweep_that_goes_on_elsewhere_ends_here(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_sweep, "_LOOK_SECONDS", 0.05)
    folder = begun(tmp_path / "here")
    said: list[str] = []

    def run() -> None:
        with StoredSweep(address, folder).kept(said.append):
            snapshots = Snapshots(Storage(address), "tiny/sweep")
            SnapshotWriter(snapshots, after=snapshots.newest())
            write_json(folder.path / "budget.json", {"seconds": 9})
            wait_until(lambda: False)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(said) == 1
    assert "another process keeps tiny/sweep now" in said[0]


def test_a_sweep_that_goes_on_elsewhere_begins_no_trial_here(tmp_path: Path, address: str) -> None:
    folder = begun(tmp_path / "here")
    stored = StoredSweep(address, folder)
    with stored.kept(print):
        snapshots = Snapshots(Storage(address), "tiny/sweep")
        SnapshotWriter(snapshots, after=snapshots.newest())
        write_json(folder.path / "budget.json", {"seconds": 9})
        with pytest.raises(TakenOver):
            stored.keep()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
