"""A trial is stopped and others are added while a sweep runs: real Ray, from another terminal."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from essnet.sweep.folder import SweepFolder
from tests.sweep.sweeps import write_sweep
from tests.sweep.test_on_ray import LAUNCH, LONG, command, result_of, run, tracked_runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ARMS = {
    "full": {"objective.name": "full_softmax", "trainer.max_steps": 100_000},  # ends only if it is stopped
    "exact": {"objective.name": "embedding_softmax", "objective.embedding_dim": {"int": [2, 8]}},
}


def wait_for_checkpoint(folder: Path, driver: subprocess.Popen[str], trial_id: str) -> None:
    deadline = time.monotonic() + 600
    while not (folder / "runs" / "tiny" / "trials" / trial_id / "checkpoints" / "last").exists():
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)


def ask(folder: Path, *arguments: str) -> str:
    """Run another command beside the sweep; return what it says."""
    asked = [sys.executable, str(LAUNCH), *arguments, "--output", str(folder / "runs")]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_trial_is_stopped_and_others_are_added(tmp_path: Path) -> None:
    write_sweep(tmp_path, base=LONG, arms=ARMS, search={"algorithm": "random", "num_trials": 1})
    with subprocess.Popen(
        command(tmp_path, "--json"), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as driver:
        try:
            wait_for_checkpoint(tmp_path, driver, "000-full")
            assert "2 added in all; the sweep takes them up" in ask(tmp_path, "extend", "tiny", "2")
            assert "000-full" in ask(tmp_path, "stop", "tiny", "0")
            text, errors = driver.communicate(timeout=900)
        except BaseException:
            driver.kill()  # it would never end
            raise
    assert driver.returncode == 0, errors
    trials = {trial["trial_id"]: trial for trial in json.loads(text.splitlines()[-1])["trials"]}
    assert {trial_id: trial["state"] for trial_id, trial in trials.items()} == {
        "000-full": "STOPPED", "001-exact": "COMPLETED", "002-exact": "COMPLETED", "003-exact": "COMPLETED",
    }  # fmt: skip
    parent, children = tracked_runs(tmp_path)
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 5

    # It ended between evaluations, and what it had taken until then is in its last checkpoint.
    folder = SweepFolder(tmp_path / "runs" / "tiny")
    log = (folder.trial("000-full") / "log.txt").read_text()
    stopped_at = int(log.rpartition("step ")[2].partition(":")[0])
    assert log.splitlines()[-1].endswith(f"step {stopped_at}: stopped, as was asked")
    last = (folder.trial("000-full") / "checkpoints" / "last").resolve().name
    assert last == f"step-{stopped_at:06d}"

    assert result_of(run(tmp_path, "--dry-run", "--json"))["trials"] == 4
    resumed = run(tmp_path, "--resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert (folder.trial("000-full") / "log.txt").read_text() == log
    assert len(result_of(resumed)["trials"]) == 4
