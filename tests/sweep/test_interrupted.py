"""A sweep that is interrupted between two evaluations of its trials."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from essnet.sweep import trainable
from essnet.sweep.callback import SweepCallback
from essnet.sweep.folder import PENDING, RUNNING, STOPPED, SweepFolder, TrialRecord
from essnet.sweep.interrupted import Interrupted, InterruptedCallback
from tests.sweep.untracked_trial import untracked_task


@pytest.fixture
def own_handler() -> Iterator[list[int]]:
    """What Ray Tune's handler was given, in its place."""
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    yield heard
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_told_to_ray_tune_and_to_the_trials(tmp_path: Path, own_handler: list[int]) -> None:
    callback = InterruptedCallback(tmp_path)
    for step in range(3):
        callback.on_step_begin(step, [])
    assert not Interrupted(tmp_path).is_noted()
    os.kill(os.getpid(), signal.SIGINT)
    assert own_handler == [signal.SIGINT]
    assert Interrupted(tmp_path).is_noted()
    Interrupted(tmp_path).forget()
    assert not Interrupted(tmp_path).is_noted()


def test_a_trial_ends_after_its_step_with_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = untracked_task(tmp_path, monkeypatch, **{"trainer.max_steps": 100_000, "evaluation.every_steps": 100_000})

    def progress_file(path: Path, max_steps: int) -> Any:
        return lambda step, _: Interrupted(tmp_path).note() if step == 5 else None

    monkeypatch.setattr(trainable, "_progress_file", progress_file)
    trainable.run_trial(task)
    directory = Path(task["directory"])
    assert (directory / "checkpoints" / "last").resolve().name == "step-000005"
    assert not (directory / "result.json").exists()
    assert not (directory / "error.json").exists()


@pytest.mark.parametrize(("interrupted", "state"), [(False, STOPPED), (True, PENDING)])
def test_such_a_trial_goes_on_later(tmp_path: Path, interrupted: bool, state: str) -> None:
    folder = SweepFolder(tmp_path)
    folder.write_record(TrialRecord("000-full", 0, "full", 0, {}, {}, 0, 6, RUNNING))
    if interrupted:
        Interrupted(tmp_path).note()

    config = {"trial_id": "000-full", "directory": str(folder.trial("000-full"))}
    trial: Any = SimpleNamespace(config=config)
    SweepCallback(tmp_path).on_trial_complete(0, [], trial)
    assert folder.record("000-full").state == state
