"""Other packages' code in a sweep: a stopping rule, and what a trial's worker may import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from essnet.config import InputError, extensions
from essnet.config.extensions import allow
from essnet.models import FullSoftmaxOutput
from essnet.sweep.scheduler import build_rule
from essnet.sweep.trainable import run_trial
from tests.sweep.sweeps import tiny_sweep
from tests.sweep.test_scheduler import CONTINUE, STOP, feed, scheduler_of, trial
from tests.sweep.untracked_trial import untracked_task

OBJECTIVE = f"{FullSoftmaxOutput.__module__}:{FullSoftmaxOutput.__name__}"


class BelowAHalf:
    """Stops whatever is below a half, and remembers what it was told."""

    told: ClassVar[list[tuple[str, int, float]]] = []

    def __init__(self, *, mode: str, max_steps: int, grace_steps: int, limit: float = 0.5) -> None:
        if limit > 1:
            raise ValueError(f"limit={limit} must be at most 1")
        self.given = {"mode": mode, "max_steps": max_steps, "grace_steps": grace_steps}
        self._limit = limit

    def stops(self, trial_id: str, step: int, value: float) -> bool:
        self.told.append((trial_id, step, value))
        return value < self._limit


RULE = f"{__name__}:BelowAHalf"


@pytest.fixture(autouse=True)
def nothing_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "_allowed", {})
    monkeypatch.setattr(BelowAHalf, "told", [])


def test_a_rule_stops_trials_and_is_told_all_again(tmp_path: Path) -> None:
    allow([RULE])
    scheduler = scheduler_of(tmp_path, name=RULE)
    assert feed(scheduler, trial("good"), 2, 0.6) == CONTINUE
    assert feed(scheduler, trial("bad"), 2, 0.4) == STOP
    assert feed(scheduler, trial("baseline", "full"), 2, 0.1) == CONTINUE
    assert feed(scheduler, trial("late"), 6, 0.4) == CONTINUE  # its last step
    told = [("good", 2, 0.6), ("bad", 2, 0.4), ("late", 6, 0.4)]
    assert BelowAHalf.told == told
    again = scheduler_of(tmp_path, name=RULE)
    assert BelowAHalf.told == told * 2
    assert feed(again, trial("bad"), 2, 0.9) == STOP  # as it was decided


def test_what_a_rule_is_given(tmp_path: Path) -> None:
    allow([RULE])
    rule = build_rule(tiny_sweep(tmp_path, scheduler={"name": RULE, "grace_steps": 100, "options": {"limit": 0.3}}))
    assert isinstance(rule, BelowAHalf)
    assert rule.given == {"mode": "max", "max_steps": 6, "grace_steps": 6}
    assert rule.stops("x", 1, 0.4) is False
    with pytest.raises(InputError, match=r"scheduler\.name: .*BelowAHalf says: limit=2 must be at most 1"):
        build_rule(tiny_sweep(tmp_path, scheduler={"name": RULE, "options": {"limit": 2}}))


@pytest.mark.parametrize("named", [True, False])
def test_a_worker_imports_what_the_sweep_names_and_nothing_that_a_record_does(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task: dict[str, Any] = untracked_task(
        tmp_path, monkeypatch, **{"trainer.max_steps": 1, "objective.name": OBJECTIVE}
    )
    run_trial({**task, "code": [OBJECTIVE] if named else []})
    directory = Path(task["directory"])
    if named:
        assert json.loads((directory / "result.json").read_text())["steps"] == 1
    else:
        failure = json.loads((directory / "error.json").read_text())
        assert failure["kind"] == "bad_input"
        assert failure["message"].startswith(f"objective.name: found {OBJECTIVE}, code that this command was not asked")
