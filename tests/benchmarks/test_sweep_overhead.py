"""What a sweep costs beside its training: the figures, from times that are known."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
import yaml

from benchmarks.sweep_overhead import Round, TrialTimes, _times_of_log, between_trials, figures, main, sweep_of
from essnet.config import load_sweep
from essnet.sweep.plan import plan_trials
from essnet.sweep.trial_log import trial_log

TRIALS = (
    TrialTimes(process=110.0, begins=112.0, first_step=113.0, result=123.0),
    TrialTimes(process=123.5, begins=123.75, first_step=124.0, result=134.0),
)


def test_figures() -> None:
    one = Round(
        sweep=(100.0, 140.0), trials=TRIALS, trains=[(140.0, 165.0), (165.0, 190.0)], trained=[(150, 160), (176, 186)]
    )
    found = figures(one)
    assert found["whole_commands"] == pytest.approx(40 / 50)
    assert found["without_start_up"] == pytest.approx((134 - 113) / 20)
    assert found["training_alone"] == pytest.approx(1.0)
    assert list(found["to_first_step_seconds"].values()) == [10.0, 2.0, 1.0]
    assert found["train_to_first_step_seconds"] == pytest.approx(10.5)
    assert found["after_last_result_seconds"] == 6.0
    assert list(found["between_trials_seconds"].values()) == [0.5, 0.25, 0.25]


def test_the_first_trials_of_workers_are_not_between_trials() -> None:
    beside = TrialTimes(process=111.0, begins=112.0, first_step=113.0, result=122.0)
    assert list(between_trials((TRIALS[0], beside, TRIALS[1])).values()) == [0.5, 0.25, 0.25]


def test_times_are_read_from_a_trials_log(tmp_path: Path) -> None:
    before = datetime.now().timestamp()
    with trial_log(tmp_path / "log.txt") as logger:
        logger.info("step 0 of 9: training begins")
        logger.info("step 9: done")
    taken_up, begins = _times_of_log((tmp_path / "log.txt").read_text())
    assert before - 0.001 <= taken_up <= begins <= datetime.now().timestamp()


def test_every_trial_of_the_sweep_computes_the_same(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep_of(8, steps=30, cpus=1, at_once=1), sort_keys=False))
    sweep = load_sweep(tmp_path / "sweep.yaml", ())
    assert len(plan_trials(sweep)) == 8
    assert [list(arm.spaces) for arm in sweep.arms] == [[], ["seed"]]


def test_more_trials_at_once_than_cores_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--at-once", "3", "--cores", "2"])
    assert "as many --at-once as --cores" in capsys.readouterr().err
