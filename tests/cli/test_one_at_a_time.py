"""A folder that another process is writing is left alone, and that process is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from essnet.cli import train
from essnet.cli.app import main
from essnet.file_lock import hold
from essnet.sweep.folder import COMPLETED, RUNNING
from tests.cli.test_status import make_sweep
from tests.cli.workplace import SWEEP, TRIAL, tree


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "t.yaml").write_text(TRIAL)
    (tmp_path / "s.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["begun at once", "resumed at once"])
def test_a_sweep(here: Path, capsys: pytest.CaptureFixture[str], resume: list[str]) -> None:
    folder = here / "runs" / "s"
    if resume:
        make_sweep(here / "runs", {"full": [COMPLETED], "knn": [RUNNING]})
    with hold(folder / "lock"):  # the other one has it, and has written no more yet
        before = tree(folder)
        line = refusal(capsys, "sweep", "s.yaml", *resume)
        assert tree(folder) == before
    assert f"this sweep is running already, in process {os.getpid()}; wait for it, or choose another name=..." in line


def test_a_run_that_is_resumed_twice(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here / "runs" / "train" / "tiny"
    with hold(folder / "lock"):
        before = tree(folder)
        line = refusal(capsys, "train", "t.yaml", "--resume")
        assert tree(folder) == before
    assert f"{folder}: process {os.getpid()} is training this run; wait for its end, or interrupt it, before" in line


def test_a_run_that_was_begun_at_the_same_moment(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = here / "runs" / "train" / "tiny"
    folder.mkdir(parents=True)
    monkeypatch.setattr(train, "free_folder", lambda root, name: folder)  # it was, when this process looked
    line = refusal(capsys, "train", "t.yaml", "--fast-dev-run")
    assert f"{folder}: another process has just begun a run of this name; the same command again" in line
    assert list(folder.iterdir()) == []
