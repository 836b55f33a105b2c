"""Early stopping: what is stopped, what is protected, and that a resumed sweep stops what an uninterrupted one does."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from essnet.sweep.results_log import Reported, ResultsLog
from essnet.sweep.scheduler import RESULTS_FILE, build_scheduler, stopped_trials
from tests.sweep.sweeps import TINY_TRIAL, tiny_sweep

CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


def trial(name: str, arm: str = "knn", max_steps: int = 6, replicates: str | None = None) -> SimpleNamespace:
    """A trial as Ray has it; its ticket there is another at each start."""
    trainer = {"max_steps": max_steps}
    config = {"arm": arm, "trial_id": name, "replicates": replicates, "trial": {"trainer": trainer}}
    return SimpleNamespace(trial_id=f"ray{random.random()}", config=config)


def feed(scheduler: TrialScheduler, who: SimpleNamespace, step: int, miou: float) -> str:
    return scheduler.on_trial_result(None, who, {"step": step, "val/miou": miou})


def scheduler_of(folder: Path, *, max_steps: int = 6, **scheduler: Any) -> TrialScheduler:
    trainer = {**TINY_TRIAL["trainer"], "max_steps": max_steps}
    return build_scheduler(tiny_sweep(folder, base={**TINY_TRIAL, "trainer": trainer}, scheduler=scheduler), folder)


def test_none_is_first_in_first_out(tmp_path: Path) -> None:
    assert type(build_scheduler(tiny_sweep(tmp_path), tmp_path)) is FIFOScheduler


def test_asha_stops_the_weak_but_never_the_baseline(tmp_path: Path) -> None:
    scheduler = scheduler_of(tmp_path, name="asha", reduction_factor=2)
    for place in range(4):
        assert feed(scheduler, trial(f"strong{place}"), 2, 0.5 + place / 10) == CONTINUE
    assert feed(scheduler, trial("weak"), 2, 0.1) == STOP
    baseline = trial("baseline", "full")
    assert [feed(scheduler, baseline, step, 0.0) for step in (2, 4, 6)] == [CONTINUE] * 3
    assert stopped_trials(tmp_path) == {"weak"}


def test_a_reference_is_protected_as_the_baseline_is(tmp_path: Path) -> None:
    arms = {
        "full": {"objective.name": "full_softmax"},
        "paper": {"reference": True, "objective.embedding_dim": 3},
        "knn": {"objective.embedding_dim": {"int": [1, 9]}},
    }
    asha = {"name": "asha", "reduction_factor": 2}
    scheduler = build_scheduler(tiny_sweep(tmp_path, arms=arms, scheduler=asha), tmp_path)
    for place in range(4):
        assert feed(scheduler, trial(f"strong{place}"), 2, 0.5 + place / 10) == CONTINUE
    assert feed(scheduler, trial("reference", "paper"), 2, 0.0) == CONTINUE
    assert feed(scheduler, trial("weak"), 2, 0.1) == STOP


def test_the_baseline_counts_in_nobodys_comparison(tmp_path: Path) -> None:
    scheduler = scheduler_of(tmp_path, name="asha", reduction_factor=2)
    feed(scheduler, trial("baseline", "full"), 2, 0.9)
    assert feed(scheduler, trial("only"), 2, 0.1) == CONTINUE


def test_a_trial_that_reaches_its_last_step_is_not_stopped(tmp_path: Path) -> None:
    """The last rung may lie on the last step: stopping there would only lose the trial's end."""
    scheduler = scheduler_of(tmp_path, name="asha", reduction_factor=3)
    for each in (trial(str(i)) for i in range(5)):
        feed(scheduler, each, 2, 0.5)
        feed(scheduler, each, 6, 0.9)
    fading = trial("fading")
    assert feed(scheduler, fading, 2, 0.6) == CONTINUE
    assert feed(scheduler, fading, 6, 0.1) == CONTINUE


def test_arms_of_different_length(tmp_path: Path) -> None:
    arms = {
        "full": {"objective.name": "full_softmax"},
        "long": {"trainer.max_steps": {"choice": [6, 60]}},
    }
    scheduler = build_scheduler(tiny_sweep(tmp_path, arms=arms, scheduler={"name": "asha"}), tmp_path)
    only = trial("only", "long", max_steps=60)
    steps = range(2, 61, 2)
    assert [feed(scheduler, only, step, 0.5) for step in steps] == [CONTINUE] * len(steps)


