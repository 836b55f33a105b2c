from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from essnet.sweep.scheduler import ProtectingASHA, build_scheduler
from tests.sweep.sweeps import tiny_sweep


def trial(name: str, arm: str, max_steps: int = 6) -> SimpleNamespace:
    return SimpleNamespace(trial_id=name, config={"arm": arm, "trial": {"trainer": {"max_steps": max_steps}}})


def feed(scheduler: ProtectingASHA, who: SimpleNamespace, step: int, miou: float) -> str:
    return scheduler.on_trial_result(None, who, {"step": step, "val/miou": miou})


def test_none_is_first_in_first_out(tmp_path: Path) -> None:
    assert isinstance(build_scheduler(tiny_sweep(tmp_path)), FIFOScheduler)


def test_asha_stops_the_weak_but_never_the_baseline(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path, scheduler={"name": "asha", "reduction_factor": 2})
    scheduler = build_scheduler(sweep)
    assert isinstance(scheduler, ProtectingASHA)
    strong = [trial(f"strong{i}", "knn") for i in range(4)]
    weak, baseline = trial("weak", "knn"), trial("baseline", "full")
    for each in (*strong, weak, baseline):
        scheduler.on_trial_add(None, each)
    for place, each in enumerate(strong):
        feed(scheduler, each, 2, 0.5 + place / 10)
    assert feed(scheduler, weak, 2, 0.1) == TrialScheduler.STOP
    for step in (2, 4, 6):
        assert feed(scheduler, baseline, step, 0.0) == TrialScheduler.CONTINUE
    scheduler.on_trial_complete(None, baseline, {"step": 6, "val/miou": 0.0})


def test_the_baseline_counts_in_nobodys_comparison(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path, scheduler={"name": "asha", "reduction_factor": 2})
    scheduler = build_scheduler(sweep)
    baseline, only = trial("baseline", "full"), trial("only", "knn")
    for each in (baseline, only):
        scheduler.on_trial_add(None, each)
    feed(scheduler, baseline, 2, 0.9)
    assert feed(scheduler, only, 2, 0.1) == TrialScheduler.CONTINUE


def test_a_trial_that_reaches_its_last_step_is_not_stopped(tmp_path: Path) -> None:
    """The last rung may lie on the last step: stopping there would only lose the trial's end."""
    sweep = tiny_sweep(tmp_path, scheduler={"name": "asha", "reduction_factor": 3})
    scheduler = build_scheduler(sweep)
    rivals, fading = [trial(str(i), "knn") for i in range(5)], trial("fading", "knn")
    for each in (*rivals, fading):
        scheduler.on_trial_add(None, each)
    for each in rivals:
        feed(scheduler, each, 2, 0.5)
        feed(scheduler, each, 6, 0.9)
    assert feed(scheduler, fading, 2, 0.6) == TrialScheduler.CONTINUE
    assert feed(scheduler, fading, 6, 0.1) == TrialScheduler.CONTINUE


def test_arms_of_different_length(tmp_path: Path) -> None:
    arms = {
        "full": {"objective.name": "full_softmax"},
        "long": {"trainer.max_steps": {"choice": [6, 60]}},
    }
    scheduler = build_scheduler(tiny_sweep(tmp_path, arms=arms, scheduler={"name": "asha"}))
    only = trial("only", "long", max_steps=60)
    scheduler.on_trial_add(None, only)
    steps = range(2, 61, 2)
    assert [feed(scheduler, only, step, 0.5) for step in steps] == [TrialScheduler.CONTINUE] * len(steps)


def test_grace_steps(tmp_path: Path) -> None:
    scheduler = build_scheduler(tiny_sweep(tmp_path, scheduler={"name": "asha", "grace_steps": 4}))
    trials = [trial(str(i), "knn") for i in range(6)]
    for place, each in enumerate(trials):
        scheduler.on_trial_add(None, each)
        assert feed(scheduler, each, 2, 1.0 - place / 10) == TrialScheduler.CONTINUE
    assert feed(scheduler, trials[0], 4, 0.9) == TrialScheduler.CONTINUE
    assert feed(scheduler, trials[5], 4, 0.1) == TrialScheduler.STOP
