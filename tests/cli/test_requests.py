"""`stop` and `extend`: what they ask for, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from essnet.file_lock import hold
from essnet.sweep.folder import COMPLETED, FAILED, PENDING, RUNNING, STOPPED
from essnet.sweep.requests import Requests
from tests.cli.test_status import make_sweep, run

SEARCHED = {"full": {"objective.name": "full_softmax"}, "knn": {"objective": {"embedding_dim": {"choice": [1, 2]}}}}


def configured(output: Path, algorithm: str, arms: dict[str, Any], *states: str) -> Path:
    folder = make_sweep(output, {"full": [COMPLETED], "knn": list(states)})
    folder.note(done=True, configuration={"search": {"algorithm": algorithm}, "arms": arms})
    return folder.path


def test_who_is_asked_to_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = configured(tmp_path, "random", SEARCHED, RUNNING, PENDING, FAILED)
    with hold(folder / "lock"):
        assert run(capsys, "stop", "s", "1", "--output", str(tmp_path)) == (
            0, "001-knn ends after the step that it is in\n",
        )  # fmt: skip
        assert run(capsys, "stop", "s", "002-knn", "--output", str(tmp_path)) == (0, "002-knn is not run\n")
    code, text = run(capsys, "stop", str(folder), "3")
    assert (code, text) == (0, "003-knn is not run again when the sweep goes on with --resume\n")
    assert Requests(folder).to_stop() == {"001-knn", "002-knn", "003-knn"}


@pytest.mark.parametrize("state", [COMPLETED, STOPPED])
def test_a_trial_that_has_ended_is_not_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str], state: str) -> None:
    folder = configured(tmp_path, "random", SEARCHED, state)
    code, text = run(capsys, "stop", "s", "1", "--output", str(tmp_path))
    assert (code, text) == (2, f"essnet: TRIAL: 001-knn of {folder} has ended already ({state.lower()})\n")
    assert not (folder / "requests").exists()


def test_a_sweep_that_is_extended_is_not_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = configured(tmp_path, "optuna", SEARCHED, COMPLETED)
    code, text = run(capsys, "extend", "s", "3", "--output", str(tmp_path))
    assert (code, text) == (0, "3 more trials, 3 added in all; the same sweep command runs them with --resume\n")
    with hold(folder / "lock"):
        code, text = run(capsys, "extend", "s", "2", "--output", str(tmp_path))
    assert (code, text) == (0, "2 more trials, 5 added in all; the sweep takes them up\n")
    code, text = run(capsys, "list", "--output", str(tmp_path))
    assert text == "s: 2 of 7 trials, interrupted\n"


@pytest.mark.parametrize(
    ("algorithm", "arms", "reason"),
    [
        ("grid", SEARCHED, "search.algorithm=grid runs every point; there are no further trials of it"),
        ("random", {"full": {}, "knn": {"optimizer": {"lr": 1}}}, "no arm has a search space"),
    ],
)
def test_a_sweep_that_cannot_be_extended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], algorithm: str, arms: dict[str, Any], reason: str
) -> None:
    folder = configured(tmp_path, algorithm, arms, COMPLETED)
    code, text = run(capsys, "extend", "s", "3", "--output", str(tmp_path))
    assert code == 2
    assert text.startswith(f"essnet: {folder}: {reason}")
    assert len(text.splitlines()) == 1
    assert not (folder / "requests").exists()


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_numbers_of_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str) -> None:
    configured(tmp_path, "random", SEARCHED, COMPLETED)
    code, _ = run(capsys, "extend", "s", "--output", str(tmp_path), "--", number)
    assert code == 2
