"""A run that is asked to stop while it is evaluated, which may take long: it leaves, and evaluates when it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from essnet.training.result import read_history
from essnet.training.trainer import Trainer
from tests.training.test_resume import assert_equal_runs
from tests.training.tiny import RecordingTracker, tiny_trial

CONFIG = tiny_trial({"objective.name": "sampled_softmax", "optimizer": {"name": "adamw", "lr": 4e-3}})
"""Evaluated at steps 2, 4 and 6, in three batches."""


def stops_in(number: int) -> Callable[[], bool]:
    """Asked after each step, and after each batch of an evaluation but its last: True from that time on."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= number

    return should_stop


def run(directory: Path, tracker: RecordingTracker, should_stop: Callable[[], bool] | None = None) -> Trainer:
    trainer = Trainer(CONFIG, directory=directory, should_stop=should_stop, resume=True)
    trainer.track_with(tracker)
    trainer.train()
    return trainer


@pytest.mark.parametrize(("asked", "step"), [(2, 2), (7, 4), (11, 6)])
def test_it_leaves_with_a_checkpoint_and_ends_the_same(tmp_path: Path, asked: int, step: int) -> None:
    whole_tracker, tracker = RecordingTracker(), RecordingTracker()
    whole = run(tmp_path / "whole", whole_tracker)
    left = run(tmp_path / "parts", tracker, stops_in(asked))
    assert left.step == step
    assert left.checkpoints.last() == tmp_path / "parts" / "checkpoints" / f"step-{step:06d}"
    assert [entry["step"] for entry in read_history(tmp_path / "parts" / "history.jsonl")] == list(range(2, step, 2))
    assert not (tmp_path / "parts" / "result.json").exists()

    left_again = run(tmp_path / "parts", tracker, stops_in(1))  # in the same evaluation, with nothing new to save
    assert left_again.step == step

    resumed = run(tmp_path / "parts", tracker)
    assert_equal_runs(whole, resumed)
    assert tracker.exact_points() == whole_tracker.exact_points()
    assert (tmp_path / "parts" / "result.json").exists()


def test_what_was_asked_in_its_last_batch_waits_for_its_end(tmp_path: Path) -> None:
    stopped = run(tmp_path, RecordingTracker(), stops_in(4))  # the step, two batches; then after the evaluation
    assert stopped.step == 2
    assert [entry["step"] for entry in read_history(tmp_path / "history.jsonl")] == [2]
