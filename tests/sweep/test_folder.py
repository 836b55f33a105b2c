from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from essnet.config import InputError
from essnet.sweep.folder import COMPLETED, HeldByOther, SweepFolder, TrialRecord, hold


def record(index: int) -> TrialRecord:
    return TrialRecord(
        trial_id=f"{index:03d}-a", index=index, arm="a", arm_index=index,
        overrides={"objective.name": "full_softmax"}, point={}, seed=0, max_steps=10,
    )  # fmt: skip


def test_records_come_back_in_their_order(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "sweep")
    for index in (11, 2, 100):
        folder.write_record(record(index))
    folder.write_record(replace(record(2), state=COMPLETED))
    assert [(r.index, r.state) for r in folder.records()] == [
        (2, "COMPLETED"),
        (11, "PENDING"),
        (100, "PENDING"),
    ]
    assert not list(tmp_path.rglob("*.partial"))


def test_what_has_not_changed_is_read_once_and_what_has_at_once(tmp_path: Path) -> None:
    folder, elsewhere = SweepFolder(tmp_path / "sweep"), SweepFolder(tmp_path / "sweep")
    for index in range(3):
        folder.write_record(record(index))
    before = folder.records()
    again = elsewhere.records()
    assert [one is other for one, other in zip(before, again, strict=True)] == [True] * 3
    for state in ("RUNNING", "STOPPED", "PENDING"):  # as long as each other
        folder.write_record(replace(record(1), state=state))
        assert [one.state for one in elsewhere.records()] == ["PENDING", state, "PENDING"]
        assert elsewhere.record("001-a").state == state
    (tmp_path / "sweep" / "trials" / "001-a" / "trial.json").unlink()
    (tmp_path / "sweep" / "trials" / "a file").touch()
    assert [one.index for one in elsewhere.records()] == [0, 2]
    with pytest.raises(InputError, match="expected the record of a trial"):
        elsewhere.record("001-a")


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "sweep")
    program = (
        "import sys; from pathlib import Path; from essnet.sweep.folder import SweepFolder\n"
        "with SweepFolder(Path(sys.argv[1])).locked(): print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match=f"running already, in process {holder.pid};"), folder.locked():
            pass
        holder.stdin.close()
    with folder.locked():
        pass


def test_a_damaged_record_names_its_file(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    folder.write_record(record(0))
    path = tmp_path / "trials" / "000-a" / "trial.json"
    path.write_text(json.dumps({"trial_id": "000-a"})[:-3])
    with pytest.raises(ValueError, match=r"trial\.json: damaged"):
        folder.records()


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    """A worker of a driver that was killed lives on for a moment."""
    program = (
        "import sys, time; from pathlib import Path; from essnet.sweep.folder import hold\n"
        "with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(HeldByOther, match=str(holder.pid)), hold(tmp_path / "lock"):
            pass
        with hold(tmp_path / "lock", wait_seconds=30):
            assert (tmp_path / "lock").read_text() == str(os.getpid())
