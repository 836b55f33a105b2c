"""A sweep that is interrupted while its trials run."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from essnet.sweep import interrupted, trainable
from essnet.sweep.asked_to_end import asked_to_end
from essnet.sweep.callback import SweepCallback
from essnet.sweep.folder import PENDING, RUNNING, STOPPED, SweepFolder, TrialRecord
from essnet.sweep.interrupted import Interrupted, InterruptedCallback
from tests.sweep.untracked_trial import untracked_task


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The keys that Ray's head has, in its place."""
    keys: set[str] = set()
    for name, call in {
        "_internal_kv_initialized": lambda: True,
        "_internal_kv_put": lambda key, value, namespace: keys.add(key),
        "_internal_kv_exists": lambda key, namespace: key in keys,
        "_internal_kv_del": lambda key, namespace: keys.discard(key),
    }.items():
        monkeypatch.setattr(interrupted.internal_kv, name, call)
    return keys


@pytest.fixture
def tune_heard() -> Iterator[list[int]]:
    """What Ray Tune's handler was given, in its place."""
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    yield heard
    signal.signal(signal.SIGINT, before)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def press_ctrl_c(*, wait_seconds: float = 0.0) -> None:
    signal.raise_signal(signal.SIGINT)
    time.sleep(wait_seconds)


def test_ctrl_c_is_told_to_ray_tune_and_to_the_trials(noted: set[str], tune_heard: list[int]) -> None:
    mark = Interrupted("one")
    callback = InterruptedCallback("one")
    for step in range(3):
        callback.on_step_begin(step, [])
    assert not mark.is_noted()
    press_ctrl_c()
    assert tune_heard == [signal.SIGINT]
    wait_for(mark.is_noted)
    assert not Interrupted("another").is_noted()
    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c()
    assert not callback.gave_up
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as when Ray Tune is left
    mark.forget()
    assert not mark.is_noted()


def test_trials_are_not_waited_for_long(
    noted: set[str], tune_heard: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupted, "WAIT_SECONDS", 0.1)

    def no_head(*_: object, **__: object) -> None:
        raise RuntimeError("Ray's head is gone")

    monkeypatch.setattr(interrupted.internal_kv, "_internal_kv_put", no_head)
    callback = InterruptedCallback("one")
    callback.on_step_begin(0, [])
    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c(wait_seconds=60)
    assert callback.gave_up


def test_who_has_left_ray_tune_is_not_interrupted_again(
    noted: set[str], tune_heard: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupted, "WAIT_SECONDS", 0.1)
    callback = InterruptedCallback("one")
    callback.on_step_begin(0, [])
    press_ctrl_c()
    signal.signal(signal.SIGINT, lambda number, _: tune_heard.append(number))  # as when Ray Tune is left
    time.sleep(0.5)
    assert tune_heard == [signal.SIGINT]
    assert not callback.gave_up


def test_a_trial_ends_after_its_step_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: set[str]
) -> None:
    task = untracked_task(tmp_path, monkeypatch, **{"trainer.max_steps": 100_000, "evaluation.every_steps": 100_000})

    def progress_file(path: Path, max_steps: int) -> Any:
        return lambda step, _: Interrupted(task["sweep_id"]).note() if step == 5 else None

    monkeypatch.setattr(trainable, "_progress_file", progress_file)
    trainable.run_trial(task)
    directory = Path(task["directory"])
    assert 5 <= int((directory / "checkpoints" / "last").resolve().name.removeprefix("step-")) < 100_000
    assert not (directory / "result.json").exists()
    assert not (directory / "error.json").exists()


def test_who_cannot_look_goes_on_and_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("essnet.sweep.asked_to_end.LOOK_SECONDS", 0.01)
    looks: list[bool] = []

    def look() -> bool:
        looks.append(False)
        if len(looks) < 4:
            raise OSError("the disk is away")
        return True

    with asked_to_end(look) as asked:
        assert not asked()
        wait_for(asked)
    count = len(looks)
    assert count == 4  # and no further one


@pytest.mark.parametrize(("is_interrupted", "state"), [(False, STOPPED), (True, PENDING)])
def test_such_a_trial_goes_on_later(tmp_path: Path, noted: set[str], is_interrupted: bool, state: str) -> None:
    folder = SweepFolder(tmp_path)
    folder.write_record(TrialRecord("000-full", 0, "full", 0, {}, {}, 0, 6, RUNNING))
    if is_interrupted:
        Interrupted("one").note()

    config = {"trial_id": "000-full", "directory": str(folder.trial("000-full"))}
    trial: Any = SimpleNamespace(config=config)
    SweepCallback(tmp_path, sweep_id="one").on_trial_complete(0, [], trial)
    assert folder.record("000-full").state == state