def test_grace_steps(tmp_path: Path) -> None:
    scheduler = scheduler_of(tmp_path, name="asha", grace_steps=4)
    trials = [trial(str(i)) for i in range(6)]
    assert [feed(scheduler, each, 2, 1.0 - place / 10) for place, each in enumerate(trials)] == [CONTINUE] * 6
    assert feed(scheduler, trials[0], 4, 0.9) == CONTINUE
    assert feed(scheduler, trials[5], 4, 0.1) == STOP


def test_the_median_rule_stops_whose_best_is_below_the_median_of_running_means(tmp_path: Path) -> None:
    scheduler = scheduler_of(tmp_path, name="median")
    for name, value in (("a", 0.5), ("b", 0.6), ("c", 0.7)):
        assert feed(scheduler, trial(name), 2, value) == CONTINUE
    assert feed(scheduler, trial("below"), 2, 0.59) == STOP
    assert feed(scheduler, trial("above"), 2, 0.61) == CONTINUE


def test_hyperband_gives_some_trials_longer_before_it_stops(tmp_path: Path) -> None:
    scheduler = scheduler_of(tmp_path, max_steps=60, name="hyperband", brackets=3, reduction_factor=3)
    falling = [trial(str(i), max_steps=60) for i in range(40)]
    first = [feed(scheduler, each, 2, 1.0 - place / 100) for place, each in enumerate(falling)]
    assert {CONTINUE, STOP} == set(first)  # those of the later brackets have no rung at step 2


def recorded_curves(seed: int, *, count: int, max_steps: int) -> list[tuple[str, int, float]]:
    """Results of saturating curves of different heights, interleaved as workers of different speed report them."""
    draw = random.Random(seed)
    curves = [(f"{place:03d}-knn", draw.uniform(0.2, 0.9), draw.uniform(0.5, 2)) for place in range(count)]
    reports = []
    for name, height, pace in curves:
        begin = draw.uniform(0, 20)
        for step in range(2, max_steps + 1, 2):
            value = height * (1 - 0.8 ** (step / 4)) + draw.gauss(0, 0.02)
            reports.append((begin + pace * step, name, step, value))
    return [(name, step, value) for _, name, step, value in sorted(reports)]


def run_through(
    scheduler: TrialScheduler, reports: list[tuple[str, int, float]], stopped: dict[str, int], *, max_steps: int
) -> None:
    """Feed what is not stopped yet; note at which step each trial is."""
    for name, step, value in reports:
        if name not in stopped and feed(scheduler, trial(name, max_steps=max_steps), step, value) == STOP:
            stopped[name] = step


@pytest.mark.parametrize("rule", ["asha", "hyperband", "median"])
@pytest.mark.parametrize("seed", range(4))
def test_resumed_equals_uninterrupted(tmp_path: Path, rule: str, seed: int) -> None:
    reports = recorded_curves(seed, count=24, max_steps=60)
    whole: dict[str, int] = {}
    np.random.seed(1)
    run_through(scheduler_of(tmp_path, max_steps=60, name=rule), reports, whole, max_steps=60)
    assert 3 < len(whole) < 24

    (tmp_path / "cut").mkdir()
    cut: dict[str, int] = {}
    position, draw = 0, random.Random(seed)
    while position < len(reports):
        np.random.seed(draw.randrange(1000))  # what Ray would draw brackets with
        scheduler = scheduler_of(tmp_path / "cut", max_steps=60, name=rule)
        end = position + draw.randint(1, 80)
        # What was reported since a trial's last checkpoint is reported again.
        again = max(0, position - draw.randint(0, 10))
        run_through(scheduler, reports[again:end], cut, max_steps=60)
        position = end
    assert cut == whole
    assert stopped_trials(tmp_path / "cut") == set(whole)


def test_a_line_that_a_crash_cut_off_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / RESULTS_FILE
    log = ResultsLog(path)
    first, second = Reported("000-a", 2, 0.5, False), Reported("001-b", 2, float("nan"), True)
    log.append(first)
    path.write_bytes(path.read_bytes() + b'{"trial_id": "00')
    assert log.read() == [first]
    log.append(second)
    assert [one.trial_id for one in log.read()] == ["000-a", "001-b"]
