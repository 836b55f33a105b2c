"""Kills at random moments: what is drawn, and what the checks see of a sweep that they were not good for."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.chaos import ON_ONE_MACHINE, Records, draw, phase
from benchmarks.chaos_checks import Attempt, different_points, read_attempts, repeated_work
from benchmarks.chaos_sweep import read_lines, sweep_of
from benchmarks.sessions import Session
from essnet.config import load_sweep
from essnet.sweep.trial_log import trial_log

LOG = """\
2026-01-01 10:00:00,000 INFO process 11 on here
2026-01-01 10:00:01,000 INFO step 0 of 12: training begins
2026-01-01 10:00:02,000 INFO step 4: val/loss 1.2, val/miou 0.1
2026-01-01 10:00:03,000 INFO process 12 on here
2026-01-01 10:00:04,000 INFO step 6 of 12: training begins
2026-01-01 10:00:05,000 INFO step 8: val/loss 1.1, val/miou 0.2
2026-01-01 10:00:06,000 INFO step 12: val/loss 1.0, val/miou 0.3
2026-01-01 10:00:06,500 INFO step 12: done
"""


def standing(*, state: str = "RUNNING", checkpoint: int = 0, begun: int = 1) -> dict[str, Any]:
    return {"state": state, "step": checkpoint, "checkpoint": checkpoint, "begun": begun, "process": 1}


def test_the_log_tells_from_where_each_attempt_went_on() -> None:
    assert read_attempts(LOG) == [Attempt(0, [4]), Attempt(6, [8, 12], is_done=True)]


def test_the_log_of_a_trial_is_read_as_it_is_written(tmp_path: Path) -> None:
    with trial_log(tmp_path / "log.txt") as logger:
        logger.info("step %d of %d: training begins", 3, 9)
        logger.info("step %d: %s", 9, "val/miou 0.5")
        logger.info("step %d: done", 9)
    assert read_attempts((tmp_path / "log.txt").read_text()) == [Attempt(3, [9], is_done=True)]


def test_a_trial_that_went_on_from_its_checkpoint_is_well() -> None:
    assert repeated_work(read_attempts(LOG), [standing(checkpoint=6)]) == []


@pytest.mark.parametrize(
    ("attempts", "before", "problem"),
    [
        ([Attempt(0, [4, 8]), Attempt(4)], [], "attempt 2 went on from step 4, though 8 was reported"),
        ([Attempt(0), Attempt(6)], [standing(checkpoint=7)], "though there was a checkpoint of step 7"),
        ([Attempt(0, [12], is_done=True), Attempt(0, [4])], [], "attempt 2 trained, though the trial was done"),
        ([Attempt(0), Attempt(12)], [standing(state="COMPLETED")], "was begun 1 times after it was COMPLETED"),
    ],
)
def test_repeated_work_is_seen(attempts: list[Attempt], before: list[dict[str, Any]], problem: str) -> None:
    assert any(problem in found for found in repeated_work(attempts, before))


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([(1, 0.5), (2, 0.6), (2, 0.6)], r"steps \[2\] twice"),
        ([(1, 0.5)], r"\[2\] missing"),
        ([(1, 0.5), (2, 0.6), (3, 0.7)], r"\[3\] not expected"),
        ([(1, 0.5), (2, 0.6000000001)], "another value than without kills from step 2 on"),
    ],
)
def test_points_that_differ_are_seen(found: list[tuple[int, float]], problem: str) -> None:
    expected = {"val/miou": [(1, 0.5), (2, 0.6)]}
    with pytest.raises(AssertionError, match=problem):
        assert different_points({"val/miou": found}, expected) == []
    assert different_points(expected, expected) == []


def test_times_may_differ_but_not_their_steps() -> None:
    assert different_points({"perf/step_ms": [(1, 5.0)]}, {"perf/step_ms": [(1, 7.0)]}) == []
    assert len(different_points({"perf/step_ms": [(2, 5.0)]}, {"perf/step_ms": [(1, 7.0)]})) == 1
    assert different_points({"system/threads": [(2, 5.0)]}, {"system/threads": [(1, 7.0)]}) == []
    assert len(different_points({"system/threads": [(2, 5.0), (2, 6.0)]}, {"system/threads": [(2, 5.0)]})) == 1


def test_kills_are_drawn_the_same_again_and_have_each_kind_as_often() -> None:
    kills = [draw(3, sweep=0, number=number, longest_seconds=20, kinds=ON_ONE_MACHINE) for number in range(40)]
    again = [draw(3, sweep=0, number=number, longest_seconds=20, kinds=ON_ONE_MACHINE) for number in range(40)]
    assert kills == again
    assert Counter(kill.what for kill in kills) == dict.fromkeys(ON_ONE_MACHINE, 10)
    assert all(0 <= kill.after_seconds <= 20 and 0 <= kill.choice < 1 for kill in kills)
    moved = draw(3, sweep=1, number=0, longest_seconds=20, kinds=ON_ONE_MACHINE)
    assert moved.what == kills[0].what
    assert moved.after_seconds != kills[0].after_seconds


def test_phases() -> None:
    assert phase({}) == "starting"
    assert phase({"a": standing(begun=0)}) == "starting"
    assert phase({"a": standing(), "b": standing(state="COMPLETED")}) == "training"
    assert phase({"a": standing(state="COMPLETED")}) == "resuming or ending"


def test_records_go_on_where_an_interrupted_benchmark_was(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.add_kill(sweep=0, what="driver", result="gone", before={})
    records.add_problem(0, "lost")
    with (tmp_path / "kills.jsonl").open("a") as file:
        file.write('{"kill": 1, "sw')  # cut off
    again = Records(tmp_path)
    assert [kill["what"] for kill in again.of_sweep(0)] == ["driver"]
    again.add_kill(sweep=1, what="raylet", result="gone", before={})
    again.close(0)
    assert again.is_closed(0)
    assert not again.is_closed(1)
    assert [kill["kill"] for kill in read_lines(tmp_path / "kills.jsonl")] == [0, 1]
    summary = again.summary()
    assert summary["of"] == {"driver": 1, "raylet": 1}
    assert summary["sweeps_without_problems"] == 0
    assert summary["problems"] == [{"sweep": 0, "problem": "lost"}]


def test_the_sweep_is_a_sound_one(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep_of(3), sort_keys=False))
    assert len(load_sweep(tmp_path / "sweep.yaml", ()).arms) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_session_is_found_and_killed_whole(tmp_path: Path) -> None:
    # A child in a process group of its own, elsewhere, whose parent is gone.
    script = "import os, subprocess; subprocess.Popen(['sleep', '60'], preexec_fn=os.setpgrp, cwd='/')"
    session = Session(str(tmp_path))
    process = session.start([sys.executable, "-c", script], folder=tmp_path, log=tmp_path / "log")
    assert process.wait(30) == 0
    assert session.names() == ["sleep"]
    assert session.named("sleep") == session.processes()
    assert Session(str(tmp_path)[:-1]).processes() == []
    session.kill_all()
    assert session.processes() == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_dead_process_is_none(tmp_path: Path) -> None:
    session = Session(str(tmp_path))
    process = session.start(["sleep", "60"], folder=tmp_path, log=tmp_path / "log")
    assert session.processes() == [process.pid]
    os.kill(process.pid, signal.SIGKILL)
    while Path(f"/proc/{process.pid}/stat").read_text().split()[2] != "Z":
        time.sleep(0.01)
    assert session.processes() == []
    process.wait()
