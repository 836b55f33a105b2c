"""A trial that is asked to end, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from essnet.sweep import trainable
from essnet.sweep.requests import Requests
from tests.sweep.untracked_trial import untracked_task


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return untracked_task(tmp_path, monkeypatch, **{"trainer.max_steps": 1000})


def test_it_ends_after_its_step_with_a_checkpoint(
    task: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[int] = []

    def report(result: dict[str, Any]) -> None:
        reported.append(result["step"])
        if len(reported) == 2:
            Requests(tmp_path).stop("000-full")

    monkeypatch.setattr(trainable.tune, "report", report)
    trainable.run_trial(task)
    directory = Path(task["directory"])
    last = (directory / "checkpoints" / "last").resolve().name
    stopped_at = int(last.removeprefix("step-"))
    assert reported[:2] == [2, 4]
    assert 4 < stopped_at < 1000  # evaluated at step 4, which is reported while the steps after it are taken
    assert (directory / "log.txt").read_text().splitlines()[-1].endswith(f"step {stopped_at}: stopped, as was asked")
    assert not (directory / "result.json").exists()
    assert not (directory / "error.json").exists()


def test_one_that_waited_never_begins(task: dict[str, Any], tmp_path: Path) -> None:
    Requests(tmp_path).stop("000-full")
    trainable.run_trial(task)
    assert (tmp_path / "trials" / "000-full" / "log.txt").read_text().splitlines()[-1].endswith("before it began")
    assert not (tmp_path / "trials" / "000-full" / "checkpoints").exists()
